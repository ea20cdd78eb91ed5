// Starts the workers, kills and freezes them while they work, and audits what they did.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sleep, systemRuntime } from '@quorate/runtime';
import { type Instance, isolated, service } from '@quorate/testing';
import { backends } from './backends.js';
import type { Question, WorkerArguments } from './protocol.js';
import { FencedRow, SqlRow, TaskStore } from './store.js';

const { values } = parseArgs({
  options: {
    backend: { type: 'string', default: 'raft' },
    tasks: { type: 'string', default: '300' },
    url: { type: 'string' },
  },
});
const backend = backends[values.backend];
const tasks = Number(values.tasks);
if (backend === undefined || !Number.isSafeInteger(tasks) || tasks < 1) {
  console.error(
    `usage: task-queue --backend ${Object.keys(backends).join('|')} [--tasks 300] [--url ADDRESS[,ADDRESS]]`,
  );
  process.exit(2);
}

const IDS = ['w1', 'w2', 'w3'];
const LEASE_MS = 2_000;
const directory = await mkdtemp(join(tmpdir(), 'task-queue-'));
const free = await freePorts(IDS.length);
const ports = Object.fromEntries(IDS.map((id, at) => [id, free[at] ?? 0]));
const servers: Instance[] = [];
const urls = values.url?.split(',') ?? (await startServers());
const store = new TaskStore(tasks, (await backend.row?.(urls)) ?? new FencedRow());
const workers = new Map<string, ChildProcess>();
let killed = 0;
let frozen = 0;
/** Freezes the next worker that has a task in its hands. */
let freezeNext = false;
const over = (): boolean => store.done.length >= tasks;

function start(id: string): void {
  const given: WorkerArguments = { id, backend: values.backend, urls, ports, directory, leaseMs: LEASE_MS };
  const worker = fork(new URL('worker.ts', import.meta.url), [JSON.stringify(given)], {
    execArgv: process.execArgv,
  });
  workers.set(id, worker);
  worker.on('message', (question: Question) => {
    if (freezeNext && question.type === 'next') {
      freezeNext = false;
      freeze(worker);
    }
    void store.answer(id, question).then((answer) => {
      // It may have been killed meanwhile.
      if (worker.connected) worker.send(answer);
      if (question.type === 'done') show();
    });
  });
  worker.on('exit', () => {
    if (!over()) start(id);
  });
}

/** Stops a worker that has just been given a task for longer than its lease: its write comes too late. */
function freeze(worker: ChildProcess): void {
  frozen++;
  worker.kill('SIGSTOP');
  systemRuntime.setTimer(LEASE_MS * 2.5, () => worker.kill('SIGCONT'), { keepAlive: true });
}

function show(): void {
  if (process.stdout.isTTY)
    process.stdout.write(
      `\r${String(store.done.length)} of ${String(tasks)} tasks, ${String(killed)} killed, ${String(frozen)} frozen, ${String(store.refused.length)} stale writes refused `,
    );
}

for (const id of IDS) start(id);
// One of the three at a time, so that a majority is always there.
for (let round = 0; !over(); round++) {
  const mark = store.done.length;
  while (!over() && store.done.length < mark + tasks / 8) await sleep(systemRuntime, 20);
  if (over()) break;
  if (round % 2 === 1) {
    freezeNext = true;
    const before = frozen;
    while (!over() && frozen === before) await sleep(systemRuntime, 20);
    await sleep(systemRuntime, LEASE_MS * 3);
  } else {
    killed++;
    workers.get(IDS[round % IDS.length] ?? '')?.kill('SIGKILL');
  }
}
await sleep(systemRuntime, 500);
for (const worker of workers.values()) {
  worker.kill('SIGKILL');
  if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
}
await rm(directory, { recursive: true });
const faults = await store.audit();
if (store.row instanceof SqlRow) await store.row.drop();
await Promise.all(servers.map((server) => server.stop()));

if (process.stdout.isTTY) console.log();
console.log(
  `${values.backend}: ${String(store.done.length)} tasks done by ${String(new Set(store.done.map(({ worker }) => worker)).size)} workers`,
);
console.log(
  `killed ${String(killed)} times, frozen ${String(frozen)} times, ${String(store.refused.length)} stale writes refused ${store.row.guard}`,
);
for (const fault of faults) console.log(`VIOLATION ${fault}`);
console.log(faults.length === 0 ? 'audit passed: each task once, in order' : 'audit FAILED');
process.exit(faults.length === 0 ? 0 : 1);

/** The servers of this run, unless it was given the addresses of others. */
async function startServers(): Promise<readonly string[]> {
  const { service: kind, servers: count } = backend ?? {};
  if (kind === undefined) return [];
  if (count === undefined) return [await service(kind)];
  servers.push(...(await Promise.all(Array.from({ length: count }, () => isolated(kind)))));
  return servers.map(({ url }) => url);
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const found = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return found;
}
