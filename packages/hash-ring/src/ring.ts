import { integerOption } from '@quorate/runtime';
import type { ByteWriter } from '@quorate/runtime/bytes';
import { type PlacementOptions, type PlacementState, resolveOptions, TokenPlacement } from './core/base.js';
import { type HashFunction, hashKey } from './core/hash.js';
import { changeMembers, resolveNodes } from './core/members.js';
import {
  buildPoints,
  BYTES_PER_POINT,
  MAX_SLOTS,
  mergePoints,
  pointEnds,
  type Points,
  walkSlots,
} from './core/points.js';
import { type DecodeOptions, readSnapshot } from './core/snapshot.js';
import { PlacementTooLargeError } from './errors.js';
import type { Key, NodeSpec, PlacementChange, PlacementNode, RangedPlacement } from './placement.js';

/** Options of {@link createRing}. */
export interface RingOptions extends PlacementOptions {
  /**
   * Points on the circle for each unit of weight. The shares of nodes of weight w deviate from their mean by
   * about 1 / sqrt(w * pointsPerWeight); memory grows in proportion.
   * @defaultValue 160
   */
  readonly pointsPerWeight?: number;
}

const DEFAULT_POINTS_PER_WEIGHT = 160;
const LAST_TOKEN = 0xffffffff;

/** 4 million points: 64 MiB. */
const MAX_POINTS = 2 ** 22;

/**
 * Consistent hashing on a circle with virtual nodes (D. Karger et al., "Consistent Hashing and Random Trees",
 * STOC 1997): a key belongs to the first point at or after its token.
 *
 * Removing a node moves its keys only, adding one moves keys only to it, and a new weight moves keys only to or
 * from that node: points scale with a node's own weight and never with the total.
 *
 * `get` takes constant time; a change costs one pass over the points.
 */
export class Ring extends TokenPlacement implements RangedPlacement {
  readonly strategy = 'ring';
  readonly pointsPerWeight: number;
  readonly #points: Points;
  /** By slot. A slot outlives changes of other nodes, and is free when its id is undefined. */
  readonly #ids: readonly (string | undefined)[];
  readonly #members: readonly (PlacementNode | undefined)[];
  // What `get` needs, one step away: the ids by slot, none when there are no points, and the parts of `#points`.
  readonly #owners: readonly (string | undefined)[];
  readonly #table: Int32Array;
  readonly #shift: number;
  readonly #pairs: Uint32Array;

  /** Use {@link createRing} or {@link decodeRing}. @internal */
  constructor(
    state: PlacementState,
    pointsPerWeight: number,
    points: Points,
    members: readonly (PlacementNode | undefined)[],
  ) {
    super(state);
    this.pointsPerWeight = pointsPerWeight;
    this.#points = points;
    this.#members = members;
    this.#ids = members.map((node) => node?.id);
    this.#owners = points.count === 0 ? [] : this.#ids;
    this.#table = points.table;
    this.#shift = points.shift;
    this.#pairs = points.pairs;
  }

  /** How many points the circle has. */
  get points(): number {
    return this.#points.count;
  }

  override get(key: Key): string | undefined {
    const token =
      typeof key === 'string' ? this.hash.string(key, this.seed) >>> 0 : hashKey(this.hash, this.seed, key);
    // As `slotAt`, without its steps through `Points`.
    const entry = this.#table[token >>> this.#shift] ?? 0;
    if (entry >= 0) return this.#owners[entry];
    const pairs = this.#pairs;
    let at = ~entry;
    while ((pairs[at] ?? LAST_TOKEN) < token) at += 2;
    return this.#owners[pairs[at + 1] ?? 0];
  }

