import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom, sleep, systemRuntime } from '@quorate/runtime';
import { leaderOf, type NodeStatus, statusOf } from '../cluster/http.js';
import { Cluster } from '../cluster/processes.js';
import { type Output, table } from '../cluster/view.js';
import type { CoreName } from '../node/cores.js';
import { Load } from './load.js';

/** What the demo does. */
export interface DemoOptions {
  readonly core: CoreName;
  readonly seconds: number;
  /** Seconds between two SIGKILLs of the leader. */
  readonly killEvery: number;
  readonly clients: number;
  readonly seed: number;
}

/** How the demo went. */
export interface DemoReport {
  readonly kills: number;
  readonly operations: number;
  readonly ok: number;
  readonly failed: number;
  readonly unknown: number;
  readonly linearizable: boolean;
  /** Whether all nodes hold the same in the end. */
  readonly agreed: boolean;
}

const SETTLE_MS = 30_000;

/**
 * Three nodes under load, whose leader is killed with SIGKILL again and again and started again; then all nodes must
 * hold the same, and what the clients saw must be linearizable.
 */
export async function runDemo(
  options: DemoOptions,
  output: Output,
  signal: AbortSignal,
): Promise<DemoReport> {
  const { core, seconds, killEvery, clients, seed } = options;
  const say = (line: string): void => void output.write(`${line}\n`);
  const directory = await mkdtemp(join(tmpdir(), 'replicated-kv-'));
  try {
    say(`Starting three nodes (${core}), files in ${directory}; seed ${String(seed)}`);
    await using cluster = await Cluster.start(directory, { core });
    const load = new Load([...cluster.urls.values()], seed);
    const began = systemRuntime.monotonic();
    const clock = (): string => `${((systemRuntime.monotonic() - began) / 1_000).toFixed(1).padStart(6)} s`;
    cluster.onEvent = ({ id, type, pid }) => {
      if (!signal.aborted)
        say(`${clock()}  ${id} ${type === 'killed' ? 'SIGKILL' : type} (process ${String(pid)})`);
    };

    const over = new AbortController();
    const running = load.run(clients, over.signal);
    const failovers: number[] = [];
    const random = seededRandom(seed);
    const timeIsUp = (): boolean => signal.aborted || systemRuntime.monotonic() - began >= seconds * 1_000;
    while (!timeIsUp()) {
      await sleep(systemRuntime, killEvery * 1_000 * (0.5 + random()), { signal }).catch(() => undefined);
      if (timeIsUp()) break;
      const leader = await leaderOf(cluster.urls);
      if (leader === undefined) continue;
      say(`${clock()}  ${leader} leads`);
      await cluster.kill(leader);
      const killed = systemRuntime.monotonic();
      await until(() => load.lastWrite.beganMs > killed, signal);
      failovers.push(load.lastWrite.endedMs - killed);
      say(`${clock()}  writes go on after ${failovers.at(-1)?.toFixed(0) ?? ''} ms`);
      await cluster.up(leader);
    }
    over.abort();
    await running;
    const elapsedMs = systemRuntime.monotonic() - began;
    cluster.onEvent = () => {};
    signal.throwIfAborted();

    const agreed = await agree(cluster);
    const { counts, history } = load;
    say('\nChecking what the clients saw...');
    const verdict = history.check();
    const operations = counts.ok + counts.failed + counts.unknown;
    say('');
    for (const line of table([
      ['operations', String(operations)],
      ['  succeeded', String(counts.ok)],
      ['  certainly without effect', String(counts.failed)],
      ['  outcome unknown', String(counts.unknown)],
      ['per second', String(Math.round((1_000 * counts.ok) / elapsedMs))],
      ['latency, median and 99 %', `${percentile(load.latencies, 0.5)}, ${percentile(load.latencies, 0.99)}`],
      ['leaders killed', String(failovers.length)],
      [
        'writes go on after, median and longest',
        `${percentile(failovers, 0.5)}, ${percentile(failovers, 1)}`,
      ],
      ['nodes agree in the end', agreed ? 'yes' : 'NO'],
      [
        'history linearizable',
        verdict.linearizable ? 'yes' : `NO: key ${verdict.partition ?? ''} is ${verdict.result}`,
      ],
    ])) {
      say(line);
    }
    for (const operation of verdict.counterexample ?? []) say(JSON.stringify(operation));
    return { kills: failovers.length, operations, ...counts, linearizable: verdict.linearizable, agreed };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Waits until every node has applied the same, and compares what they hold. */
async function agree(cluster: Cluster): Promise<boolean> {
  const urls = [...cluster.urls.values()];
  const deadline = systemRuntime.monotonic() + SETTLE_MS;
  for (;;) {
    const all = await Promise.all(urls.map(statusOf));
    const [first] = all;
    const same = (one: NodeStatus | undefined): boolean =>
      one !== undefined && one.applied === first?.applied && one.applied === one.commit;
    if (all.every(same)) break;
    if (systemRuntime.monotonic() > deadline) return false;
    await sleep(systemRuntime, 50);
  }
  const states = await Promise.all(urls.map(everything));
  return states.every((state) => state === states[0]);
}

/** All keys and values that a node holds. */
async function everything(url: string): Promise<string> {
  let all = '';
  for (let after = ''; ;) {
    const response = await fetch(`${url}/kv?level=stale&limit=1000&after=${encodeURIComponent(after)}`);
    const items = (await response.json()) as { readonly key: string }[];
    all += JSON.stringify(items);
    const last = items.at(-1);
    if (last === undefined) return all;
    after = last.key;
  }
}

async function until(done: () => boolean, signal: AbortSignal): Promise<void> {
  const deadline = systemRuntime.monotonic() + SETTLE_MS;
  while (!done() && !signal.aborted && systemRuntime.monotonic() < deadline) await sleep(systemRuntime, 5);
}

function percentile(values: readonly number[], part: number): string {
  const sorted = [...values].sort((one, other) => one - other);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  return value === undefined ? '-' : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}
