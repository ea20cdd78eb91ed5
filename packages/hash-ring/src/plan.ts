import { InvalidOptionError, integerOption } from '@quorate/runtime';
import { xxh32 } from './core/xxh32.js';
import { IncompatiblePlacementsError } from './errors.js';
import { type RangedPlacement, type ReplicaOptions, type TokenRange, TOKENS } from './placement.js';

/** Options of {@link plan}. */
export interface PlanOptions extends ReplicaOptions {
  /**
   * How many copies of every key there are.
   * @defaultValue 1
   */
  readonly replicas?: number;
  /**
   * Ids of nodes from which nothing can be read any more, such as a node that was killed. They are no sources,
   * and what only they held is listed as lost.
   * @defaultValue none
   */
  readonly unavailable?: Iterable<string>;
}

/** One copy of a range that a node must get. */
export interface Move extends TokenRange {
  /** The node that gets the copy. */
  readonly to: string;
  /** Which replica it becomes: 0 is the owner. */
  readonly replica: number;
  /** The nodes that hold a copy, the best source first: one that gives its copy up comes before one that keeps it. */
  readonly from: readonly string[];
}

/** A copy of a range that a node need not keep once the moves of the range are done. */
export interface Release extends TokenRange {
  readonly node: string;
}

/** What has to move so that every key is where `after` places it. */
export interface MovementPlan {
  readonly replicas: number;
  /** The checksum of the placement before. */
  readonly before: string;
  /** The checksum of the placement after. */
  readonly after: string;
  /** 16 hexadecimal digits over everything below: equal placements and options give equal plans. */
  readonly checksum: string;
  /** By ascending range, then by replica. No two moves bring a token to a node twice. */
  readonly moves: readonly Move[];
  /** By ascending range. Nodes that are unavailable or no longer members are not asked to release anything. */
  readonly releases: readonly Release[];
  /** Ranges that had copies, all of them on nodes that are unavailable. Empty unless data is lost. */
  readonly lost: readonly TokenRange[];
  /** The copies that move, as a fraction of all copies after the change. */
  readonly movedFraction: number;
  /**
   * The copies that move although their receiver gained no weight and the node they replace lost none, as a
   * fraction of all copies after the change. A ring has none without zones.
   */
  readonly needlessFraction: number;
}

/**
 * Compares two placements range by range.
 *
 * The plan is exact: after its moves every key has its copies where `after.pick(key, replicas)` says, and no move
 * can be left out. A node that only changes its rank among the replicas of a range has nothing to move.
 *
 * Throws `INCOMPATIBLE_PLACEMENTS` when the two hash keys differently, since ranges then mean different keys.
 */
export function plan(
  before: RangedPlacement,
  after: RangedPlacement,
  options: PlanOptions = {},
): MovementPlan {
  const replicas = integerOption('replicas', options.replicas ?? 1, { min: 1 });
  requireRanges('before', before);
  requireRanges('after', after);
  if (before.tokenSpace !== after.tokenSpace) {
    throw new IncompatiblePlacementsError(
      `keys become tokens by ${before.tokenSpace} before and by ${after.tokenSpace} after; ` +
        'create both with the same hash and seed',
    );
  }
  const unavailable = new Set(options.unavailable ?? []);
  const growing = changedWeights(before, after);
  const shrinking = changedWeights(after, before);
  const moves = new Ranges<Move>((a, b) => a.to === b.to && a.replica === b.replica && same(a.from, b.from));
  const releases = new Ranges<Release>((a, b) => a.node === b.node);
  const lost = new Ranges<TokenRange>(() => true);
  let moved = 0;
  let needless = 0;
  let copies = 0;
  forEachRange(before.rangeEnds(), after.rangeEnds(), (start, end) => {
    const size = end - start + 1;
    const old = before.pickToken(end, replicas, options);
    const now = after.pickToken(end, replicas, options);
    copies += size * now.length;
    if (same(old, now)) {
      if (old.length > 0 && old.every((id) => unavailable.has(id))) lost.push({ start, end });
      return;
    }
    const gone = old.filter((id) => !now.includes(id));
    const from = [...gone, ...old.filter((id) => now.includes(id))].filter((id) => !unavailable.has(id));
    if (old.length > 0 && from.length === 0) lost.push({ start, end });
    if (from.length > 0) {
      // Each node that shrank accounts for one receiver that did not grow.
      let excused = gone.filter((id) => shrinking.has(id)).length;
      for (const [replica, to] of now.entries()) {
        if (old.includes(to)) continue;
        moves.push({ start, end, to, replica, from });
        moved += size;
        if (!growing.has(to) && excused-- <= 0) needless += size;
      }
    }
    for (const node of gone) {
      if (!unavailable.has(node) && after.node(node) !== undefined) releases.push({ start, end, node });
    }
  });
  const sorted = moves.list.sort((a, b) => a.start - b.start || a.replica - b.replica);
  return Object.freeze({
    replicas,
    before: before.checksum,
    after: after.checksum,
    checksum: checksumOf(sorted, releases.list, lost.list),
    moves: sorted,
    releases: releases.list.sort((a, b) => a.start - b.start),
    lost: lost.list,
    movedFraction: copies === 0 ? 0 : moved / copies,
    needlessFraction: copies === 0 ? 0 : needless / copies,
  });
}