  rangeEnds(): Uint32Array {
    return pointEnds(this.#points);
  }

  override with(change: PlacementChange): Ring {
    const changes = changeMembers(this.nodes, change, 'any');
    if (changes === undefined) return this;
    const { added, removed, reweighted, nodes } = changes;
    const { hash, seed, pointsPerWeight } = this;
    checkSize(nodes, pointsPerWeight);
    const members = [...this.#members];
    const slots = new Map(this.#ids.map((id, slot) => [id, slot]));
    const dropped = new Set<number>();
    for (const { id } of [...removed, ...reweighted]) {
      const slot = slots.get(id) ?? 0;
      dropped.add(slot);
      members[slot] = undefined;
    }
    // A slot whose points are being dropped cannot be given away in the same pass.
    const free = members.flatMap((node, slot) => (node === undefined && !dropped.has(slot) ? [slot] : []));
    const fresh: Uint32Array[] = [];
    for (const node of [...added, ...reweighted]) {
      const slot = free.pop() ?? members.length;
      members[slot] = node;
      fresh[slot] = tokensOf(node, hash, seed, pointsPerWeight);
    }
    const ids = members.map((node) => node?.id);
    const points = mergePoints(this.#points, buildPoints(fresh, ids), dropped, ids);
    return new Ring(this.next(nodes), pointsPerWeight, points, members);
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    walkSlots(this.#points, token, (slot) => {
      const node = this.#members[slot];
      return node !== undefined && visit(node);
    });
  }

  protected override writeParameters(writer: ByteWriter): void {
    writer.u32(this.pointsPerWeight);
  }
}

/**
 * A ring of these nodes.
 *
 * Throws `DUPLICATE_NODE` for an id given twice, `INVALID_OPTION` for a bad weight or option, and
 * `PLACEMENT_TOO_LARGE`, before anything is allocated, for more than 4 million points.
 */
export function createRing(nodes: Iterable<string | NodeSpec> = [], options: RingOptions = {}): Ring {
  const pointsPerWeight = integerOption(
    'pointsPerWeight',
    options.pointsPerWeight ?? DEFAULT_POINTS_PER_WEIGHT,
    {
      min: 1,
      max: 0xffffffff,
    },
  );
  return build({ ...resolveOptions(options), nodes: resolveNodes(nodes, 'any') }, pointsPerWeight);
}

/** The ring that {@link Ring.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeRing(bytes: Uint8Array, options: DecodeOptions = {}): Ring {
  const { state, parameters } = readSnapshot(bytes, 'ring', options, (reader) => {
    const pointsPerWeight = reader.u32();
    return pointsPerWeight > 0 ? pointsPerWeight : reader.fail('no points per weight');
  });
  return build(state, parameters);
}

function build(state: PlacementState, pointsPerWeight: number): Ring {
  const { nodes, hash, seed } = state;
  checkSize(nodes, pointsPerWeight);
  const points = nodes.map((node) => tokensOf(node, hash, seed, pointsPerWeight));
  const ids = nodes.map(({ id }) => id);
  return new Ring(state, pointsPerWeight, buildPoints(points, ids), nodes);
}

/** A node that is to own anything has at least one point. */
function pointsOf({ weight }: PlacementNode, pointsPerWeight: number): number {
  return weight === 0 ? 0 : Math.max(1, Math.round(weight * pointsPerWeight));
}

/** Point i of a node is the hash of `<id>-<i>`, so that a greater weight only adds points. */
function tokensOf(
  node: PlacementNode,
  hash: HashFunction,
  seed: number,
  pointsPerWeight: number,
): Uint32Array {
  const tokens = new Uint32Array(pointsOf(node, pointsPerWeight));
  for (let i = 0; i < tokens.length; i++) tokens[i] = hash.string(`${node.id}-${String(i)}`, seed);
  return tokens;
}

function checkSize(nodes: readonly PlacementNode[], pointsPerWeight: number): void {
  let points = 0;
  for (const node of nodes) points += pointsOf(node, pointsPerWeight);
  if (points <= MAX_POINTS && nodes.length < MAX_SLOTS / 2) return;
  throw new PlacementTooLargeError(
    `${String(nodes.length)} nodes with ${String(points)} points would need ` +
      `${String(Math.ceil((points * BYTES_PER_POINT) / 2 ** 20))} MiB; ${String(MAX_POINTS)} points are the most. ` +
      'Lower pointsPerWeight, or scale the weights down: only their ratios matter',
  );
}
