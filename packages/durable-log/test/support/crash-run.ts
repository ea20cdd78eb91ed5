import { seededRandom } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import type { Entry, LogStorage, PersistBatch, SnapshotMeta, StagedSnapshot } from '../../src/index.js';
import type { FileSystem } from '../../src/file-system.js';
import { createFileLog } from '../../src/file.js';
import { CrashDisk } from './crash-disk.js';

/** A log as it must be after some calls. */
interface Expected {
  readonly state: string;
  /** Terms and data by index; what a snapshot replaced is not there. */
  readonly entries: ReadonlyMap<number, string>;
  readonly last: number;
  readonly snapshot: string | undefined;
  readonly snapshotIndex: number;
}

const EMPTY: Expected = { state: '', entries: new Map(), last: 0, snapshot: undefined, snapshotIndex: 0 };
const DIRECTORY = '/log';

/** What went wrong in a run. */
export class Violation extends Error {}

/** How a run is made. */
export interface CrashRunOptions {
  readonly seed: number;
  /** How often the log is opened, used and ended. */
  readonly lives: number;
  /** Opens the log under test; by default the file log. */
  readonly open?: (disk: CrashDisk) => LogStorage;
}

/**
 * Uses a log at random over the simulator's disk, ends its process at a random step, with or without the machine, opens it
 * again, and compares: what is there must be the log after some prefix of the calls that includes all that were
 * acknowledged. Returns how many crashes it saw.
 */
export async function crashRun({ seed, lives, open = openFileLog }: CrashRunOptions): Promise<number> {
  const random = seededRandom(seed);
  const disk = new CrashDisk(seed);
  let now: Expected = EMPTY;
  let crashes = 0;
  for (let life = 0; life < lives; life++) {
    const work = new Work(random, now);
    disk.crashAt = Math.floor(random() * (random() < 0.3 ? 30 : 400));
    if (random() < 0.15) disk.failSyncAt = Math.floor(random() * 200);
    const log = open(disk);
    // The crash of this life may come while it opens: what is there stays the same.
    const ended = disk.ended.then(() => false);
    const loaded = log.load().then(
      () => true,
      (error: unknown) => {
        if (disk.steps < Math.min(disk.crashAt, disk.failSyncAt)) throw error;
        return false;
      },
    );
    if (await Promise.race([loaded, ended])) await Promise.race([work.use(log), ended]);
    if (disk.crashed) crashes++;
    const machineToo = random() < 0.6;
    if (machineToo) disk.losePower();
    else {
      if (!disk.crashed && random() < 0.5) await Promise.race([log.close().catch(() => undefined), ended]);
      disk.killProcess();
    }
    const check = open(disk);
    now = work.match(await inspect(check));
    // Whatever was found was made durable by the finding.
    if (random() < 0.3) disk.losePower();
    else if (random() < 0.5) await check.close();
    disk.killProcess();
  }
  return crashes;
}

/** A file log on a disk; `change` plants a bug between the two. */
export function openFileLog(
  disk: CrashDisk,
  change: (files: FileSystem) => FileSystem = (files) => files,
): LogStorage {
  return fileLogOn(change(disk.mount()));
}

/** A log of small segments, so that a few entries already make several. */
export function fileLogOn(fileSystem: FileSystem): LogStorage {
  return createFileLog({
    directory: DIRECTORY,
    fileSystem,
    runtime: createVirtualRuntime(),
    segmentBytes: 4096,
    groupBytes: 2048,
  });
}

async function inspect(log: LogStorage): Promise<Expected & { readonly first: number }> {
  const { state, first, last } = await log.load();
  const entries = new Map<number, string>();
  if (last >= first) {
    for (const entry of await log.read(first, last + 1, Number.MAX_SAFE_INTEGER))
      entries.set(entry.index, show(entry));
  }
  const stored = await log.openSnapshot();
  const chunks: Uint8Array[] = [];
  if (stored !== undefined) for await (const chunk of stored.chunks()) chunks.push(chunk);
  return {
    state: Buffer.from(state).toString(),
    first,
    last,
    entries,
    snapshot: stored && showSnapshot(stored.meta, Buffer.concat(chunks).toString()),
    snapshotIndex: stored?.meta.index ?? 0,
  };
}

function show({ term, kind, data, id }: Entry): string {
  return `${String(term)} ${kind} ${String(id)} ${Buffer.from(data).toString()}`;
}

function showSnapshot({ index, term, membership }: SnapshotMeta, content: string): string {
  return `${String(index)} ${String(term)} ${Buffer.from(membership).toString()} ${content}`;
}

/** One life of the log: what was called, and what the log must be after each call. */
class Work {
  readonly #states: Expected[];
  #acknowledged = 0;
  #counter = 0;
  #failed = false;
  #staged: { readonly snapshot: StagedSnapshot; readonly content: string } | undefined;

  constructor(
    readonly random: () => number,
    start: Expected,
  ) {
    this.#states = [start];
  }

