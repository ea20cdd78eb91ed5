import type { Runtime } from '@quorate/runtime';
import type { Entry, Index } from './contract.js';
import type { EntryOffsets } from './core/entry-offsets.js';
import type { Position } from './core/log-shape.js';
import { align, encodeRecord, type RecordContent, recordBytes } from './core/record.js';
import { SEGMENT_HEADER_BYTES } from './core/segment.js';
import { groupCommitted } from './events.js';
import type { FileSystem } from './file-system.js';
import { beginSegment, type PreparedFile, prepareFile, type SegmentFile } from './segment-file.js';

/** Where and how segments are written. */
export interface WalSettings {
  readonly files: FileSystem;
  readonly directory: string;
  readonly runtime: Runtime;
  readonly segmentBytes: number;
  readonly groupBytes: number;
  readonly blockingSync: boolean;
}

/** What a log holds on disk. */
export interface WalContent {
  readonly logId: Uint8Array;
  /** In order; the last is the active one. */
  readonly segments: SegmentFile[];
  /** Where new records go. */
  readonly active: SegmentFile;
  readonly offsets: EntryOffsets<SegmentFile>;
  /** The sequence of the last record. */
  readonly sequence: number;
  /** Where the last record leaves the log, and the state. */
  readonly position: Position;
  readonly state: Uint8Array;
  /** The last record says that all before it are durable. */
  readonly marked: boolean;
}

type Settle = () => void;
type Job =
  | {
      readonly content: RecordContent;
      readonly bytes: number;
      readonly sync: boolean;
      readonly resolve: Settle;
      readonly reject: (error: unknown) => void;
    }
  | {
      readonly run: () => Promise<void>;
      readonly resolve: Settle;
      readonly reject: (error: unknown) => void;
    };
type RecordJob = Extract<Job, { content: RecordContent }>;

/**
 * Appends records to segments, in order, in groups: while one group is written and synced, the next one gathers.
 *
 * Invariant: a group is only written when the one before is written, and synced if it asked for it. So what a crash
 * leaves is a prefix of the acknowledged records, all of them, and a part of one group and of unsynced ones.
 */
export class Wal {
  readonly segments: SegmentFile[];
  readonly offsets: EntryOffsets<SegmentFile>;
  readonly #settings: WalSettings;
  readonly #logId: Uint8Array;
  readonly #fail: (cause: unknown) => Error;
  #queue: Job[] = [];
  #running = false;
  #failure: Error | undefined;
  #active: SegmentFile;
  #sequence: number;
  #durable: number;
  /** Where the last record leaves the log, and the state: the base of the next segment. */
  #position: Position;
  #state: Uint8Array;
  #buffer: Buffer;
  /** The lowest index that a record changes that is not in its file yet. */
  #unwrittenFrom: Index = Infinity;
  /** The last record is a mark: see {@link Wal.close}. */
  #marked: boolean;
  /** The next segment's file, on its way. */
  #prepared: Promise<PreparedFile | undefined> | undefined;

  /** `fail` is told what went wrong, and says with what everything is to be refused from then on. */
  constructor(settings: WalSettings, content: WalContent, fail: (cause: unknown) => Error) {
    this.#settings = settings;
    this.#logId = content.logId;
    this.segments = content.segments;
    this.offsets = content.offsets;
    this.#active = content.active;
    this.#sequence = content.sequence;
    this.#durable = content.sequence;
    this.#position = content.position;
    this.#state = content.state;
    this.#marked = content.marked;
    this.#fail = fail;
    this.#buffer = Buffer.allocUnsafeSlow(settings.groupBytes);
  }

