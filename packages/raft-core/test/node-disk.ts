import type {
  Entry,
  LogStorage,
  PersistBatch,
  SnapshotMeta,
  StagedSnapshot,
  StoredSnapshot,
} from '@quorate/durable-log';
import { QuorateError, type Runtime, sleep } from '@quorate/runtime';

interface Held {
  state: Uint8Array;
  entries: Entry[];
  /** The position before the first entry. */
  base: { index: number; term: number };
  snapshot: { meta: SnapshotMeta; chunks: Uint8Array[] } | undefined;
}

/** A disk of a test: it outlives its logs, takes its time, and fails when it is told to. */
export class Disk {
  held: Held = { state: new Uint8Array(), entries: [], base: { index: 0, term: 0 }, snapshot: undefined };
  /** How long a sync takes. */
  syncMs = 1;
  /** Every write from now on rejects with this. */
  failure: Error | undefined;
  writes = 0;
  #open: TestLog | undefined;

  constructor(readonly runtime: Runtime) {}

  open(): LogStorage {
    if (this.#open !== undefined) throw new Error('the disk is open');
    this.#open = new TestLog(this, () => (this.#open = undefined));
    return this.#open;
  }

  /** What is not synced is lost, and the log that was open never touches the disk again. */
  crash(): void {
    this.#open?.detach();
    this.#open = undefined;
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }
}

class TestLog implements LogStorage {
  #view: Held;
  #detached = false;
  #order: Promise<unknown> = Promise.resolve();

  constructor(
    readonly disk: Disk,
    readonly leave: () => void,
  ) {
    this.#view = copy(disk.held);
  }

  detach(): void {
    this.#detached = true;
  }

  load() {
    const { state, entries, base, snapshot } = this.#view;
    return Promise.resolve({
      state,
      first: base.index + 1,
      last: base.index + entries.length,
      ...(snapshot && { snapshot: snapshot.meta }),
    });
  }

  async write(batch: PersistBatch): Promise<void> {
    this.disk.writes++;
    if (this.disk.failure !== undefined) throw this.disk.failure;
    change(this.#view, batch);
    await this.#sync((held) => change(held, batch));
  }

  read(from: number, to: number, maxBytes: number): Promise<Entry[]> {
    const { base, entries } = this.#view;
    let bytes = 0;
    const wanted = entries.slice(from - base.index - 1, to - base.index - 1);
    const end = wanted.findIndex(({ data }, at) => (bytes += data.length) > maxBytes && at > 0);
    return Promise.resolve(end < 0 ? wanted : wanted.slice(0, end));
  }

  async stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<StagedSnapshot> {
    const kept: Uint8Array[] = [];
    for await (const chunk of chunks) kept.push(Uint8Array.from(chunk));
    const install = (held: Held): void => {
      const { base, entries } = held;
      const own =
        meta.index === base.index ? base.term : entries.find(({ index }) => index === meta.index)?.term;
      if (own !== meta.term) {
        held.entries = [];
        held.base = { index: meta.index, term: meta.term };
      }
      held.snapshot = { meta, chunks: kept };
    };
    return {
      meta,
      sizeBytes: kept.reduce((sum, { length }) => sum + length, 0),
      chunks: () => iterate(kept),
      install: async () => {
        if ((this.#view.snapshot?.meta.index ?? 0) >= meta.index)
          throw new QuorateError('SNAPSHOT_OUTDATED', 'outdated');
        install(this.#view);
        await this.#sync(install);
      },
      discard: () => Promise.resolve(),
    };
  }

  openSnapshot(): Promise<StoredSnapshot | undefined> {
    const { snapshot } = this.#view;
    if (snapshot === undefined) return Promise.resolve(undefined);
    const { meta, chunks } = snapshot;
    return Promise.resolve({
      meta,
      sizeBytes: chunks.reduce((sum, { length }) => sum + length, 0),
      chunks: () => iterate(chunks),
    });
  }

  async compact(to: number): Promise<void> {
    const cut = (held: Held): void => {
      const count = to - held.base.index;
      const last = held.entries[count - 1];
      if (count <= 0 || last === undefined) return;
      held.base = { index: to, term: last.term };
      held.entries = held.entries.slice(count);
    };
    cut(this.#view);
    await this.#sync(cut);
  }

  async close(): Promise<void> {
    await this.#order;
    if (!this.#detached) this.leave();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Makes a change durable, in order. On a log whose process has died it never ends. */
  #sync(apply: (held: Held) => void): Promise<void> {
    const done = this.#order.then(async () => {
      await sleep(this.disk.runtime, this.disk.syncMs, { keepAlive: false });
      if (this.disk.failure !== undefined) throw this.disk.failure;
      if (!this.#detached) apply(this.disk.held);
    });
    this.#order = done.catch(() => undefined);
    return done;
  }
}

function change(held: Held, { state, truncateFrom, entries }: PersistBatch): void {
  if (state !== undefined) held.state = state;
  const from = entries[0]?.index ?? truncateFrom;
  if (from === undefined) return;
  const keep = Math.min(from, truncateFrom ?? from) - held.base.index - 1;
  if (keep > held.entries.length) throw new Error(`a gap before entry ${String(from)}`);
  held.entries = [...held.entries.slice(0, Math.max(0, keep)), ...entries];
}

function copy(held: Held): Held {
  return { ...held, entries: [...held.entries] };
}

async function* iterate(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}
