// What the length of the log costs: three nodes in one thread, one of them over a log in files, with snapshots.
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createFileLog } from '@quorate/durable-log/file';
import type { LogStorage } from '@quorate/durable-log';
import { createRaft, type RaftCore, type RaftMessage } from '@quorate/raft-core';
import type { Effects } from '@quorate/replicated-log';
import { systemRuntime } from '@quorate/runtime';
import { COMMAND_BYTES, KEPT_ENTRIES, SNAPSHOT_ENTRIES } from './core/contender.js';
import { readable } from '@quorate/testing/bench';

const VOTERS = ['a', 'b', 'c'];
const ROWS = [10_000, 100_000, 1_000_000, 10_000_000];
const WINDOW = 1_024;
const WARM_UP = 200_000;

/** Three nodes; `a` leads and writes to files, the others write to memory. */
class Nodes {
  readonly cores = VOTERS.map((id, seed) =>
    createRaft({ id, seed, membership: { voters: VOTERS, learners: [] } }),
  );
  readonly #inboxes = new Map<string, { readonly from: string; readonly message: RaftMessage }[]>(
    VOTERS.map((id) => [id, []]),
  );
  readonly #snapshotAt = new Map<string, number>();
  readonly #command = new Uint8Array(COMMAND_BYTES).fill(7);
  #proposals = 0;
  applied = 0;

  constructor(public storage: LogStorage) {}

  async start(): Promise<void> {
    this.cores[0]?.campaign();
    for (let turns = 0; turns < 20; turns++) await this.#turn();
    if (this.cores[0]?.status().role !== 'leader') throw new Error('no leader');
  }

  /** Goes on until so many proposals were applied. */
  async grow(to: number): Promise<void> {
    while (this.applied < to) {
      for (; this.#proposals < this.applied + WINDOW; this.#proposals++) {
        this.cores[0]?.propose([this.#command], [`a/${this.#proposals}`]);
      }
      await this.#turn();
    }
  }

  async #turn(): Promise<void> {
    for (const core of this.cores) {
      const messages = this.#inboxes.get(core.id) ?? [];
      this.#inboxes.set(core.id, []);
      for (const { from, message } of messages) core.step(from, message);
      while (core.hasEffects()) await this.#execute(core, core.takeEffects());
    }
  }

  async #execute(core: RaftCore, effects: Effects<RaftMessage>): Promise<void> {
    const inFiles = core === this.cores[0];
    this.#post(core.id, effects.sendNow);
    // Without a sync: what it costs does not depend on the length of the log.
    if (inFiles && effects.persist !== undefined) await this.storage.write(effects.persist, { sync: false });
    core.persisted(effects.seq);
    this.#post(core.id, effects.sendAfterPersist);
    const last = effects.committed.at(-1)?.index;
    if (last === undefined) return;
    core.applied(last);
    if (inFiles) for (const { kind } of effects.committed) if (kind === 'command') this.applied++;
    if (last < (this.#snapshotAt.get(core.id) ?? SNAPSHOT_ENTRIES)) return;
    this.#snapshotAt.set(core.id, last + SNAPSHOT_ENTRIES);
    const meta = core.snapshotMeta();
    if (meta === undefined) return;
    if (inFiles) {
      await (await this.storage.stageSnapshot(meta, [new Uint8Array(1_024)])).install();
      await this.storage.compact(meta.index - KEPT_ENTRIES);
    }
    core.compact(meta, meta.index - KEPT_ENTRIES);
  }

  #post(from: string, envelopes: Effects<RaftMessage>['sendNow']): void {
    for (const { to, message } of envelopes) this.#inboxes.get(to)?.push({ from, message });
  }
}

/** Prints a table with a row for every length. */
export async function benchGrowth(): Promise<void> {
  const folder = await mkdtemp(join(process.env['BENCH_DIRECTORY'] ?? '.', 'bench-raft-'));
  const directory = join(folder, 'log');
  const open = async (): Promise<LogStorage> => {
    const log = createFileLog({ directory });
    await log.load();
    return log;
  };
  try {
    // Compiled before anything is measured.
    const first = new Nodes(await open());
    await first.start();
    await first.grow(WARM_UP);
    await first.storage.close();
    await rm(directory, { recursive: true });
    const nodes = new Nodes(await open());
    await nodes.start();
    const table: Record<string, Record<string, string>> = {};
    for (const entries of ROWS) {
      const before = nodes.applied;
      const cpu = process.cpuUsage();
      const startMs = systemRuntime.monotonic();
      await nodes.grow(entries);
      const ms = systemRuntime.monotonic() - startMs;
      const { user, system } = process.cpuUsage(cpu);
      const count = nodes.applied - before;
      await nodes.storage.close();
      const files = await readdir(directory);
      const sizes = await Promise.all(files.map(async (file) => (await stat(join(directory, file))).size));
      const loadingMs = systemRuntime.monotonic();
      nodes.storage = await open();
      const loadMs = systemRuntime.monotonic() - loadingMs;
      for (let pass = 0; pass < 3; pass++) {
        globalThis.gc?.();
        await setImmediate();
      }
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      table[entries.toLocaleString('en')] = {
        'proposals per second': readable((count * 1_000) / ms),
        'CPU µs per proposal': readable((user + system) / count),
        'memory of all three MiB': ((heapUsed + arrayBuffers) / 2 ** 20).toFixed(1),
        'entries in the log': readable(
          (nodes.cores[0]?.status().last ?? 0) - (nodes.cores[0]?.status().first ?? 0),
        ),
        'files MiB': (sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20).toFixed(1),
        'opening the log ms': loadMs.toFixed(0),
      };
    }
    await nodes.storage.close();
    console.log(
      `\nAs the log grows, with a snapshot every ${SNAPSHOT_ENTRIES.toLocaleString('en')} entries: three nodes in one thread, one of them writing to files (not synced); each row measures what came since the row before`,
    );
    console.table(table);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
