import type { SnapshotMeta } from '../contract.js';
import { crc32c } from './crc32c.js';

/*
 * A snapshot file, big-endian:
 *
 * - header: 7 bytes `QUORSNP`, u8 version, u48 index, u48 term, u32 length of the membership, membership, u32 CRC-32C of
 *   all that
 * - chunks: u32 length (at least 1), u32 CRC-32C of the data seeded by the checksum before, data
 * - end: u32 zero, u64 bytes of data in all chunks, 32 bytes SHA-256 of them, u32 CRC-32C of these 44 bytes seeded by the
 *   checksum before
 *
 * Each checksum seeds the next, so that chunks neither change places nor come from another file.
 */
const MAGIC = Buffer.from('QUORSNP');
const VERSION = 1;
/** Bytes before the membership. */
export const SNAPSHOT_FIXED_BYTES = 24;
export const CHUNK_HEADER_BYTES = 8;
/** The most that a stored chunk holds. */
export const CHUNK_BYTES = 256 * 1024;
export const SNAPSHOT_END_BYTES = 48;
/** The most that a membership takes. */
export const MAX_MEMBERSHIP_BYTES = 16 * 1024 * 1024;

/** The header of a snapshot file. Its last four bytes are the first seed. */
export function encodeSnapshotHeader({ index, term, membership }: SnapshotMeta): Buffer {
  const bytes = Buffer.alloc(SNAPSHOT_FIXED_BYTES + membership.length + 4);
  bytes.set(MAGIC, 0);
  bytes[7] = VERSION;
  bytes.writeUIntBE(index, 8, 6);
  bytes.writeUIntBE(term, 14, 6);
  bytes.writeUInt32BE(membership.length, 20);
  bytes.set(membership, SNAPSHOT_FIXED_BYTES);
  bytes.writeUInt32BE(crc32c(bytes, 0, bytes.length - 4), bytes.length - 4);
  return bytes;
}

/** The size of a header of which the fixed part is given, or why it is none. */
export function snapshotHeaderBytes(fixed: Buffer): number | string {
  if (fixed.length < SNAPSHOT_FIXED_BYTES || !fixed.subarray(0, 7).equals(MAGIC))
    return 'a file that is no snapshot';
  if (fixed[7] !== VERSION) return `a snapshot of the unknown version ${String(fixed[7])}`;
  const membershipBytes = fixed.readUInt32BE(20);
  if (membershipBytes > MAX_MEMBERSHIP_BYTES) return 'a membership too large to be one';
  return SNAPSHOT_FIXED_BYTES + membershipBytes + 4;
}

/** Reads a whole header; undefined where its checksum is wrong. */
export function decodeSnapshotHeader(bytes: Buffer): { meta: SnapshotMeta; seed: number } | undefined {
  const seed = crc32c(bytes, 0, bytes.length - 4);
  if (bytes.readUInt32BE(bytes.length - 4) !== seed) return undefined;
  return {
    meta: {
      index: bytes.readUIntBE(8, 6),
      term: bytes.readUIntBE(14, 6),
      membership: new Uint8Array(bytes.subarray(SNAPSHOT_FIXED_BYTES, bytes.length - 4)),
    },
    seed,
  };
}

/** Writes the header of the chunk whose `length` bytes are in `into` behind it, and returns the next seed. */
export function sealChunk(into: Buffer, length: number, seed: number): number {
  into.writeUInt32BE(length, 0);
  const checksum = crc32c(into, CHUNK_HEADER_BYTES, CHUNK_HEADER_BYTES + length, seed);
  into.writeUInt32BE(checksum, 4);
  return checksum;
}

/** The end of a snapshot file. */
export function encodeSnapshotEnd(sizeBytes: number, sha256: Uint8Array, seed: number): Buffer {
  const bytes = Buffer.alloc(SNAPSHOT_END_BYTES);
  bytes.writeBigUInt64BE(BigInt(sizeBytes), 4);
  bytes.set(sha256, 12);
  bytes.writeUInt32BE(crc32c(bytes, 0, SNAPSHOT_END_BYTES - 4, seed), SNAPSHOT_END_BYTES - 4);
  return bytes;
}

/** Bytes of data in a snapshot, by its end. */
export function snapshotSize(end: Buffer): number {
  return Number(end.readBigUInt64BE(4));
}

/** Whether `end` is the end of a snapshot of this content. */
export function isSnapshotEnd(end: Buffer, sizeBytes: number, sha256: Uint8Array, seed: number): boolean {
  return end.equals(encodeSnapshotEnd(sizeBytes, sha256, seed));
}
