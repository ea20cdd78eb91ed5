// The process that owns every server a test run starts.
//
// Its parent talks to it in lines of JSON over a pipe on stdin. However the parent ends (exit, Ctrl-C, SIGKILL, a
// crash), the kernel closes that pipe: then this process stops what it started, removes the folders it made and
// ends. It leads a session of its own, so that a Ctrl-C in the terminal reaches the parent and not it.
import { execFile, spawn } from 'node:child_process';
import { chownSync, mkdtempSync, openSync, closeSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { clearTimeout, setTimeout } from 'node:timers';

/** How long a server may take to end on request once nobody waits for it any more. */
const ORPHAN_GRACE_MS = 3_000;

/** @type {Map<number, { stopSignal: NodeJS.Signals, cleanup?: object, gone: Promise<void>, paused: boolean }>} */
const servers = new Map();
const folders = new Set();
let closing = false;

const requests = {
  folder({ prefix, uid, gid }) {
    const path = mkdtempSync(join(tmpdir(), prefix));
    folders.add(path);
    if (uid !== undefined) chownSync(path, uid, gid);
    return { path };
  },
  remove({ path }) {
    if (!folders.delete(path)) throw new Error(`${path} is not a folder of this supervisor`);
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
    return {};
  },
  run: (command) => run(command),
  start(command) {
    const log = openSync(command.log, 'a');
    try {
      return start(command, log);
    } finally {
      closeSync(log);
    }
  },
  signal({ pid, signal }) {
    const server = servers.get(pid);
    if (server === undefined) throw new Error(`process ${pid} is not running`);
    signalTree(pid, signal);
    if (signal === 'SIGSTOP') server.paused = true;
    if (signal === 'SIGCONT') server.paused = false;
    return signal === 'SIGKILL' ? server.gone.then(() => ({})) : {};
  },
  stop: ({ pid, graceMs }) => stop(pid, graceMs).then(() => ({})),
};

function options({ env, cwd, uid, gid }) {
  return { cwd: cwd ?? '/', env: { ...process.env, ...env }, ...(uid === undefined ? {} : { uid, gid }) };
}

/** Runs a command to its end, and kills it when the parent goes. */
function run(command) {
  return new Promise((resolve) => {
    const child = execFile(
      command.command,
      command.args,
      { ...options(command), maxBuffer: 16 << 20 },
      (error, stdout, stderr) => {
        if (child.pid !== undefined) servers.delete(child.pid);
        resolve({ code: error === null ? 0 : (error.code ?? -1), output: `${stdout}${stderr}` });
      },
    );
    if (child.pid === undefined) return;
    const gone = new Promise((done) => child.once('exit', () => done()));
    servers.set(child.pid, { stopSignal: 'SIGKILL', gone, paused: false });
  });
}

function start(command, log) {
  return new Promise((resolve, reject) => {
    const child = spawn(command.command, command.args, {
      ...options(command),
      stdio: ['ignore', log, log],
      detached: true,
    });
    const { pid } = child;
    if (pid === undefined) {
      child.once('error', reject);
      return;
    }
    const gone = new Promise((done) => {
      child.once('exit', (code, signal) => {
        servers.delete(pid);
        killGroup(pid);
        reply({ exited: pid, code, signal });
        done();
      });
    });
    servers.set(pid, { stopSignal: command.stopSignal, cleanup: command.cleanup, gone, paused: false });
    resolve({ pid });
  });
}

/** Asks a server to end, and no longer asks once its time is over. */
async function stop(pid, graceMs) {
  const server = servers.get(pid);
  if (server === undefined) return;
  if (server.paused) signalTree(pid, 'SIGCONT');
  signal(pid, server.stopSignal);
  const impatience = setTimeout(() => signalTree(pid, 'SIGKILL'), graceMs);
  await server.gone;
  clearTimeout(impatience);
  if (server.cleanup !== undefined) await run(server.cleanup);
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    // It ended in the meantime.
  }
}

/** What a server left behind in its process group. */
function killGroup(pid) {
  signal(-pid, 'SIGKILL');
}

/** Signals a process and all its descendants; some servers give their children sessions of their own. */
function signalTree(pid, name) {
  for (const one of [pid, ...descendants(pid)]) signal(one, name);
}

function descendants(root) {
  const children = new Map();
  for (const entry of process.platform === 'linux' ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // `pid (name) state parent ...`, where the name may hold anything, parentheses too.
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // It ended in the meantime.
    }
  }
  const found = [];
  const visit = (pid) => {
    for (const child of children.get(pid) ?? []) {
      found.push(child);
      visit(child);
    }
  };
  visit(root);
  return found;
}

async function close() {
  if (closing) return;
  closing = true;
  await Promise.allSettled([...servers.keys()].map((pid) => stop(pid, ORPHAN_GRACE_MS)));
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

const reply = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
process.stdout.on('error', () => undefined);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => void close());

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, op, ...request } = JSON.parse(line);
    Promise.resolve()
      .then(() => {
        if (closing) throw new Error('the supervisor is closing');
        return requests[op](request);
      })
      .then(
        (result) => reply({ id, ...result }),
        (error) => reply({ id, error: String(error.message) }),
      );
  })
  .on('close', () => void close());
