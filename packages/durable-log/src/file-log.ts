import { integerOption, InvalidOptionError, type Runtime, systemRuntime } from '@quorate/runtime';
import { dirname } from 'node:path';
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
import { checkBatch, checkCompact, checkMeta, checkRead } from './core/checks.js';
import { EntryOffsets } from './core/entry-offsets.js';
import { type LogShape, ORIGIN } from './core/log-shape.js';
import { MAX_RECORD_BYTES, type RecordContent, recordBytes } from './core/record.js';
import { LOG_ID_BYTES } from './core/segment.js';
import { InvalidBatchError, SnapshotGoneError, SnapshotOutdatedError, StorageStateError } from './errors.js';
import type { DirectoryLock, FileSystem } from './file-system.js';
import { Lifecycle } from './lifecycle.js';
import { createNodeFileSystem, nodeFileSystem } from './node-file-system.js';
import { readEntries } from './read-entries.js';
import { recover } from './recover.js';
import { beginSegment, prepareFile, type SegmentFile } from './segment-file.js';
import { type SnapshotFile, snapshotName, writeSnapshotFile } from './snapshot-file.js';
import { Wal, type WalContent, type WalSettings } from './wal.js';

/** How {@link createFileLog} keeps its files. */
export interface FileLogOptions {
  /**
   * Where the files are. Created, with the directories above it, where it does not exist. Belongs to one log alone;
   * must be on a local file system.
   */
  readonly directory: string;
  /**
   * Bytes of a segment, allocated ahead. A prefix of the log is removed by whole segments. Up to one and a half of
   * them are taken at the least.
   * @defaultValue 16 MiB
   */
  readonly segmentBytes?: number;
  /**
   * The most bytes that are written at once and share a sync; one batch may exceed it. So much memory is taken.
   * @defaultValue 1 MiB
   */
  readonly groupBytes?: number;
  /**
   * Files are synced on this thread, which saves the way to another one and back: for a worker thread, or a process
   * that does nothing else, over a disk that syncs in a fraction of a millisecond. Danger: while the disk takes its
   * time, this thread does nothing else, sends no heartbeat and answers nobody.
   * @defaultValue false
   */
  readonly blockingSync?: boolean;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
  /**
   * The file system, for tests with a simulated disk; then `blockingSync` is its own affair.
   * @defaultValue that of the machine, by `node:fs`
   */
  readonly fileSystem?: FileSystem;
}

const MIB = 1024 * 1024;
const SEGMENT_BYTES = { min: 4096, max: 1024 * MIB };
const GROUP_BYTES = { min: 512, max: 256 * MIB };

/**
 * A log in the files of a directory: a segmented write-ahead log with checksums, group commit and snapshots.
 *
 * What was acknowledged survives the end of the process and of the machine at any point, provided that the disk keeps
 * what it said was synced and that a sector is written whole or not at all. See {@link LogStorage} for the rest.
 */
export function createFileLog(options: FileLogOptions): LogStorage {
  const { directory, runtime = systemRuntime, blockingSync = false } = options;
  if (typeof directory !== 'string' || directory === '') {
    throw new InvalidOptionError('directory', directory, 'the path of a directory');
  }
  if (typeof blockingSync !== 'boolean') {
    throw new InvalidOptionError('blockingSync', blockingSync, 'true or false');
  }
  return new FileLog({
    files: options.fileSystem ?? (blockingSync ? createNodeFileSystem(true) : nodeFileSystem),
    runtime,
    directory,
    blockingSync,
    segmentBytes:
      Math.ceil(integerOption('segmentBytes', options.segmentBytes ?? 16 * MIB, SEGMENT_BYTES) / 8) * 8,
    groupBytes: integerOption('groupBytes', options.groupBytes ?? MIB, GROUP_BYTES),
  });
}

/** What there is once a log is loaded. */
interface OpenLog {
  readonly lock: DirectoryLock;
  readonly wal: Wal;
  /** What the log holds after everything that was called so far, done or not. */
  readonly shape: LogShape;
}

class FileLog implements LogStorage {
  readonly #settings: WalSettings;
  readonly #lifecycle: Lifecycle;
  #open: OpenLog | undefined;
  /** The snapshot in force once everything that was called so far is done. */
  #meta: SnapshotMeta | undefined;
  #snapshot: SnapshotFile | undefined;
  readonly #staged = new Set<SnapshotFile>();
  #stagings = 0;

  constructor(settings: WalSettings) {
    this.#settings = settings;
    this.#lifecycle = new Lifecycle(settings.directory);
  }

