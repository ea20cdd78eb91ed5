import { crc32c } from './crc32c.js';
import { align, RECORD_HEADER_BYTES, type ScannedRecord, scanRecord } from './record.js';

/*
 * The first 40 bytes of a segment: 7 bytes `QUORWAL`, u8 version, 16 bytes that name the log, u48 number of the segment,
 * u48 sequence of its first record, u32 CRC-32C of the 36 bytes before. This checksum seeds those of all records in the
 * segment, so that a record of another segment, or of another log, is never taken for one of this.
 */
const MAGIC = Buffer.from('QUORWAL');
const VERSION = 1;
export const SEGMENT_HEADER_BYTES = 40;
export const LOG_ID_BYTES = 16;

/** What a segment says about itself. */
export interface SegmentHeader {
  readonly logId: Uint8Array;
  /** Rises by one from segment to segment. */
  readonly number: number;
  /** The sequence of its first record. */
  readonly sequence: number;
}

/** Writes a header and returns the seed of the checksums in the segment. */
export function encodeSegmentHeader(into: Buffer, header: SegmentHeader): number {
  into.set(MAGIC, 0);
  into[7] = VERSION;
  into.set(header.logId, 8);
  into.writeUIntBE(header.number, 24, 6);
  into.writeUIntBE(header.sequence, 30, 6);
  const salt = crc32c(into, 0, 36);
  into.writeUInt32BE(salt, 36);
  return salt;
}

/** The header of a segment and the seed of its checksums, or why it is none. */
export function decodeSegmentHeader(bytes: Buffer): { header: SegmentHeader; salt: number } | string {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'a segment that is shorter than its header';
  if (!bytes.subarray(0, 7).equals(MAGIC)) return 'a file that is no segment of a log';
  if (bytes[7] !== VERSION) return `a segment of the unknown version ${String(bytes[7])}`;
  const salt = crc32c(bytes, 0, 36);
  if (bytes.readUInt32BE(36) !== salt) return 'a segment header with a wrong checksum';
  return {
    header: {
      logId: new Uint8Array(bytes.subarray(8, 24)),
      number: bytes.readUIntBE(24, 6),
      sequence: bytes.readUIntBE(30, 6),
    },
    salt,
  };
}

/** How the records of a segment end. */
export type SegmentEnd =
  /** Nothing but zeros follow. */
  | { readonly kind: 'clean' }
  /** Something follows that is no record, up to `until`; nothing says that it ever was acknowledged. */
  | { readonly kind: 'torn'; readonly until: number }
  /** A record that was acknowledged is damaged. */
  | { readonly kind: 'corrupt'; readonly witness: number };

/** What is in a segment. */
export interface SegmentScan {
  readonly records: readonly ScannedRecord[];
  /** Where the next record would begin. */
  readonly end: number;
  readonly how: SegmentEnd;
}

/**
 * Reads the records of a segment.
 *
 * After the first place without an intact record of the expected sequence, records may be intact again: a crash can
 * keep later sectors of unsynced writes and lose earlier ones. One of them that was written when the missing one was
 * known to be durable is the proof of damage: a sync had promised what is not there.
 */
export function scanSegment(bytes: Buffer, salt: number, firstSequence: number): SegmentScan {
  const records: ScannedRecord[] = [];
  let at = SEGMENT_HEADER_BYTES;
  let sequence = firstSequence;
  for (;;) {
    const record = scanRecord(bytes, at, bytes.length, salt);
    if (record?.sequence !== sequence) break;
    records.push(record);
    at = align(record.end);
    sequence++;
  }
  return { records, end: at, how: inspectTail(bytes, at, salt, sequence) };
}

function inspectTail(bytes: Buffer, at: number, salt: number, missing: number): SegmentEnd {
  const until = endOfContent(bytes, at);
  if (until <= at) return { kind: 'clean' };
  const highest = missing + Math.ceil((until - at) / RECORD_HEADER_BYTES);
  for (let place = align(at); place < until && place + RECORD_HEADER_BYTES <= bytes.length; place += 8) {
    const sequence = bytes.readUIntBE(place + 8, 6);
    const durable = bytes.readUIntBE(place + 14, 6);
    // Checksums are only worth their time where a proof could be.
    if (sequence <= missing || sequence > highest || durable < missing || durable >= sequence) continue;
    if (scanRecord(bytes, place, bytes.length, salt) !== undefined)
      return { kind: 'corrupt', witness: place };
  }
  return { kind: 'torn', until };
}

/** The byte after the last one that is not zero. */
function endOfContent(bytes: Buffer, from: number): number {
  let end = bytes.length;
  while (end - 8 >= from && bytes.readInt32LE(end - 8) === 0 && bytes.readInt32LE(end - 4) === 0) end -= 8;
  while (end > from && bytes[end - 1] === 0) end--;
  return end;
}
