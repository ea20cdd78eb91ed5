import { InvalidOptionError } from '@quorate/runtime';
import type {
  Entry,
  Index,
  LoadedLog,
  LogStorage,
  PersistBatch,
  SnapshotMeta,
  StagedSnapshot,
  StoredSnapshot,
} from './contract.js';
import { receiveChunks } from './chunks.js';
import { checkBatch, checkCompact, checkMeta, checkRead } from './core/checks.js';
import { LogShape, type Position } from './core/log-shape.js';
import { SnapshotGoneError, SnapshotOutdatedError, StorageLockedError, StorageStateError } from './errors.js';
import { Lifecycle } from './lifecycle.js';

/** A snapshot in memory. */
interface MemorySnapshot {
  readonly meta: SnapshotMeta;
  readonly chunks: readonly Uint8Array[];
  readonly sizeBytes: number;
}

/** What a log holds. */
class Content {
  state: Uint8Array = new Uint8Array(0);
  readonly shape = new LogShape();
  readonly entries: Entry[] = [];
  snapshot: MemorySnapshot | undefined;

  copy(): Content {
    const copy = new Content();
    copy.state = this.state;
    copy.snapshot = this.snapshot;
    copy.shape.reset(this.shape.anchor);
    copy.append(this.shape.anchor, this.entries);
    return copy;
  }

  append(position: Position, entries: readonly Entry[]): void {
    this.entries.length = position.index - this.shape.anchor.index;
    this.shape.append(position, entries);
    for (const entry of entries) this.entries.push(entry);
  }

  install(snapshot: MemorySnapshot): void {
    const { index, term } = snapshot.meta;
    this.snapshot = snapshot;
    if (this.shape.holds({ index, term })) return;
    this.shape.reset({ index, term });
    this.entries.length = 0;
  }

  compact(to: Index): void {
    const removed = to - this.shape.anchor.index;
    if (removed <= 0) return;
    this.shape.dropTo(to);
    this.entries.splice(0, removed);
  }
}

/** Where a memory log keeps what is to outlive it: the disk of a test. One log at a time has it open. */
export interface MemoryMedium {
  /**
   * Ends the log that has the medium open as a crash would: what it did not sync is lost, it is refused everything from
   * now on, and another one can open the medium.
   */
  crash(): void;
}

/** Makes an empty medium. */
export function createMemoryMedium(): MemoryMedium {
  return new Medium();
}

class Medium implements MemoryMedium {
  readonly durable = new Content();
  holder: MemoryLog | undefined;

  crash(): void {
    this.holder?.lose();
    this.holder = undefined;
  }
}

/** What {@link createMemoryLog} takes. */
export interface MemoryLogOptions {
  /**
   * What the log is kept on, so that a test can crash it and open another log on what is left.
   * @defaultValue a medium of its own, gone with the log
   */
  readonly medium?: MemoryMedium;
}

/**
 * A log in memory with the behaviour of one on a disk, for tests and for what may be lost with the process: the same
 * order, the same refusals, and over a {@link MemoryMedium} the same crashes. A sync takes one turn of the microtask
 * queue.
 */
export function createMemoryLog({ medium = createMemoryMedium() }: MemoryLogOptions = {}): LogStorage {
  if (!(medium instanceof Medium)) {
    throw new InvalidOptionError('medium', medium, 'what createMemoryMedium() returns');
  }
  return new MemoryLog(medium);
}

class MemoryLog implements LogStorage {
  readonly #medium: Medium;
  readonly #lifecycle = new Lifecycle('the memory log');
  readonly #staged = new Set<MemorySnapshot>();
  #content = new Content();
  /** Changes that a crash would lose. */
  #unsynced: ((content: Content) => void)[] = [];

  constructor(medium: Medium) {
    this.#medium = medium;
  }