  load(): Promise<LoadedLog> {
    return this.#lifecycle.load(async () => {
      const { files, directory } = this.#settings;
      await files.mkdir(directory);
      await files.syncDirectory(dirname(directory));
      const lock = await files.lock(directory);
      try {
        return await this.#load(lock);
      } catch (error) {
        await this.#snapshot?.retire();
        await lock.release();
        throw error;
      }
    });
  }

  async #load(lock: DirectoryLock): Promise<LoadedLog> {
    const { shape, wal: content, snapshot } = await recover(this.#settings.files, this.#settings.directory);
    const start = content ?? (await this.#begin());
    const wal = new Wal(this.#settings, start, (cause) => this.#lifecycle.fail(cause));
    this.#open = { lock, wal, shape };
    this.#snapshot = snapshot;
    this.#meta = snapshot?.meta;
    // A crash between the two steps of an installation.
    if (snapshot !== undefined && !shape.holds(snapshot.meta))
      await this.#discardFor(snapshot.meta, this.#open);
    return {
      state: start.state,
      first: shape.first,
      last: shape.last,
      ...(snapshot && { snapshot: snapshot.meta }),
    };
  }

  async #begin(): Promise<WalContent> {
    const { files, directory, segmentBytes, runtime } = this.#settings;
    const logId = runtime.randomBytes(LOG_ID_BYTES);
    const state = new Uint8Array(0);
    const base: RecordContent = { kind: 'base', position: ORIGIN, state, entries: [] };
    const prepared = await prepareFile(files, directory, 1, segmentBytes);
    const segment = await beginSegment(
      files,
      directory,
      prepared,
      { logId, number: 1, sequence: 1 },
      base,
      0,
    );
    return {
      logId,
      segments: [segment],
      active: segment,
      offsets: new EntryOffsets<SegmentFile>(),
      sequence: 1,
      position: ORIGIN,
      state,
      marked: false,
    };
  }

  async write(batch: PersistBatch, options: { readonly sync: boolean }): Promise<void> {
    const { shape, wal } = this.#opened();
    checkBatch(batch);
    const position = shape.plan(batch, this.#meta?.index ?? 0);
    const content: RecordContent = { kind: 'append', position, state: batch.state, entries: batch.entries };
    const bytes = recordBytes(content);
    if (bytes > MAX_RECORD_BYTES) {
      throw new InvalidBatchError(
        `a batch of ${String(bytes)} bytes is above the limit of ${String(MAX_RECORD_BYTES)}: split it`,
      );
    }
    shape.append(position, batch.entries);
    await wal.append(content, bytes, options.sync);
  }

  async read(from: Index, to: Index, maxBytes: number): Promise<Entry[]> {
    const { shape, wal } = this.#opened();
    checkRead(from, to, maxBytes);
    const range = shape.range(from, to);
    if (range.from >= range.to) return [];
    await wal.written(range.to);
    try {
      const entries = await readEntries(wal.offsets, range.from, range.to, maxBytes);
      if (entries.length === 0) shape.range(from, to);
      return entries;
    } catch (error) {
      this.#opened();
      const failure = this.#lifecycle.fail(error);
      wal.stop(failure);
      throw failure;
    }
  }

  async stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<StagedSnapshot> {
    this.#opened();
    checkMeta(meta);
    signal?.throwIfAborted();
    const { files, directory } = this.#settings;
    const path = `${directory}/staged-${String(++this.#stagings)}.snapshot.tmp`;
    const own = { ...meta, membership: new Uint8Array(meta.membership) };
    const file = await writeSnapshotFile(files, path, own, chunks, signal);
    this.#staged.add(file);
    return {
      meta: own,
      sizeBytes: file.sizeBytes,
      chunks: () => file.chunks(),
      install: () => this.#install(file),
      discard: () => this.#discard(file),
    };
  }

  async #install(file: SnapshotFile): Promise<void> {
    const open = this.#opened();
    const { meta } = file;
    if (!this.#staged.has(file)) throw new SnapshotGoneError();
    if (this.#meta !== undefined && meta.index <= this.#meta.index) {
      await this.#discard(file);
      throw new SnapshotOutdatedError(meta, this.#meta);
    }
    this.#staged.delete(file);
    this.#meta = meta;
    const placed = open.wal.exclusively(async () => {
      // A snapshot is later than the writes before it: it must not outlive them.
      await open.wal.makeDurable();
      await this.#putInForce(file);
    });
    const discarded = open.shape.holds(meta) ? undefined : this.#discardFor(meta, open);
    await Promise.all([placed, discarded]);
  }

  async #putInForce(file: SnapshotFile): Promise<void> {
    const { files, directory } = this.#settings;
    const path = `${directory}/${snapshotName(file.meta)}`;
    await files.rename(file.path, path);
    await files.syncDirectory(directory);
    file.path = path;
    const before = this.#snapshot;
    this.#snapshot = file;
    if (before !== undefined) {
      await before.retire();
      await files.unlink(before.path);
    }
  }

  /** Empties the log, which is not the one that leads to a snapshot, and lets it go on from there. */
  #discardFor({ index, term }: SnapshotMeta, { shape, wal }: OpenLog): Promise<void> {
    const content: RecordContent = { kind: 'reset', position: { index, term }, entries: [] };
    shape.reset(content.position);
    return wal.append(content, recordBytes(content), true);
  }

  async #discard(file: SnapshotFile): Promise<void> {
    if (!this.#staged.delete(file)) return;
    await file.retire();
    await this.#settings.files.unlink(file.path).catch(() => undefined);
  }

  async openSnapshot(): Promise<StoredSnapshot | undefined> {
    const { wal } = this.#opened();
    // An installation under way is finished first: it was called before.
    if (this.#meta !== this.#snapshot?.meta) await wal.exclusively(() => Promise.resolve());
    const file = this.#snapshot;
    return file && { meta: file.meta, sizeBytes: file.sizeBytes, chunks: () => file.chunks() };
  }

  async compact(to: Index): Promise<void> {
    const { shape, wal } = this.#opened();
    checkCompact(to, this.#meta?.index ?? 0);
    await wal.exclusively(async () => {
      const { segments, offsets } = wal;
      for (let [oldest] = segments; oldest !== undefined && segments.length > 1; [oldest] = segments) {
        const last = offsets.lastIn(oldest);
        if (last !== undefined && last > to) break;
        segments.shift();
        offsets.dropFirst(oldest);
        if (last !== undefined) shape.dropTo(last);
        await oldest.close();
        await this.#settings.files.unlink(oldest.path);
      }
    });
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      if (this.#open === undefined) return;
      const { wal, lock } = this.#open;
      for (const file of this.#staged) await this.#discard(file);
      await wal.close();
      await this.#snapshot?.retire();
      await lock.release();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #opened(): OpenLog {
    this.#lifecycle.check();
    if (this.#open === undefined) throw new StorageStateError('STORAGE_NOT_LOADED');
    return this.#open;
  }
}