  /** Appends a record: resolves when it is in its file, or with `sync` when it is durable and all before it. */
  append(content: RecordContent, bytes: number, sync: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#unwrittenFrom = Math.min(this.#unwrittenFrom, content.position.index + 1);
      this.#push({ content, bytes: align(bytes), sync, resolve, reject });
    });
  }

  /** Runs `run` when all before it is done; what comes after waits for it. When it throws the log has failed. */
  exclusively(run: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#push({ run, resolve, reject });
    });
  }

  /** Resolves when entries below `to` can be read from their files. */
  async written(to: Index): Promise<void> {
    if (to > this.#unwrittenFrom) await this.exclusively(() => Promise.resolve());
  }

  /** Refuses everything from now on. What is under way settles with the error. */
  stop(error: Error): void {
    this.#failure ??= error;
    for (const job of this.#queue.splice(0)) job.reject(this.#failure);
  }

  /** Ends the log in a record that proves what was acknowledged before it, and closes the files. */
  async close(): Promise<void> {
    if (this.#failure === undefined) {
      await this.exclusively(() => this.#writeMark()).catch(() => undefined);
    }
    const prepared = await this.#prepared;
    if (prepared !== undefined) {
      await prepared.handle.close();
      await this.#settings.files.unlink(prepared.path).catch(() => undefined);
    }
    for (const segment of this.segments) await segment.close();
  }

  #push(job: Job): void {
    if (this.#failure !== undefined) {
      job.reject(this.#failure);
      return;
    }
    this.#queue.push(job);
    if (!this.#running) {
      this.#running = true;
      void this.#run();
    }
  }

  async #run(): Promise<void> {
    let taken: readonly Job[] = [];
    try {
      for (;;) {
        // Whoever was just answered may have more to write: let all of them come before the next group is made. Before
        // this thread blocks, what they have to send goes out as well.
        await new Promise<void>((resolve) => {
          if (this.#settings.blockingSync) setImmediate(resolve);
          else process.nextTick(resolve);
        });
        const [job] = this.#queue;
        if (job === undefined) break;
        if ('run' in job) {
          taken = this.#queue.splice(0, 1);
          await job.run();
          job.resolve();
        } else if (this.#room < job.bytes) {
          await this.#rotate(job.bytes);
        } else {
          const group = this.#gather(job);
          taken = this.#queue.splice(0, group.length);
          await this.#commit(group);
        }
      }
    } catch (cause) {
      const error = this.#fail(cause);
      for (const job of taken) job.reject(error);
      this.stop(error);
    }
    this.#running = false;
  }

  get #room(): number {
    return this.#active.size - this.#active.end;
  }

  /** The records at the head of the queue that go together: into one segment, and into one write. */
  #gather(head: RecordJob): readonly RecordJob[] {
    const limit = Math.min(this.#room, this.#settings.groupBytes);
    const group = [head];
    let bytes = head.bytes;
    for (const job of this.#queue) {
      if (job === head) continue;
      if ('run' in job || bytes + job.bytes > limit) break;
      bytes += job.bytes;
      group.push(job);
    }
    return group;
  }

  async #commit(group: readonly RecordJob[]): Promise<void> {
    const segment = this.#active;
    const bytes = this.#encode(group, segment);
    await segment.handle.write(bytes, segment.end);
    segment.end += bytes.length;
    this.#marked = false;
    this.#unwrittenFrom = this.#queue.reduce(
      (lowest, job) => ('run' in job ? lowest : Math.min(lowest, job.content.position.index + 1)),
      Infinity,
    );
    for (const job of group) if (!job.sync) job.resolve();
    const syncMs = group.some(({ sync }) => sync) ? await this.#sync() : undefined;
    for (const job of group) if (job.sync) job.resolve();
    if (groupCommitted.active) {
      const { directory } = this.#settings;
      groupCommitted.publish({ directory, records: group.length, bytes: bytes.length, syncMs });
    }
    this.#prepareAhead();
  }

  #encode(group: readonly RecordJob[], segment: SegmentFile): Buffer {
    const size = group.reduce((sum, { bytes }) => sum + bytes, 0);
    const buffer = size <= this.#buffer.length ? this.#buffer : Buffer.allocUnsafeSlow(size);
    let at = 0;
    const place = ({ index, term }: Entry, start: number, end: number): void => {
      this.offsets.push(segment, index, segment.end + start, segment.end + end);
      this.#position = { index, term };
    };
    for (const { content, bytes } of group) {
      this.#position = content.position;
      if (content.state !== undefined) this.#state = new Uint8Array(content.state);
      this.offsets.truncate(content.kind === 'reset' ? 0 : content.position.index);
      const header = { sequence: ++this.#sequence, durable: this.#durable, salt: segment.salt };
      encodeRecord(buffer, at, recordBytes(content), content, header, place);
      at += bytes;
    }
    return buffer.subarray(0, size);
  }

  /** Makes everything that was written durable. To be called in {@link Wal.exclusively}. */
  async makeDurable(): Promise<void> {
    if (this.#durable < this.#sequence) await this.#sync();
  }

  /** Returns how long it took, in milliseconds. */
  async #sync(): Promise<number> {
    const { runtime } = this.#settings;
    const before = runtime.monotonic();
    await this.#active.handle.sync();
    this.#durable = this.#sequence;
    return runtime.monotonic() - before;
  }

  /** Goes on in a new segment that has room for a record. */
  async #rotate(bytes: number): Promise<void> {
    const { files, directory, segmentBytes } = this.#settings;
    await this.makeDurable();
    const base: RecordContent = { kind: 'base', position: this.#position, state: this.#state, entries: [] };
    const needed = align(SEGMENT_HEADER_BYTES + recordBytes(base)) + bytes;
    const number = this.#active.header.number + 1;
    let prepared = await this.#prepared;
    this.#prepared = undefined;
    if (prepared === undefined || prepared.size < needed) {
      await prepared?.handle.close();
      prepared = await prepareFile(files, directory, number, Math.max(segmentBytes, align(needed)));
    }
    const header = { logId: this.#logId, number, sequence: ++this.#sequence };
    const next = await beginSegment(files, directory, prepared, header, base, this.#durable);
    this.#durable = this.#sequence;
    this.offsets.seal(this.#active);
    this.segments.push(next);
    this.#active = next;
  }

  /** Makes the next segment's file ready while the present one fills. */
  #prepareAhead(): void {
    if (this.#prepared !== undefined || this.#room > this.#active.size / 2) return;
    const { files, directory, segmentBytes } = this.#settings;
    // A failure counts when the file is needed, and cannot be made then either.
    this.#prepared = prepareFile(files, directory, this.#active.header.number + 1, segmentBytes).catch(
      () => undefined,
    );
  }

  /**
   * A damaged last group cannot be told from a torn one, unless something after it says that it was durable. After a
   * good end something does.
   */
  async #writeMark(): Promise<void> {
    if (this.#marked) return;
    await this.makeDurable();
    const content: RecordContent = { kind: 'append', position: this.#position, entries: [] };
    const bytes = align(recordBytes(content));
    if (this.#room < bytes) return;
    const mark = this.#encode([{ content, bytes, sync: true, resolve: noop, reject: noop }], this.#active);
    await this.#active.handle.write(mark, this.#active.end);
    await this.#sync();
  }
}

function noop(): void {}
