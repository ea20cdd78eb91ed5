// The process that owns every server a test run starts.
//
// Its parent talks to it in lines of JSON over a pipe on stdin. However the parent ends (exit, Ctrl-C, SIGKILL, a
// crash), the kernel closes that pipe: then this process stops what it started, removes the folders it made and
// ends. It leads a session of its own, so that a Ctrl-C in the terminal reaches the parent and not it.
import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, openSync, closeSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
/* eslint-disable no-restricted-imports -- a process of its own, and plain JavaScript so that it starts at once: no Runtime
   is handed to it */
import { clearTimeout, setTimeout } from 'node:timers';
import { setTimeout as delay } from 'node:timers/promises';
/* eslint-enable no-restricted-imports */

/** How long a server may take to end on request once nobody waits for it any more. */
const ORPHAN_GRACE_MS = 3_000;
/** How much of what a command prints is kept: the end, which says why it failed. */
const KEPT_OUTPUT = 64 << 10;
const REMOVE_ATTEMPTS = 50;
const REMOVE_INTERVAL_MS = 100;

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
    return removeFolder(path).then(() => ({}));
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
  const child = spawn(command.command, command.args, {
    ...options(command),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (output = (output + text).slice(-KEPT_OUTPUT)));
  }
  if (child.pid !== undefined) watch(child, { stopSignal: 'SIGKILL' });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: -1, output: String(error.message) }));
    child.once('close', (code) => resolve({ code: code ?? -1, output }));
  });
}

function start(command, log) {
  const child = spawn(command.command, command.args, {
    ...options(command),
    stdio: ['ignore', log, log],
    detached: true,
  });
  const { pid } = child;
  if (pid === undefined) return new Promise((_, reject) => child.once('error', reject));
  const { stopSignal, cleanup } = command;
  watch(child, { stopSignal, cleanup });
  child.once('exit', (code, signal) => reply({ exited: pid, code, signal }));
  return { pid };
}

/** Keeps account of a process, which leads a group of its own, for as long as it runs. */
function watch(child, how) {
  const { pid } = child;
  const gone = new Promise((done) => {
    child.once('exit', () => {
      servers.delete(pid);
      killGroup(pid);
      done();
    });
  });
  servers.set(pid, { ...how, gone, paused: false });
}

/** Asks a server to end, and no longer asks once its time is over. */
async function stop(pid, graceMs) {
  const server = servers.get(pid);
  if (server === undefined) return;
  if (server.paused) signalTree(pid, 'SIGCONT');
  if (server.stopSignal === 'SIGKILL') signalTree(pid, 'SIGKILL');
  else signal(pid, server.stopSignal);
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

/** A process that was just killed may write on for a moment. */
async function removeFolder(path) {
  for (let attempt = 1; ; attempt++) {
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (error) {
      if (attempt === REMOVE_ATTEMPTS) throw error;
    }
    await delay(REMOVE_INTERVAL_MS);
  }
}

async function close() {
  if (closing) return;
  closing = true;
  await Promise.allSettled([...servers.keys()].map((pid) => stop(pid, ORPHAN_GRACE_MS)));
  await Promise.allSettled([...folders].map(removeFolder));
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
