import type { Entry, EntryKind, Index, Term } from '../contract.js';
import { crc32c } from './crc32c.js';
import type { Position } from './log-shape.js';

/*
 * A record, big-endian, at a multiple of 8 bytes of its segment:
 *
 *    0 u32 checksum: CRC-32C of bytes 4 to 44, the state, and the checksum of each entry; seeded by the segment
 *    4 u32 length in bytes, without the padding to 8
 *    8 u48 sequence: one more than that of the record before, for ever
 *   14 u48 durable: the highest sequence that was known to be durable when this was written
 *   20 u8  kind of record, 21 three zeros
 *   24 u48 index, 30 u48 term: the position that the log is cut back to, or stands at
 *   36 u32 length of the state, or NO_STATE
 *   40 u32 number of entries
 *   44     the state, then the entries
 *
 * An entry: u32 checksum of the rest of it seeded by the segment, u32 length of its data, u8 kind, u8 length of its id,
 * u48 term, id, data.
 */
export const RECORD_HEADER_BYTES = 44;
export const ENTRY_HEADER_BYTES = 16;
/** The most that a record takes: lengths are 32 bits, and a segment is read as a whole. */
export const MAX_RECORD_BYTES = 2 ** 28;
const NO_STATE = 0xffff_ffff;

/**
 * - `append`: replaces the state if it has one, cuts the log back to its position, and appends its entries
 * - `reset`: the log is emptied and stands at the position
 * - `base`: begins a segment, and says where the log stands and the state, for when earlier segments are gone
 */
export type RecordKind = 'append' | 'reset' | 'base';

const RECORD_KINDS: readonly (RecordKind | undefined)[] = [undefined, 'append', 'reset', 'base'];
const ENTRY_KINDS: readonly (EntryKind | undefined)[] = [undefined, 'command', 'config', 'noop'];

/** What a record says. */
export interface RecordContent {
  readonly kind: RecordKind;
  readonly position: Position;
  readonly state?: Uint8Array | undefined;
  readonly entries: readonly Entry[];
}

/** A record that was found intact. */
export interface ScannedRecord {
  readonly kind: RecordKind;
  readonly sequence: number;
  readonly durable: number;
  readonly position: Position;
  readonly state: Uint8Array | undefined;
  readonly entryCount: number;
  /** Where its entries begin. */
  readonly entriesAt: number;
  /** The byte after it, without padding. */
  readonly end: number;
}

/** Records begin at multiples of 8 bytes. */
export function align(offset: number): number {
  return (offset + 7) & ~7;
}

/** The size of a record, without padding. */
export function recordBytes(content: RecordContent): number {
  let size = RECORD_HEADER_BYTES + (content.state?.length ?? 0);
  for (const { data, id } of content.entries) {
    size += ENTRY_HEADER_BYTES + data.length + (id === undefined ? 0 : Buffer.byteLength(id));
  }
  return size;
}

/**
 * Writes a record of `length` bytes, as {@link recordBytes} counted them, at `at`. `entry` learns where each entry
 * begins and ends in `into`.
 */
export function encodeRecord(
  into: Buffer,
  at: number,
  length: number,
  content: RecordContent,
  header: { readonly sequence: number; readonly durable: number; readonly salt: number },
  entry: (entry: Entry, start: number, end: number) => void,
): void {
  const { salt } = header;
  into.writeUInt32BE(length, at + 4);
  into.writeUIntBE(header.sequence, at + 8, 6);
  into.writeUIntBE(header.durable, at + 14, 6);
  into.writeUInt32BE(RECORD_KINDS.indexOf(content.kind) * 2 ** 24, at + 20);
  into.writeUIntBE(content.position.index, at + 24, 6);
  into.writeUIntBE(content.position.term, at + 30, 6);
  into.writeUInt32BE(content.state?.length ?? NO_STATE, at + 36);
  into.writeUInt32BE(content.entries.length, at + 40);
  let end = at + RECORD_HEADER_BYTES;
  if (content.state !== undefined) {
    into.set(content.state, end);
    end += content.state.length;
  }
  let checksum = crc32c(into, at + 4, end, salt);
  for (const one of content.entries) {
    const start = end;
    const idBytes = one.id === undefined ? 0 : into.write(one.id, start + ENTRY_HEADER_BYTES, 'utf8');
    into.writeUInt32BE(one.data.length, start + 4);
    into[start + 8] = ENTRY_KINDS.indexOf(one.kind);
    into[start + 9] = idBytes;
    into.writeUIntBE(one.term, start + 10, 6);
    into.set(one.data, start + ENTRY_HEADER_BYTES + idBytes);
    end = start + ENTRY_HEADER_BYTES + idBytes + one.data.length;
    into.writeUInt32BE(crc32c(into, start + 4, end, salt), start);
    checksum = crc32c(into, start, start + 4, checksum);
    entry(one, start, end);
  }
  into.writeUInt32BE(checksum, at);
  into.fill(0, end, align(end));
}

