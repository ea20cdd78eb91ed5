import { createHash } from 'node:crypto';
import { receiveChunks } from './chunks.js';
import type { SnapshotMeta } from './contract.js';
import { crc32c } from './core/crc32c.js';
import {
  CHUNK_BYTES,
  CHUNK_HEADER_BYTES,
  decodeSnapshotHeader,
  encodeSnapshotEnd,
  encodeSnapshotHeader,
  isSnapshotEnd,
  sealChunk,
  SNAPSHOT_END_BYTES,
  SNAPSHOT_FIXED_BYTES,
  snapshotHeaderBytes,
  snapshotSize,
} from './core/snapshot-format.js';
import { CorruptLogError, SnapshotGoneError } from './errors.js';
import type { FileHandle, FileSystem } from './file-system.js';

const SYNC_BYTES = 4 * 1024 * 1024;
const NAME = /^(\d{15})-(\d{15})\.snapshot$/;

/** The name of a snapshot in force. */
export function snapshotName({ index, term }: SnapshotMeta): string {
  return `${String(index).padStart(15, '0')}-${String(term).padStart(15, '0')}.snapshot`;
}

/** The index that the name of a snapshot says. */
export function snapshotIndex(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** A complete snapshot file that is held open, so that it stays readable when its name goes. */
export class SnapshotFile {
  #readers = 0;
  #retired = false;

  constructor(
    public path: string,
    readonly meta: SnapshotMeta,
    readonly sizeBytes: number,
    readonly handle: FileHandle,
    /** Where the chunks begin, and the seed of the first. */
    readonly start: { readonly at: number; readonly seed: number },
  ) {}

  /** The chunks in order, each checked. Throws {@link CorruptLogError} for damage. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#retired) throw new SnapshotGoneError();
    this.#readers++;
    try {
      const hash = createHash('sha256');
      const header = Buffer.alloc(CHUNK_HEADER_BYTES);
      let { at, seed } = this.start;
      let total = 0;
      for (;;) {
        await this.#fill(header, at);
        const length = header.readUInt32BE(0);
        if (length === 0) break;
        if (length > CHUNK_BYTES) throw this.#damaged(at);
        const data = Buffer.allocUnsafeSlow(length);
        await this.#fill(data, at + CHUNK_HEADER_BYTES);
        seed = crc32c(data, 0, length, seed);
        if (header.readUInt32BE(4) !== seed) throw this.#damaged(at);
        hash.update(data);
        total += length;
        at += CHUNK_HEADER_BYTES + length;
        yield new Uint8Array(data.buffer);
      }
      const end = Buffer.alloc(SNAPSHOT_END_BYTES);
      await this.#fill(end, at);
      if (!isSnapshotEnd(end, total, hash.digest(), seed)) throw this.#damaged(at);
    } finally {
      this.#readers--;
      await this.#closeIfUnused();
    }
  }

  /** Closes the file, now or after the iterations under way. */
  async retire(): Promise<void> {
    if (this.#retired) return;
    this.#retired = true;
    await this.#closeIfUnused();
  }

  async #closeIfUnused(): Promise<void> {
    if (this.#retired && this.#readers === 0) await this.handle.close();
  }

  async #fill(into: Buffer, at: number): Promise<void> {
    if ((await this.handle.read(into, at)) < into.length) throw this.#damaged(at);
  }

  #damaged(at: number): CorruptLogError {
    return new CorruptLogError(this.path, at, 'a damaged chunk');
  }
}

/** Opens a snapshot file and checks its header and its end; the chunks are checked as they are read. */
export async function openSnapshotFile(files: FileSystem, path: string): Promise<SnapshotFile> {
  const handle = await files.open(path, 'must-exist');
  try {
    const size = await handle.size();
    const fixed = Buffer.alloc(SNAPSHOT_FIXED_BYTES);
    const headerBytes = snapshotHeaderBytes(fixed.subarray(0, await handle.read(fixed, 0)));
    if (typeof headerBytes === 'string') throw new CorruptLogError(path, 0, headerBytes);
    if (headerBytes + SNAPSHOT_END_BYTES > size) {
      throw new CorruptLogError(path, size, 'a snapshot that ends too early');
    }
    const header = Buffer.alloc(headerBytes);
    await handle.read(header, 0);
    const decoded = decodeSnapshotHeader(header);
    if (decoded === undefined) throw new CorruptLogError(path, 0, 'a snapshot header with a wrong checksum');
    const end = Buffer.alloc(SNAPSHOT_END_BYTES);
    await handle.read(end, size - SNAPSHOT_END_BYTES);
    const dataBytes = snapshotSize(end);
    const overhead = CHUNK_HEADER_BYTES * Math.ceil(dataBytes / CHUNK_BYTES);
    if (headerBytes + dataBytes + overhead + SNAPSHOT_END_BYTES !== size) {
      throw new CorruptLogError(
        path,
        size - SNAPSHOT_END_BYTES,
        'a snapshot that ends too early or too late',
      );
    }
    return new SnapshotFile(path, decoded.meta, dataBytes, handle, { at: headerBytes, seed: decoded.seed });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Writes a snapshot file and makes it durable, but for its name. When anything fails, or `signal` aborts, the file is
 * removed.
 */
export async function writeSnapshotFile(
  files: FileSystem,
  path: string,
  meta: SnapshotMeta,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<SnapshotFile> {
  const handle = await files.open(path, 'create');
  try {
    const header = encodeSnapshotHeader(meta);
    await handle.write(header, 0);
    const seed = header.readUInt32BE(header.length - 4);
    const sizeBytes = await writeChunks(handle, header.length, seed, chunks, signal);
    await handle.sync();
    return new SnapshotFile(path, meta, sizeBytes, handle, { at: header.length, seed });
  } catch (error) {
    await handle.close();
    await files.unlink(path).catch(() => undefined);
    throw error;
  }
}

async function writeChunks(
  handle: FileHandle,
  start: number,
  firstSeed: number,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(CHUNK_HEADER_BYTES + CHUNK_BYTES);
  let at = start;
  let synced = start;
  let seed = firstSeed;
  let filled = 0;
  let total = 0;
  const flush = async (): Promise<void> => {
    if (filled === 0) return;
    seed = sealChunk(buffer, filled, seed);
    const size = CHUNK_HEADER_BYTES + filled;
    hash.update(buffer.subarray(CHUNK_HEADER_BYTES, size));
    await handle.write(buffer.subarray(0, size), at);
    at += size;
    filled = 0;
    // In pieces: a sync of the log that comes meanwhile would wait for all that is dirty.
    if (at - synced >= SYNC_BYTES) {
      await handle.sync();
      synced = at;
    }
  };
  for await (const chunk of receiveChunks(chunks, signal)) {
    for (let done = 0; done < chunk.length;) {
      const piece = chunk.subarray(done, done + CHUNK_BYTES - filled);
      buffer.set(piece, CHUNK_HEADER_BYTES + filled);
      filled += piece.length;
      done += piece.length;
      total += piece.length;
      if (filled === CHUNK_BYTES) await flush();
    }
  }
  await flush();
  await handle.write(encodeSnapshotEnd(total, hash.digest(), seed), at);
  return total;
}
