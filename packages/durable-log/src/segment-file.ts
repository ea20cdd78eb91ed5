import {
  align,
  encodeRecord,
  MAX_RECORD_BYTES,
  type RecordContent,
  recordBytes,
  type ScannedRecord,
} from './core/record.js';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  scanSegment,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './core/segment.js';
import { CorruptLogError } from './errors.js';
import type { FileHandle, FileSystem } from './file-system.js';

const NAME = /^(\d{12})\.wal$/;
/** Zeros are written and synced in pieces, so that the syncs of the log are not held up by a large one. */
const ZEROS = Buffer.alloc(1024 * 1024);
const MAX_SEGMENT_BYTES = 2 * MAX_RECORD_BYTES;

/** A segment of the log that is open. Its file is removed or closed once nobody reads from it. */
export class SegmentFile {
  /** Where the next record goes. */
  end: number;
  #readers = 0;
  #closing = false;

  constructor(
    readonly path: string,
    readonly header: SegmentHeader,
    readonly salt: number,
    /** Bytes that are allocated. */
    readonly size: number,
    end: number,
    readonly handle: FileHandle,
  ) {
    this.end = end;
  }

  /** Reads while the file is kept open. */
  async read(into: Uint8Array, position: number): Promise<number> {
    this.#readers++;
    try {
      return await this.handle.read(into, position);
    } finally {
      this.#readers--;
      if (this.#closing && this.#readers === 0) await this.handle.close();
    }
  }

  /** Closes the file, now or after the reads under way. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#readers === 0) await this.handle.close();
  }
}

/** The number of the segment that a file name stands for. */
export function segmentNumber(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function segmentName(number: number): string {
  return `${String(number).padStart(12, '0')}.wal`;
}

/** A file of zeros that becomes a segment. */
export interface PreparedFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
}

/**
 * Allocates a file on the disk by writing zeros: a sync of data that replaces data need not wait for the file system
 * to note an allocation or a new size.
 */
export async function prepareFile(
  files: FileSystem,
  directory: string,
  number: number,
  size: number,
): Promise<PreparedFile> {
  const path = `${directory}/${segmentName(number)}.tmp`;
  const handle = await files.open(path, 'create');
  try {
    for (let at = 0; at < size; at += ZEROS.length) {
      await handle.write(ZEROS.subarray(0, Math.min(ZEROS.length, size - at)), at);
      await handle.sync();
    }
  } catch (error) {
    await handle.close();
    await files.unlink(path).catch(() => undefined);
    throw error;
  }
  return { path, handle, size };
}

/**
 * Makes a segment of a prepared file: header and base record are durable before the file has its name, and the name
 * is durable when this resolves.
 */
export async function beginSegment(
  files: FileSystem,
  directory: string,
  prepared: PreparedFile,
  header: SegmentHeader,
  base: RecordContent,
  durable: number,
): Promise<SegmentFile> {
  const length = recordBytes(base);
  const bytes = Buffer.alloc(align(SEGMENT_HEADER_BYTES + length));
  const salt = encodeSegmentHeader(bytes, header);
  encodeRecord(
    bytes,
    SEGMENT_HEADER_BYTES,
    length,
    base,
    { sequence: header.sequence, durable, salt },
    () => undefined,
  );
  const path = `${directory}/${segmentName(header.number)}`;
  await prepared.handle.write(bytes, 0);
  await prepared.handle.sync();
  await files.rename(prepared.path, path);
  await files.syncDirectory(directory);
  return new SegmentFile(path, header, salt, prepared.size, bytes.length, prepared.handle);
}

/** A segment that was read from the disk. */
export interface LoadedSegment {
  readonly file: SegmentFile;
  readonly bytes: Buffer;
  readonly records: readonly ScannedRecord[];
  /** The byte after the garbage that follows the last record; undefined where none does. */
  readonly tornUntil: number | undefined;
}

/** Opens a segment and checks every byte of it. Throws {@link CorruptLogError} for damage. */
export async function loadSegment(
  files: FileSystem,
  directory: string,
  number: number,
  isLast: boolean,
): Promise<LoadedSegment> {
  const path = `${directory}/${segmentName(number)}`;
  const handle = await files.open(path, 'must-exist');
  try {
    const size = await handle.size();
    if (size > MAX_SEGMENT_BYTES) throw new CorruptLogError(path, size, 'a segment too large to be one');
    const bytes = Buffer.allocUnsafeSlow(size);
    if ((await handle.read(bytes, 0)) < size) throw new CorruptLogError(path, 0, 'a segment that shrinks');
    const found = decodeSegmentHeader(bytes);
    if (typeof found === 'string') throw new CorruptLogError(path, 0, found);
    const { header, salt } = found;
    if (header.number !== number) {
      throw new CorruptLogError(path, 0, `the header of segment ${String(header.number)}`);
    }
    const { records, end, how } = scanSegment(bytes, salt, header.sequence);
    if (records[0]?.kind !== 'base') throw new CorruptLogError(path, end, 'no base record');
    if (how.kind === 'corrupt') {
      throw new CorruptLogError(
        path,
        end,
        `a damaged record (the record at byte ${String(how.witness)} proves that it was durable)`,
      );
    }
    if (how.kind === 'torn' && !isLast) {
      throw new CorruptLogError(path, end, 'a damaged record (a later segment proves that it was durable)');
    }
    return {
      file: new SegmentFile(path, header, salt, size, end, handle),
      bytes,
      records,
      tornUntil: how.kind === 'torn' ? how.until : undefined,
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Cuts off what follows the last record, durably, so that nothing of it is ever taken for a record. */
export async function cutTornTail({ file, tornUntil }: LoadedSegment): Promise<void> {
  if (tornUntil === undefined) return;
  for (let at = file.end; at < tornUntil; at += ZEROS.length) {
    await file.handle.write(ZEROS.subarray(0, Math.min(ZEROS.length, tornUntil - at)), at);
  }
  await file.handle.sync();
}