  load(): Promise<LoadedLog> {
    return this.#lifecycle.load(async () => {
      await Promise.resolve();
      if (this.#medium.holder !== undefined) throw new StorageLockedError('the memory medium');
      this.#medium.holder = this;
      this.#content = this.#medium.durable.copy();
      const { state, shape, snapshot } = this.#content;
      return {
        state,
        first: shape.first,
        last: shape.last,
        ...(snapshot && { snapshot: snapshot.meta }),
      };
    });
  }

  async write(batch: PersistBatch, options: { readonly sync: boolean }): Promise<void> {
    this.#lifecycle.check();
    checkBatch(batch);
    const position = this.#content.shape.plan(batch, this.#content.snapshot?.meta.index ?? 0);
    const state = batch.state && new Uint8Array(batch.state);
    const entries = batch.entries.map((entry) => ({ ...entry, data: new Uint8Array(entry.data) }));
    this.#change((content) => {
      content.append(position, entries);
      content.state = state ?? content.state;
    });
    await this.#settle(options.sync);
  }

  async read(from: Index, to: Index, maxBytes: number): Promise<Entry[]> {
    this.#lifecycle.check();
    checkRead(from, to, maxBytes);
    const { shape, entries } = this.#content;
    const range = shape.range(from, to);
    const read: Entry[] = [];
    let budget = maxBytes;
    for (let index = range.from; index < range.to; index++) {
      const entry = entries[index - shape.first];
      if (entry === undefined || (read.length > 0 && entry.data.length > budget)) break;
      budget -= entry.data.length;
      read.push(entry);
    }
    await Promise.resolve();
    return read;
  }

  async stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<StagedSnapshot> {
    this.#lifecycle.check();
    checkMeta(meta);
    signal?.throwIfAborted();
    const received: Uint8Array[] = [];
    for await (const chunk of receiveChunks(chunks, signal)) received.push(new Uint8Array(chunk));
    this.#lifecycle.check();
    const staged: MemorySnapshot = {
      meta: { ...meta, membership: new Uint8Array(meta.membership) },
      chunks: received,
      sizeBytes: received.reduce((sum, { length }) => sum + length, 0),
    };
    this.#staged.add(staged);
    return {
      meta: staged.meta,
      sizeBytes: staged.sizeBytes,
      chunks: () => iterate(staged),
      install: () => this.#install(staged),
      discard: () => {
        this.#staged.delete(staged);
        return Promise.resolve();
      },
    };
  }

  async #install(staged: MemorySnapshot): Promise<void> {
    this.#lifecycle.check();
    if (!this.#staged.delete(staged)) throw new SnapshotGoneError();
    const { meta } = staged;
    const current = this.#content.snapshot?.meta;
    if (current !== undefined && meta.index <= current.index) throw new SnapshotOutdatedError(meta, current);
    this.#change((content) => {
      content.install(staged);
    });
    await this.#settle(true);
  }

  async openSnapshot(): Promise<StoredSnapshot | undefined> {
    this.#lifecycle.check();
    await Promise.resolve();
    const { snapshot } = this.#content;
    return (
      snapshot && { meta: snapshot.meta, sizeBytes: snapshot.sizeBytes, chunks: () => iterate(snapshot) }
    );
  }

  async compact(to: Index): Promise<void> {
    this.#lifecycle.check();
    checkCompact(to, this.#content.snapshot?.meta.index ?? 0);
    this.#change((content) => {
      content.compact(to);
    });
    await this.#settle(true);
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      await Promise.resolve();
      if (this.#medium.holder !== this) return;
      this.#makeDurable();
      this.#medium.holder = undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Refuses everything from now on: the process that had this log has ended. */
  lose(): void {
    this.#lifecycle.fail(new StorageStateError('STORAGE_CLOSED'));
  }

  /** Waits as for a disk; what is there by then is durable, unless the medium crashed meanwhile. */
  async #settle(sync: boolean): Promise<void> {
    await Promise.resolve();
    if (this.#medium.holder !== this) this.#lifecycle.check();
    else if (sync) this.#makeDurable();
  }

  #change(change: (content: Content) => void): void {
    change(this.#content);
    this.#unsynced.push(change);
  }

  #makeDurable(): void {
    for (const change of this.#unsynced.splice(0)) change(this.#medium.durable);
  }
}

async function* iterate({ chunks }: MemorySnapshot): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield chunk;
  }
}
