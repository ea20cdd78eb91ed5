// Three processes on loopback that sync to disk, beside three of etcd, in the same run.
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientArguments, LoadResult } from './durable/client.js';
import type { NodeArguments } from './durable/node.js';
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

const IDS = ['a', 'b', 'c'];
const WARM_UP_MS = 5_000;

interface Store {
  readonly name: string;
  readonly servers: readonly ChildProcess[];
  readonly client: ChildProcess;
}

interface Round extends LoadResult {
  readonly serverCpuUs: number;
}

/** What is measured. */
export interface DurableOptions {
  readonly rounds: number;
  readonly forMs: number;
  /** How many clients there are at a time. */
  readonly counts: readonly number[];
  /** Where CPU profiles of our processes are written. */
  readonly profile: string | undefined;
}

/** Measures, and prints a table. */
export async function benchDurable({ rounds, forMs, counts, profile }: DurableOptions): Promise<void> {
  const folder = await mkdtemp(join(process.env['BENCH_DIRECTORY'] ?? '.', 'bench-raft-'));
  const stop = (): void => {
    void endProcesses()
      .then(() => rm(folder, { recursive: true, force: true }))
      .then(() => process.exit(1));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const stores = [
      await startQuorate('@quorate/raft-core', join(folder, 'quorate'), false, profile),
      await startQuorate('@quorate/raft-core, blockingSync', join(folder, 'blocking'), true, profile),
    ];
    if (etcdIsThere()) {
      stores.push(await startEtcd(folder));
    } else {
      console.log('etcd is not there, and is left out: apt-get install etcd-server');
    }
    const disk: DiskRun[] = [];
    const results = new Map<string, Round[][]>(stores.map(({ name }) => [name, counts.map(() => [])]));
    // Compiled and with full buffers, as a server is that has run for a while.
    for (const { client } of stores) await ask<LoadResult>(client, { clients: 64, forMs: WARM_UP_MS });
    for (let round = 0; round < rounds; round++) {
      disk.push(await benchDisk(folder, forMs / 4));
      for (const [at, clients] of counts.entries()) {
        for (const { name, servers, client } of stores) {
          const before = cpuUs(servers);
          const result = await ask<LoadResult>(client, { clients, forMs });
          const serverCpuUs = (cpuUs(servers) - before) / result.count;
          results.get(name)?.[at]?.push({ ...result, serverCpuUs });
        }
      }
    }
    if (profile !== undefined) await endScripts();
    print(results, disk, counts, rounds, forMs);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await endProcesses();
    await rm(folder, { recursive: true, force: true });
  }
}

async function startClient(options: ClientArguments, profile?: string): Promise<ChildProcess> {
  const client = runScript(new URL('durable/client.ts', import.meta.url), options, profile);
  await ask(client, undefined);
  return client;
}

async function startQuorate(
  name: string,
  folder: string,
  blockingSync: boolean,
  profile: string | undefined,
): Promise<Store> {
  const free = await freePorts(IDS.length);
  const ports = Object.fromEntries(IDS.map((id, at) => [id, free[at] ?? 0]));
  const servers = IDS.map((id) => {
    const given: NodeArguments = { id, ports, directory: join(folder, id), blockingSync };
    return runScript(new URL('durable/node.ts', import.meta.url), given, profile);
  });
  const [first] = servers as [ChildProcess];
  const leader = await until(async () => (await ask<string>(first, {})) || undefined);
  const client = await startClient({ system: 'quorate', leader, port: ports[leader] ?? 0 }, profile);
  return { name, servers, client };
}

async function startEtcd(folder: string): Promise<Store> {
  const { servers, port } = await startEtcdCluster(folder);
  return { name: 'etcd', servers, client: await startClient({ system: 'etcd', leader: 'etcd', port }) };
}

function print(
  results: ReadonlyMap<string, readonly Round[][]>,
  disk: readonly DiskRun[],
  counts: readonly number[],
  rounds: number,
  forMs: number,
): void {
  const perSecond = ({ count, ms }: LoadResult): number => (count * 1_000) / ms;
  const table: Record<string, Record<string, string>> = {};
  for (const [at, clients] of counts.entries()) {
    for (const [name, byClients] of results) {
      const runs = byClients[at] ?? [];
      const theirs = results.get('etcd')?.[at] ?? [];
      const ms = (q: number): string =>
        median(runs.map(({ latencies }) => quantile(latencies, q))).toFixed(2);
      table[`${clients} clients, ${name}`] = {
        'puts per second': readable(median(runs.map(perSecond))),
        'of etcd': ratio(runs.map(perSecond), theirs.map(perSecond)).toPrecision(3),
        'p50 ms': ms(0.5),
        'p90 ms': ms(0.9),
        'p99 ms': ms(0.99),
        'CPU µs per put, three servers': median(runs.map(({ serverCpuUs }) => serverCpuUs)).toFixed(0),
      };
    }
  }
  const limit = median(disk.map(({ pairMs }) => pairMs));
  console.log(
    `\nThree processes on loopback, every put synced by a majority, values of 256 bytes, medians of ${rounds} rounds of ${forMs} ms, interleaved`,
  );
  console.table(table);
  console.log(
    `The limit of the disk in the same rounds: write and fdatasync of 320 bytes p50 ${median(disk.map(({ oneMs }) => oneMs)).toFixed(2)} ms; ` +
      `of two files in parallel, as leader and follower do, ${limit.toFixed(2)} ms, which makes ${readable(1_000 / limit)} puts per second for one client ` +
      `and ${readable(64_000 / limit)} for 64 that share every sync`,
  );
}