/** The record at `at` if there is an intact one before `limit`. Allocates nothing on the word of hostile bytes. */
export function scanRecord(
  bytes: Buffer,
  at: number,
  limit: number,
  salt: number,
): ScannedRecord | undefined {
  if (at + RECORD_HEADER_BYTES > limit) return undefined;
  const length = bytes.readUInt32BE(at + 4);
  const kindAndReserved = bytes.readUInt32BE(at + 20);
  const kind = RECORD_KINDS[kindAndReserved >>> 24];
  const end = at + length;
  if (length < RECORD_HEADER_BYTES || end > limit || kind === undefined || kindAndReserved % 2 ** 24 !== 0)
    return undefined;
  const stateBytes = bytes.readUInt32BE(at + 36);
  const entryCount = bytes.readUInt32BE(at + 40);
  const stateAt = at + RECORD_HEADER_BYTES;
  const entriesAt = stateBytes === NO_STATE ? stateAt : stateAt + stateBytes;
  if (entriesAt > end || entryCount * ENTRY_HEADER_BYTES > end - entriesAt) return undefined;
  let checksum = crc32c(bytes, at + 4, entriesAt, salt);
  let next = entriesAt;
  for (let index = 0; index < entryCount; index++) {
    const after = entryEnd(bytes, next, end);
    if (after === undefined || bytes.readUInt32BE(next) !== crc32c(bytes, next + 4, after, salt))
      return undefined;
    checksum = crc32c(bytes, next, next + 4, checksum);
    next = after;
  }
  if (next !== end || bytes.readUInt32BE(at) !== checksum) return undefined;
  return {
    kind,
    sequence: bytes.readUIntBE(at + 8, 6),
    durable: bytes.readUIntBE(at + 14, 6),
    position: { index: bytes.readUIntBE(at + 24, 6), term: bytes.readUIntBE(at + 30, 6) },
    state: stateBytes === NO_STATE ? undefined : new Uint8Array(bytes.subarray(stateAt, entriesAt)),
    entryCount,
    entriesAt,
    end,
  };
}

/** The byte after the entry at `at`, if its header is before `limit` and it says that it ends there or before. */
export function entryEnd(bytes: Buffer, at: number, limit: number): number | undefined {
  if (at + ENTRY_HEADER_BYTES > limit) return undefined;
  const end = at + ENTRY_HEADER_BYTES + (bytes[at + 9] ?? 0) + bytes.readUInt32BE(at + 4);
  return end > limit ? undefined : end;
}

/** The term of an entry of an intact record. */
export function entryTerm(bytes: Buffer, at: number): Term {
  return bytes.readUIntBE(at + 10, 6);
}

/**
 * The entry at `at` that ends at `end`, or undefined where it is not intact. Its data is a view of `bytes`.
 */
export function decodeEntry(
  bytes: Buffer,
  at: number,
  end: number,
  index: Index,
  salt: number,
): Entry | undefined {
  const kind = ENTRY_KINDS[bytes[at + 8] ?? 0];
  if (kind === undefined || bytes.readUInt32BE(at) !== crc32c(bytes, at + 4, end, salt)) return undefined;
  const idAt = at + ENTRY_HEADER_BYTES;
  const dataAt = idAt + (bytes[at + 9] ?? 0);
  const entry = {
    index,
    term: entryTerm(bytes, at),
    kind,
    data: new Uint8Array(bytes.buffer, bytes.byteOffset + dataAt, end - dataAt),
  };
  return dataAt === idAt ? entry : { ...entry, id: bytes.toString('utf8', idAt, dataAt) };
}
