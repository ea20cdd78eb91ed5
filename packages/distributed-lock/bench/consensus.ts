/**
 * Locks that rest on consensus: three processes of the `/replicated-log` backend that sync their logs to disk, beside a
 * three-member etcd of the same machine, by the `/etcd` backend and by the lock of `etcd3` itself.
 *
 * Acquire and release in sequence and on 64 keys at once: pairs per second, latency, and CPU of all processes for one
 * pair, the client's included. One run, all subjects in each round; ratios are medians of the ratios within a round. The
 * limit is that of the disk: a claim and a release each are durable when two files of two processes are synced.
 * `--rounds 3 --ms 500` for a look; `--profile FOLDER` for profiles of our processes.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  ask,
  benchDisk,
  cpuUs,
  type DiskRun,
  endProcesses,
  endScripts,
  etcdIsThere,
  freePorts,
  median,
  quantile,
  ratio,
  readable,
  runScript,
  startEtcdCluster,
  until,
} from '@quorate/testing/bench';
import type { Load, LoadResult } from './consensus/load.js';
import type { NodeArguments } from './consensus/node.js';

/** One way to take a lock, and all the processes that have a part in it. */
interface Subject {
  readonly name: string;
  readonly load: Load['subject'];
  /** Takes the locks. */
  readonly client: ChildProcess;
  readonly processes: readonly ChildProcess[];
}

interface Round extends LoadResult {
  readonly cpuUs: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '2000' },
    profile: { type: 'string' },
  },
});
const ROUNDS = Number(values.rounds);
const FOR_MS = Number(values.ms);
const IDS = ['a', 'b', 'c'];
const WIDTHS = [1, 64];
const RAW = 'lock of etcd3';

const folder = await mkdtemp(join(process.env['BENCH_DIRECTORY'] ?? '.', 'bench-locks-'));
const stop = (): void => {
  void endProcesses()
    .then(() => rm(folder, { recursive: true, force: true }))
    .then(() => process.exit(1));
};
process.once('SIGINT', stop).once('SIGTERM', stop);
try {
  const subjects = [...(await startOwn()), ...(await startEtcd())];
  const disk: DiskRun[] = [];
  const results = new Map(subjects.map(({ name }) => [name, WIDTHS.map((): Round[] => [])]));
  // Compiled and connected, as a process is that has run for a while.
  for (const { client, load } of subjects)
    await ask<LoadResult>(client, { subject: load, width: 64, forMs: 1.5 * FOR_MS });
  for (let round = 0; round < ROUNDS; round++) {
    disk.push(await benchDisk(folder, FOR_MS / 4));
    for (const [at, width] of WIDTHS.entries()) {
      for (const { name, load, client, processes } of subjects) {
        const before = cpuUs(processes);
        const result = await ask<LoadResult>(client, { subject: load, width, forMs: FOR_MS });
        results
          .get(name)
          ?.[at]?.push({ ...result, cpuUs: (cpuUs(processes) - before) / Math.max(1, result.count) });
      }
    }
  }
  if (values.profile !== undefined) await endScripts();
  print(results, disk);
} finally {
  process.off('SIGINT', stop).off('SIGTERM', stop);
  await endProcesses();
  await rm(folder, { recursive: true, force: true });
}

async function startOwn(): Promise<Subject[]> {
  const free = await freePorts(IDS.length);
  const ports = Object.fromEntries(IDS.map((id, at) => [id, free[at] ?? 0]));
  const nodes = new Map(
    IDS.map((id) => {
      const given: NodeArguments = { id, ports, directory: join(folder, id) };
      return [id, runScript(new URL('consensus/node.ts', import.meta.url), given, values.profile)];
    }),
  );
  const processes = [...nodes.values()];
  await Promise.all(processes.map((node) => ask(node, undefined)));
  const [first] = processes as [ChildProcess];
  const leader = await until(async () => nodes.get(await ask<string>(first, 'leader')));
  const follower = processes.find((node) => node !== leader) ?? leader;
  return [
    { name: 'quorate /replicated-log, at the leader', load: 'own', client: leader, processes },
    { name: 'quorate /replicated-log, at a follower', load: 'own', client: follower, processes },
  ];
}

async function startEtcd(): Promise<Subject[]> {
  if (!etcdIsThere()) {
    console.log('etcd is not there, and is left out: apt-get install etcd-server');
    return [];
  }
  const { servers, port } = await startEtcdCluster(folder);
  const client = runScript(new URL('consensus/etcd-client.ts', import.meta.url), { port }, values.profile);
  await ask(client, undefined);
  const processes = [...servers, client];
  return [
    { name: 'quorate /etcd', load: 'backend', client, processes },
    { name: RAW, load: 'raw', client, processes },
  ];
}

function print(results: ReadonlyMap<string, readonly Round[][]>, disk: readonly DiskRun[]): void {
  const perSecond = ({ count, ms }: LoadResult): number => (count * 1_000) / ms;
  const limits = disk.map(({ pairMs }) => 1_000 / (2 * pairMs));
  console.log(
    `Node ${process.version}: acquire and release, three processes each on loopback that sync to disk; medians of ${String(ROUNDS)} rounds of ${String(FOR_MS)} ms, interleaved`,
  );
  for (const [at, width] of WIDTHS.entries()) {
    const table: Record<string, Record<string, string>> = {};
    const theirs = results.get(RAW)?.[at]?.map(perSecond) ?? [];
    for (const [name, byWidth] of results) {
      const runs = byWidth[at] ?? [];
      const ms = (q: number): string =>
        median(runs.map(({ latencies }) => quantile(latencies, q))).toFixed(2);
      table[name] = {
        'pairs per second': readable(median(runs.map(perSecond))),
        [`of the ${RAW}`]: ratio(runs.map(perSecond), theirs).toPrecision(3),
        'of the disk': ratio(
          runs.map(perSecond),
          limits.map((limit) => limit * width),
        ).toPrecision(2),
        'p50 ms': ms(0.5),
        'p99 ms': ms(0.99),
        'CPU µs per pair': median(runs.map((run) => run.cpuUs)).toFixed(0),
      };
    }
    console.log(width === 1 ? '\nin sequence' : `\non ${String(width)} keys at once`);
    console.table(table);
  }
  console.log(
    `The disk in the same rounds: write and fdatasync of two files in parallel p50 ${median(disk.map(({ pairMs }) => pairMs)).toFixed(2)} ms, twice for a pair: ` +
      `${readable(median(limits))} pairs per second in sequence, ${readable(64 * median(limits))} where 64 share every sync`,
  );
}