/** The ranges of which a node has a copy, ascending, neighbours joined. */
export function ownedRanges(
  placement: RangedPlacement,
  node: string,
  options: Omit<PlanOptions, 'unavailable'> = {},
): TokenRange[] {
  const replicas = integerOption('replicas', options.replicas ?? 1, { min: 1 });
  requireRanges('placement', placement);
  const owned = new Ranges<TokenRange>(() => true);
  const ends = placement.rangeEnds();
  forEachRange(ends, ends, (start, end) => {
    if (placement.pickToken(end, replicas, options).includes(node)) owned.push({ start, end });
  });
  return owned.list;
}

/** Whether a token lies in a range. */
export function inRange(range: TokenRange, token: number): boolean {
  return range.start <= token && token <= range.end;
}

/** Visits the ranges between the ends of both lists. Each list ends with the last token. */
export function forEachRange(
  a: Uint32Array,
  b: Uint32Array,
  visit: (start: number, end: number) => void,
): void {
  let atA = 0;
  let atB = 0;
  for (let start = 0; start < TOKENS;) {
    const endA = a[atA] ?? TOKENS - 1;
    const endB = b[atB] ?? TOKENS - 1;
    const end = Math.min(endA, endB);
    visit(start, end);
    if (endA === end) atA++;
    if (endB === end) atB++;
    start = end + 1;
  }
}

/** Refuses placements under which no range of tokens stays together. */
export function requireRanges(option: string, placement: RangedPlacement): void {
  const given = placement as Partial<RangedPlacement>;
  if (typeof given.rangeEnds === 'function') return;
  throw new InvalidOptionError(
    option,
    given.strategy,
    'a placement with ranges: ring, ketama, maglev, or any other one in createPartitioned',
  );
}

/** Collects ranges in ascending order and joins neighbours that agree in all else. */
class Ranges<T extends TokenRange> {
  readonly list: T[] = [];
  /** The ranges that end where the latest ones do: candidates to be continued. */
  #open: number[] = [];
  #openStart = -1;
  #previous: number[] = [];
  readonly #alike: (a: T, b: T) => boolean;

  constructor(alike: (a: T, b: T) => boolean) {
    this.#alike = alike;
  }

  push(range: T): void {
    if (range.start !== this.#openStart) {
      this.#previous = this.#open;
      this.#open = [];
      this.#openStart = range.start;
    }
    for (const index of this.#previous) {
      const earlier = this.list[index];
      if (earlier?.end === range.start - 1 && this.#alike(earlier, range)) {
        this.list[index] = { ...earlier, end: range.end };
        this.#open.push(index);
        return;
      }
    }
    this.#open.push(this.list.push(range) - 1);
  }
}

/** Ids that weigh more in `to` than in `from`, where a node that is no member weighs nothing. */
function changedWeights(from: RangedPlacement, to: RangedPlacement): ReadonlySet<string> {
  const grown = to.nodes.filter(({ id, weight }) => weight > (from.node(id)?.weight ?? 0));
  return new Set(grown.map(({ id }) => id));
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function checksumOf(...parts: readonly unknown[]): string {
  const text = JSON.stringify(parts);
  return [0, 1].map((seed) => xxh32.string(text, seed).toString(16).padStart(8, '0')).join('');
}
