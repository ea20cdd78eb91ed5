import { integerOption } from '@quorate/runtime';
import type { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import {
  changeMembers,
  type DecodeOptions,
  type Key,
  mix32,
  type NodeSpec,
  type PlacementChange,
  type PlacementNode,
  type PlacementOptions,
  type PlacementState,
  PlacementTooLargeError,
  readSnapshot,
  resolveNodes,
  resolveOptions,
  TokenPlacement,
} from '@quorate/hash-ring';
import { AnchorBuckets } from './core/anchor-buckets.js';

/** Options of {@link createAnchor}. */
export interface AnchorOptions extends PlacementOptions {
  /**
   * The most nodes that the placement can ever have; it cannot grow later. A node takes 16 bytes, and lookups
   * take longer by the logarithm of capacity over nodes.
   * @defaultValue twice the number of nodes, at least 64
   */
  readonly capacity?: number;
}

const MIN_DEFAULT_CAPACITY = 64;
const MAX_CAPACITY = 2 ** 22;

/**
 * AnchorHash (G. Mendelson et al., "AnchorHash: A Scalable Consistent Hash", IEEE/ACM Transactions on Networking
 * 2021, algorithm 3) over equal nodes: near-perfect balance, constant time, and the least movement for any node
 * that leaves or comes back.
 *
 * An added node takes the bucket that was freed last, so placements of equal members may differ by their history,
 * and the checksum covers it: let one place decide the order of changes and pass snapshots on.
 *
 * `pick` draws again for further replicas: a change moves few of them, but not always the fewest.
 */
export class Anchor extends TokenPlacement {
  readonly strategy = 'anchor';
  readonly #buckets: AnchorBuckets;
  /** By bucket. */
  readonly #members: readonly (PlacementNode | undefined)[];

  /** Use {@link createAnchor} or {@link decodeAnchor}. @internal */
  constructor(
    state: PlacementState,
    buckets: AnchorBuckets,
    members: readonly (PlacementNode | undefined)[],
  ) {
    super(state);
    this.#buckets = buckets;
    this.#members = members;
  }

  /** The most nodes that this placement can have. */
  get capacity(): number {
    return this.#buckets.capacity;
  }

  override get(key: Key): string | undefined {
    return this.nodes.length === 0 ? undefined : this.#members[this.#buckets.bucketOf(this.token(key))]?.id;
  }

  override with(change: PlacementChange): Anchor {
    const changes = changeMembers(this.nodes, change, 'equal');
    if (changes === undefined) return this;
    checkCapacity(changes.nodes.length, this.capacity);
    const buckets = this.#buckets.copy();
    const members = [...this.#members];
    if (changes.removed.length > 0) {
      const bucketOf = new Map(members.map((node, bucket) => [node?.id, bucket]));
      for (const { id } of changes.removed) {
        const bucket = bucketOf.get(id) ?? 0;
        members[bucket] = undefined;
        buckets.remove(bucket);
      }
    }
    for (const node of changes.added) members[buckets.add()] = node;
    return new Anchor(this.next(changes.nodes), buckets, members);
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    const count = this.nodes.length;
    // Fresh draws find every node after about n ln n of them; the list itself makes sure of it.
    for (let draw = 0; draw < 4 * count; draw++) {
      const drawn = draw === 0 ? token : mix32(token + Math.imul(draw, 0x9e3779b9));
      const node = this.#members[this.#buckets.bucketOf(drawn)];
      if (node !== undefined && visit(node)) return;
    }
    for (const node of this.nodes) if (visit(node)) return;
  }

  protected override writeParameters(writer: ByteWriter): void {
    const index = new Map(this.nodes.map(({ id }, at) => [id, at]));
    const { capacity, removed } = this.#buckets;
    writer.varint(capacity);
    for (const bucket of removed) writer.varint(bucket);
    for (const node of this.#members) if (node !== undefined) writer.varint(index.get(node.id) ?? 0);
  }
}

/**
 * AnchorHash over these nodes, which take their buckets by ascending id. Weights other than 1 are refused, and more
 * nodes than `capacity` throw `PLACEMENT_TOO_LARGE`, now and later.
 */
export function createAnchor(nodes: Iterable<string | NodeSpec> = [], options: AnchorOptions = {}): Anchor {
  const members = resolveNodes(nodes, 'equal');
  const capacity = integerOption(
    'capacity',
    options.capacity ?? Math.min(MAX_CAPACITY, Math.max(MIN_DEFAULT_CAPACITY, 2 * members.length)),
    { min: 1, max: MAX_CAPACITY },
  );
  checkCapacity(members.length, capacity);
  const buckets = new AnchorBuckets(capacity);
  for (let bucket = capacity - 1; bucket >= members.length; bucket--) buckets.remove(bucket);
  return new Anchor({ ...resolveOptions(options), nodes: members }, buckets, members);
}

/** The placement that {@link Anchor.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeAnchor(bytes: Uint8Array, options: DecodeOptions = {}): Anchor {
  const { state, parameters } = readSnapshot(bytes, 'anchor', options, readBuckets);
  return new Anchor(state, parameters.buckets, parameters.members);
}

function readBuckets(
  reader: ByteReader,
  nodes: readonly PlacementNode[],
): { buckets: AnchorBuckets; members: (PlacementNode | undefined)[] } {
  const capacity = reader.varint();
  // Every bucket takes at least one byte of what is left.
  if (capacity > reader.remaining || capacity < nodes.length || capacity < 1) {
    reader.fail(`a capacity of ${String(capacity)}`);
  }
  const buckets = new AnchorBuckets(capacity);
  const free = new Set<number>();
  while (free.size < capacity - nodes.length) {
    const bucket = reader.varint();
    if (bucket >= capacity || free.has(bucket)) reader.fail(`bucket ${String(bucket)}`);
    free.add(bucket);
    buckets.remove(bucket);
  }
  const left = new Map(nodes.entries());
  const members = Array.from({ length: capacity }, (_, bucket) => {
    if (free.has(bucket)) return undefined;
    const index = reader.varint();
    const node = left.get(index) ?? reader.fail(`bucket of node ${String(index)}`);
    if (node.weight !== 1) reader.fail(`a weight of ${String(node.weight)}`);
    left.delete(index);
    return node;
  });
  return { buckets, members };
}

function checkCapacity(nodes: number, capacity: number): void {
  if (nodes <= capacity) return;
  throw new PlacementTooLargeError(
    `${String(nodes)} nodes in an anchor set of ${String(capacity)}, which cannot grow; ` +
      'create a placement of a greater capacity and move the keys to it',
  );
}
