/** A position in a log. The first entry has index 1; zero means "before the first". Dense: no index is left out. */
export type Index = number;

/** The protocol's logical time of an entry: a raft term, a zab epoch, a paxos ballot round. Never decreases with the index. */
export type Term = number;

/** `command`: for the state machine; `config`: a change of membership; `noop`: marks the beginning of a leadership. */
export type EntryKind = 'command' | 'config' | 'noop';

/** One entry of a replicated log. */
export interface Entry {
  readonly index: Index;
  readonly term: Term;
  readonly kind: EntryKind;
  readonly data: Uint8Array;
  /** Names the proposal that the entry came from, so that its proposer recognises it wherever it is applied. */
  readonly id?: string;
}

/** What a snapshot stands for: the state after every entry up to and including `index`. */
export interface SnapshotMeta {
  readonly index: Index;
  readonly term: Term;
  /** The membership as of `index`, in the protocol's own encoding; opaque here. */
  readonly membership: Uint8Array;
}

/** What is written as one: after a crash either all of it is there or none. */
export interface PersistBatch {
  /** Replaces the hard state (term, vote, ...), in the protocol's own encoding. */
  readonly state?: Uint8Array;
  /**
   * Entries with this index and above are removed before `entries` are appended. Implied where the first of
   * `entries` does not follow the last index.
   */
  readonly truncateFrom?: Index;
  /** Dense and ascending. */
  readonly entries: readonly Entry[];
}

/** What a storage holds when it is opened. */
export interface LoadedLog {
  /** The last hard state written; empty when there was none. */
  readonly state: Uint8Array;
  /** The index of the first entry that is held; `last + 1` when none is. */
  readonly first: Index;
  /** The index of the last entry, or of the snapshot when no entry follows it; zero when there is nothing. */
  readonly last: Index;
  readonly snapshot?: SnapshotMeta;
}

/** A snapshot that can be read. */
export interface StoredSnapshot {
  readonly meta: SnapshotMeta;
  /** Bytes of all chunks together. */
  readonly sizeBytes: number;
  /**
   * The chunks in order, cut as the storage likes. The snapshot stays readable until the iteration ends, also when a
   * newer one is installed meanwhile. May be called more than once; an iteration that begins when
   * a newer one is in force may reject with `SNAPSHOT_GONE`.
   */
  chunks(): AsyncIterable<Uint8Array>;
}

/**
 * A snapshot that is durable and not in force yet. One that is neither installed nor discarded is removed by the next
 * `load`.
 */
export interface StagedSnapshot {
  readonly meta: SnapshotMeta;
  /** Bytes of all chunks together. */
  readonly sizeBytes: number;
  /** The chunks in order, to be read until it is installed or discarded. */
  chunks(): AsyncIterable<Uint8Array>;
  /**
   * Puts the snapshot in place of the one before, atomically and durably, in order with writes. Entries up to
   * `meta.index` are no longer needed and may be removed by `compact`. Where the log does not hold an entry
   * (meta.index, meta.term), the whole log is discarded and continues at `meta.index + 1` (Raft, section 7,
   * InstallSnapshot rules 6 and 7); the hard state stays. Rejects with `SNAPSHOT_OUTDATED`, and discards it, when the
   * one in force covers as much or more.
   */
  install(): Promise<void>;
  /** Removes it. Does nothing once it was installed or discarded. */
  discard(): Promise<void>;
}

/**
 * What survives a crash of the process, the operating system or the machine.
 *
 * One writer: opening a storage that another process has open is refused. A call that rejects with anything but
 * an argument error, but for `stageSnapshot`, leaves the storage failed: every later call rejects with the same error, because after a
 * failed sync nobody knows what the disk holds. What was acknowledged before stays readable after a reopening.
 */
export interface LogStorage extends AsyncDisposable {
  /** Opens the storage, repairs a torn tail, and tells what is there. Called once, before anything else. */
  load(): Promise<LoadedLog>;
  /**
   * Appends a batch atomically. With `sync`, resolves once the batch and every batch before it are durable;
   * concurrent calls share one sync. Without, resolves once the batch is ordered before all later ones, and a
   * crash may lose it (but never it and keep a later one). Calls take effect in the order in which they are made.
   * The bytes of the batch stay untouched by the caller until this settles. Rejects with `INVALID_BATCH`, without effect,
   * for a batch that does not fit the log.
   */
  write(batch: PersistBatch, options: { readonly sync: boolean }): Promise<void>;
  /**
   * Entries with `from <= index < to`, in order, as many as fit into `maxBytes` of data but at least one. Sees every
   * write that was called before, durable or not. Rejects with `COMPACTED` below the first entry, which leaves the
   * storage well; reading past the last one gives fewer entries.
   */
  read(from: Index, to: Index, maxBytes: number): Promise<Entry[]>;
  /**
   * Takes a snapshot in, durably, without effect on what is there: until {@link StagedSnapshot.install} the storage
   * answers as before, also after a crash. Writes, reads and syncs go on meanwhile. When `chunks` throws, `signal`
   * aborts or no space is left, the error is passed on, what was received is removed, and the storage is as good as
   * before. Several may be staged at a time.
   */
  stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<StagedSnapshot>;
  /** The newest snapshot that was installed. */
  openSnapshot(): Promise<StoredSnapshot | undefined>;
  /** Removes entries up to and including `to`, which a snapshot must cover. May keep more than asked. */
  compact(to: Index): Promise<void>;
  /** Waits for writes under way, then releases files and the lock. Idempotent. */
  close(): Promise<void>;
}
