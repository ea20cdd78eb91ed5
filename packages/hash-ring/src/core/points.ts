import { compareIds } from './members.js';

/**
 * Points on the circle of tokens, sorted by (token, id of the node), as one array of pairs: point i is at
 * `pairs[2i]` and belongs to slot `pairs[2i + 1]`. Behind the last point stands the first one again, at 2^32 - 1,
 * so that a search needs no case for the wrap-around: a token belongs to the first point at or after it.
 *
 * `table` cuts the circle into equal arcs. An arc in which no boundary lies has its slot there; any other has the
 * complement of the index in `pairs` of the first point at or after its start.
 */
export interface Points {
  readonly count: number;
  readonly pairs: Uint32Array;
  readonly table: Int32Array;
  readonly shift: number;
}

/** Bytes that a point of a large circle takes in memory at the most: a pair, and two entries of the table. */
export const BYTES_PER_POINT = 8 + 8;

const LAST_TOKEN = 0xffffffff;

/** Sorts the points of many nodes; `ids` are those of the slots. */
export function buildPoints(
  points: readonly (Uint32Array | undefined)[],
  ids: readonly (string | undefined)[],
): Points {
  // Token and rank of the id in one number of 53 bits, so that the engine's own sort of numbers applies.
  const order = [...points.keys()]
    .filter((slot) => points[slot] !== undefined)
    .sort((a, b) => compareIds(ids[a] ?? '', ids[b] ?? ''));
  let count = 0;
  for (const slot of order) count += points[slot]?.length ?? 0;
  const keys = new Float64Array(count);
  let at = 0;
  order.forEach((slot, rank) => {
    for (const token of points[slot] ?? []) keys[at++] = token * MAX_SLOTS + rank;
  });
  keys.sort();
  const pairs = new Uint32Array(2 * (count + 1));
  for (let i = 0; i < count; i++) {
    const key = keys[i] ?? 0;
    const token = Math.floor(key / MAX_SLOTS);
    pairs[2 * i] = token;
    pairs[2 * i + 1] = order[key - token * MAX_SLOTS] ?? 0;
  }
  return indexPoints(pairs, count);
}

/** How many slots a set of points can have. */
export const MAX_SLOTS = 2 ** 21;

/** Drops the points of some slots, then adds others; everything in between is copied in blocks. */
export function mergePoints(
  points: Points,
  added: Points,
  dropped: ReadonlySet<number>,
  ids: readonly (string | undefined)[],
): Points {
  const kept = dropped.size === 0 ? points : dropPoints(points, dropped);
  if (added.count === 0) return indexPoints(kept.pairs, kept.count);
  const { pairs: old, count: oldCount } = kept;
  const { pairs: fresh, count: freshCount } = added;
  const pairs = new Uint32Array(2 * (oldCount + freshCount + 1));
  let from = 0;
  let to = 0;
  for (let next = 0; next < freshCount; next++) {
    const token = fresh[2 * next] ?? 0;
    const slot = fresh[2 * next + 1] ?? 0;
    let before = firstAtOrAfter(old, oldCount, token);
    while (old[before] === token && before < 2 * oldCount && precedes(ids, old[before + 1], slot))
      before += 2;
    pairs.set(old.subarray(from, before), to);
    to += before - from;
    from = before;
    pairs[to++] = token;
    pairs[to++] = slot;
  }
  pairs.set(old.subarray(from, 2 * oldCount), to);
  return indexPoints(pairs, oldCount + freshCount);
}

function precedes(ids: readonly (string | undefined)[], slot: number | undefined, other: number): boolean {
  return compareIds(ids[slot ?? 0] ?? '', ids[other] ?? '') < 0;
}

function dropPoints(
  { pairs: old, count: oldCount }: Points,
  dropped: ReadonlySet<number>,
): Pick<Points, 'pairs' | 'count'> {
  let slots = 0;
  for (const slot of dropped) slots = Math.max(slots, slot + 1);
  const drops = new Uint8Array(slots);
  for (const slot of dropped) drops[slot] = 1;
  const pairs = new Uint32Array(old.length);
  let to = 0;
  for (let at = 0; at < 2 * oldCount; at += 2) {
    const slot = old[at + 1] ?? 0;
    if (drops[slot] === 1) continue;
    pairs[to++] = old[at] ?? 0;
    pairs[to++] = slot;
  }
  return { pairs: pairs.slice(0, to + 2), count: to / 2 };
}

/** The slot that owns a token. There must be points. */
export function slotAt(points: Points, token: number): number {
  const entry = points.table[token >>> points.shift] ?? 0;
  if (entry >= 0) return entry;
  const { pairs } = points;
  let at = ~entry;
  while ((pairs[at] ?? LAST_TOKEN) < token) at += 2;
  return pairs[at + 1] ?? 0;
}

/** Visits the slots of the points from a token onwards, once around, until `visit` returns true. */
export function walkSlots(points: Points, token: number, visit: (slot: number) => boolean): void {
  const { pairs, count } = points;
  if (count === 0) return;
  let at = firstAtOrAfter(pairs, count, token);
  for (let left = count; left > 0; left--, at += 2) {
    if (at >= 2 * count) at = 0;
    if (visit(pairs[at + 1] ?? 0)) return;
  }
}

/** The index in `pairs` of the first point at or after a token, or of the end. */
function firstAtOrAfter(pairs: Uint32Array, count: number, token: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pairs[2 * middle] ?? 0) < token) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}

/** The tokens at which ranges end: the distinct points, and the end of the circle. */
export function pointEnds({ pairs, count }: Points): Uint32Array {
  const ends = new Uint32Array(count + 1);
  let length = 0;
  for (let i = 0; i < count; i++) {
    const token = pairs[2 * i] ?? 0;
    if (length === 0 || ends[length - 1] !== token) ends[length++] = token;
  }
  if (length === 0 || ends[length - 1] !== LAST_TOKEN) ends[length++] = LAST_TOKEN;
  return ends.slice(0, length);
}

function indexPoints(pairs: Uint32Array, count: number): Points {
  const first = pairs[1] ?? 0;
  pairs[2 * count] = LAST_TOKEN;
  pairs[2 * count + 1] = first;
  const bits = tableBits(count);
  const shift = 32 - bits;
  const table = new Int32Array(2 ** bits);
  let arc = 0;
  for (let at = 0; at < 2 * count; at += 2) {
    const arcOfPoint = (pairs[at] ?? 0) >>> shift;
    // Only the first point of an arc finds it unwritten.
    if (arc > arcOfPoint) continue;
    const slot = pairs[at + 1] ?? 0;
    while (arc < arcOfPoint) table[arc++] = slot;
    table[arc++] = ~at;
  }
  table.fill(first, arc);
  return { count, pairs, table, shift };
}

/**
 * Up to sixteen arcs per point while the table has at most 2^16 entries, so that nearly no arc of a small circle holds a
 * boundary; one to two for a large one, so that the table stays in the cache and a change has little to write.
 */
function tableBits(count: number): number {
  const bits = Math.ceil(Math.log2(Math.max(1, count)));
  return Math.max(1, bits, Math.min(16, bits + 4));
}