  get #now(): Expected {
    return this.#states.at(-1) ?? EMPTY;
  }

  #upTo(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  async use(log: LogStorage): Promise<void> {
    let open: Promise<unknown>[] = [];
    for (let call = 0; call < 60 && !this.#failed; call++) {
      const promise = this.#call(log);
      open.push(
        promise.catch(() => {
          this.#failed = true;
        }),
      );
      if (this.random() < 0.4) {
        await Promise.all(open);
        open = [];
      }
    }
    await Promise.all(open);
  }

  #call(log: LogStorage): Promise<unknown> {
    const choice = this.random();
    if (choice < 0.75) return this.#write(log);
    if (choice < 0.83) return this.#stage(log);
    if (choice < 0.93) return this.#install();
    const covered = this.#now.snapshotIndex;
    return covered === 0 ? Promise.resolve() : log.compact(covered - this.#upTo(3));
  }

  async #write(log: LogStorage): Promise<void> {
    const before = this.#now;
    const lowest = before.snapshotIndex;
    const cut = this.random() < 0.2;
    const after = cut ? lowest + this.#upTo(before.last - lowest + 1) : before.last;
    const oldTerm = Number(before.entries.get(after)?.split(' ')[0] ?? before.snapshot?.split(' ')[1] ?? 0);
    const term = oldTerm + (this.random() < 0.2 ? 1 : 0);
    const count = this.#upTo(4);
    const entries = Array.from({ length: count }, (_, index): Entry => ({
      index: after + 1 + index,
      term,
      kind: this.random() < 0.8 ? 'command' : 'noop',
      data: Buffer.from(
        `${String(this.#counter++)}:${'x'.repeat(this.#upTo(this.random() < 0.1 ? 3000 : 200))}`,
      ),
      ...(this.random() < 0.5 && { id: `p${String(this.#counter)}` }),
    }));
    const state = this.random() < 0.3 ? `state ${String(this.#counter++)}` : undefined;
    const batch: PersistBatch = {
      entries,
      ...(cut && { truncateFrom: after + 1 }),
      ...(state !== undefined && { state: Buffer.from(state) }),
    };
    const kept = new Map([...before.entries].filter(([index]) => index <= after));
    for (const entry of entries) kept.set(entry.index, show(entry));
    const number = this.#states.push({
      ...before,
      state: state ?? before.state,
      entries: kept,
      last: after + count,
    });
    const sync = this.random() < 0.6;
    await log.write(batch, { sync });
    if (sync) this.#acknowledge(number - 1);
  }

  async #stage(log: LogStorage): Promise<void> {
    const { last, snapshotIndex, entries } = this.#now;
    // Mostly of an entry that is held, sometimes of one that the log has no or another entry at.
    const foreign = this.random() < 0.3;
    const index = foreign ? last + this.#upTo(5) - 1 : snapshotIndex + this.#upTo(last - snapshotIndex + 1);
    if (index <= snapshotIndex) return;
    const term = Number(entries.get(index)?.split(' ')[0] ?? 0) + (foreign ? 1 + this.#upTo(2) : 0);
    const content = `snapshot ${String(this.#counter++)} ${'y'.repeat(this.#upTo(3000))}`;
    const meta = { index, term, membership: Buffer.from(`m${String(this.#counter)}`) };
    const snapshot = await log.stageSnapshot(meta, [Buffer.from(content)]);
    await this.#staged?.snapshot.discard();
    this.#staged = { snapshot, content };
  }

  async #install(): Promise<void> {
    const staged = this.#staged;
    this.#staged = undefined;
    if (staged === undefined) return;
    const { snapshot, content } = staged;
    const before = this.#now;
    const { meta } = snapshot;
    if (meta.index <= before.snapshotIndex) {
      await snapshot.discard();
      return;
    }
    const held = Number(before.entries.get(meta.index)?.split(' ')[0] ?? -1) === meta.term;
    const number = this.#states.push({
      ...before,
      ...(held ? {} : { entries: new Map(), last: meta.index }),
      snapshot: showSnapshot(meta, content),
      snapshotIndex: meta.index,
    });
    await snapshot.install();
    this.#acknowledge(number - 1);
  }

  #acknowledge(number: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, number);
  }

  /** The expected log that is the one that was found. */
  match(found: Expected & { readonly first: number }): Expected {
    for (let number = this.#states.length - 1; number >= this.#acknowledged; number--) {
      const expected = this.#states[number] ?? EMPTY;
      if (isSame(expected, found)) return expected;
    }
    const acknowledged = this.#states[this.#acknowledged] ?? EMPTY;
    throw new Violation(
      `found ${describe(found)}, first ${String(found.first)}; acknowledged was ${describe(acknowledged)}, ` +
        `and ${String(this.#states.length - 1 - this.#acknowledged)} calls more were made`,
    );
  }
}

function isSame(expected: Expected, found: Expected & { readonly first: number }): boolean {
  if (expected.state !== found.state || expected.last !== found.last || expected.snapshot !== found.snapshot)
    return false;
  if (found.first > found.snapshotIndex + 1) return false;
  for (let index = found.first; index <= found.last; index++) {
    if (expected.entries.get(index) !== found.entries.get(index)) return false;
  }
  return true;
}

function describe({ state, entries, last, snapshot }: Expected): string {
  const tail = [...entries].slice(-3).map(([index, text]) => `${String(index)}=${text.slice(0, 30)}`);
  return `state "${state}", last ${String(last)} (${tail.join(', ')}), snapshot ${String(snapshot?.slice(0, 30))}`;
}
