import type { Entry, Index } from './contract.js';
import type { EntryOffsets } from './core/entry-offsets.js';
import { decodeEntry, ENTRY_HEADER_BYTES, entryEnd } from './core/record.js';
import { CorruptLogError } from './errors.js';
import type { SegmentFile } from './segment-file.js';

/** What is read beyond the data that was asked for, in the hope that it covers the headers in between. */
const OVERHEAD_BYTES = 8 * 1024;

/**
 * Reads entries from their files, in as few reads as their places allow: one, unless they span segments or lie around
 * removed ones. The data are views of what was read.
 */
export async function readEntries(
  offsets: EntryOffsets<SegmentFile>,
  from: Index,
  to: Index,
  maxBytes: number,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  let budget = maxBytes;
  let atLeast = 0;
  for (let next = from; next < to;) {
    const place = offsets.place(next, to);
    // Entries that were removed while this read was under way.
    if (place === undefined) break;
    const { segment } = place;
    const start = place.offsets[next - place.first] ?? 0;
    const size = Math.min(place.end - start, Math.max(budget + OVERHEAD_BYTES, atLeast));
    // Copied now: the places change when entries are removed and others appended while the file is read.
    const starts = startsWithin(place.offsets, next - place.first, place.to - place.first, start + size);
    const bytes = Buffer.allocUnsafeSlow(size);
    if ((await segment.read(bytes, start)) < size) {
      throw new CorruptLogError(segment.path, start, 'a segment that ends too early');
    }
    let taken = 0;
    for (const offset of starts) {
      const at = offset - start;
      const end = entryEnd(bytes, at, size);
      if (end === undefined) break;
      const entry = decodeEntry(bytes, at, end, next + taken, segment.salt);
      if (entry === undefined) throw new CorruptLogError(segment.path, offset, 'a damaged entry');
      if (entries.length > 0 && entry.data.length > budget) return entries;
      entries.push(entry);
      budget -= entry.data.length;
      taken++;
      if (budget <= 0) return entries;
    }
    next += taken;
    // An entry that is larger than what was read: its header says how large it is.
    atLeast = taken > 0 ? 0 : sizeOfFirst(bytes, segment, start);
  }
  return entries;
}

function startsWithin(offsets: Uint32Array, from: number, to: number, limit: number): Uint32Array {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((offsets[middle] ?? 0) + ENTRY_HEADER_BYTES <= limit) low = middle + 1;
    else high = middle;
  }
  return offsets.slice(from, low);
}

function sizeOfFirst(bytes: Buffer, segment: SegmentFile, start: number): number {
  const size = entryEnd(bytes, 0, Infinity);
  if (size === undefined || size <= bytes.length || start + size > segment.end) {
    throw new CorruptLogError(segment.path, start, 'a damaged entry');
  }
  return size;
}
