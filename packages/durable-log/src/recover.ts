import type { Index } from './contract.js';
import { EntryOffsets } from './core/entry-offsets.js';
import { LogShape } from './core/log-shape.js';
import { align, entryEnd, entryTerm, type ScannedRecord } from './core/record.js';
import { CorruptLogError } from './errors.js';
import { tailRepaired } from './events.js';
import type { FileSystem } from './file-system.js';
import {
  cutTornTail,
  type LoadedSegment,
  loadSegment,
  type SegmentFile,
  segmentNumber,
} from './segment-file.js';
import { openSnapshotFile, type SnapshotFile, snapshotIndex } from './snapshot-file.js';
import type { WalContent } from './wal.js';

/** What was found in a directory. */
export interface Recovered {
  readonly shape: LogShape;
  /** Undefined where there never was a log. */
  readonly wal: WalContent | undefined;
  readonly snapshot: SnapshotFile | undefined;
}

/**
 * Reads a directory, repairs what a crash left, and makes durable what it found: what a process that was killed had
 * written may still be on its way to the disk, and whoever loads it will build on it.
 */
export async function recover(files: FileSystem, directory: string): Promise<Recovered> {
  const names = await files.readdir(directory);
  for (const name of names.filter((one) => one.endsWith('.tmp'))) await files.unlink(`${directory}/${name}`);
  const snapshot = await newestSnapshot(files, directory, names);
  const replay = new Replay();
  try {
    const numbers = names.flatMap((name) => segmentNumber(name) ?? []).sort((a, b) => a - b);
    const start = lastConsecutive(numbers);
    for (const number of numbers.slice(start)) {
      replay.add(await loadSegment(files, directory, number, number === numbers.at(-1)));
    }
    await replay.makeDurable();
    checkBeginning(directory, replay, snapshot, start > 0 ? numbers[start] : undefined);
    // A crash in the middle of a removal can keep an older file and lose a newer one.
    for (const name of names) {
      const number = segmentNumber(name);
      if (number !== undefined && numbers.indexOf(number) < start) await files.unlink(`${directory}/${name}`);
    }
    await files.syncDirectory(directory);
    return { shape: replay.shape, wal: replay.content(), snapshot };
  } catch (error) {
    await snapshot?.retire();
    for (const segment of replay.segments) await segment.close();
    throw error;
  }
}

/** Where the last run of consecutive numbers begins. */
function lastConsecutive(numbers: readonly number[]): number {
  let start = Math.max(0, numbers.length - 1);
  while (start > 0 && numbers[start - 1] === (numbers[start] ?? 0) - 1) start--;
  return start;
}

async function newestSnapshot(
  files: FileSystem,
  directory: string,
  names: readonly string[],
): Promise<SnapshotFile | undefined> {
  const snapshots = names
    .filter((name) => snapshotIndex(name) !== undefined)
    // Index and term are padded, so that the order of names is theirs.
    .sort();
  const newest = snapshots.pop();
  if (newest === undefined) return undefined;
  const file = await openSnapshotFile(files, `${directory}/${newest}`);
  for (const name of snapshots) await files.unlink(`${directory}/${name}`);
  return file;
}

/** What is not in the log any more must be in the snapshot. */
function checkBeginning(
  directory: string,
  replay: Replay,
  snapshot: SnapshotFile | undefined,
  afterGap: number | undefined,
): void {
  const covered: Index = snapshot?.meta.index ?? 0;
  const begins = replay.shape.anchor.index;
  if (snapshot !== undefined && replay.segments.length === 0) {
    throw new CorruptLogError(snapshot.path, 0, 'a snapshot without the log that it belongs to');
  }
  if (begins > covered) {
    const what =
      afterGap === undefined
        ? `entries up to ${String(begins)} are gone, and no snapshot covers them,`
        : `the segment before number ${String(afterGap)} is missing, and no snapshot covers it,`;
    throw new CorruptLogError(directory, 0, what);
  }
}

/** Puts a log together from its records. */
class Replay {
  readonly shape = new LogShape();
  readonly segments: SegmentFile[] = [];
  readonly #offsets = new EntryOffsets<SegmentFile>();
  #state: Uint8Array = new Uint8Array(0);
  #sequence = 0;
  #last: LoadedSegment | undefined;

  add(loaded: LoadedSegment): void {
    const { file, records } = loaded;
    this.segments.push(file);
    const before = this.#last?.file;
    if (before !== undefined) {
      if (file.header.sequence !== this.#sequence + 1) {
        throw new CorruptLogError(before.path, before.end, 'records are missing');
      }
      if (!Buffer.from(before.header.logId).equals(file.header.logId)) {
        throw new CorruptLogError(file.path, 8, 'a segment of another log');
      }
    }
    this.#sequence = file.header.sequence - 1;
    for (const record of records) {
      this.#apply(record, loaded, before === undefined && record === records[0]);
    }
    if (before !== undefined) this.#offsets.seal(before);
    this.#last = loaded;
  }

  #apply(record: ScannedRecord, { file, bytes }: LoadedSegment, isFirst: boolean): void {
    const { shape } = this;
    const { kind, position } = record;
    if (kind === 'reset' || (kind === 'base' && isFirst)) {
      shape.reset(position);
      this.#offsets.truncate(0);
    } else {
      // Below the anchor are entries whose segments are gone; a truncation may have reached there.
      const known = position.index < shape.anchor.index || shape.holds(position);
      if (!known || (kind === 'base' && position.index !== shape.last)) {
        throw new CorruptLogError(file.path, file.end, 'a record that contradicts those before');
      }
      shape.truncate(position);
      this.#offsets.truncate(position.index);
    }
    let at = record.entriesAt;
    for (let count = 0; count < record.entryCount; count++) {
      const end = entryEnd(bytes, at, record.end) ?? record.end;
      shape.push(entryTerm(bytes, at));
      this.#offsets.push(file, shape.last, at, end);
      at = end;
    }
    if (record.state !== undefined) this.#state = record.state;
    this.#sequence = record.sequence;
    file.end = align(record.end);
  }

  /**
   * Writes again what is not known to be durable, and syncs. A sync alone would not do: after a failed one the system
   * takes the pages for clean that it did not write (Rebello et al., "Can Applications Recover from fsync Failures?",
   * ATC 2020).
   */
  async makeDurable(): Promise<void> {
    if (this.#last === undefined) return;
    const { file, bytes, records, tornUntil } = this.#last;
    await cutTornTail(this.#last);
    if (tornUntil !== undefined) {
      tailRepaired.publish({ file: file.path, offset: file.end, bytes: tornUntil - file.end });
    }
    const durable = records.at(-1)?.durable ?? 0;
    const lastSure = records.findLast(({ sequence }) => sequence <= durable);
    const from = lastSure === undefined ? 0 : align(lastSure.end);
    await file.handle.write(bytes.subarray(from, file.end), from);
    await file.handle.sync();
  }

  content(): WalContent | undefined {
    if (this.#last === undefined) return undefined;
    const last = this.#last.records.at(-1);
    return {
      marked: last?.kind === 'append' && last.entryCount === 0 && last.durable === last.sequence - 1,
      logId: this.#last.file.header.logId,
      segments: this.segments,
      active: this.#last.file,
      offsets: this.#offsets,
      sequence: this.#sequence,
      position: this.shape.end,
      state: this.#state,
    };
  }
}
