import { describeValue, integerOption, InvalidOptionError, numberOption } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import {
  type Key,
  mix32,
  type Placement,
  type PlacementChange,
  type PlacementNode,
  type RangedPlacement,
  readSnapshot,
  TokenPlacement,
  TOKENS,
} from '@quorate/hash-ring';

/** Options of {@link createPartitioned}. */
export interface PartitionedOptions {
  /**
   * How many partitions the tokens are cut into: a power of two up to 65,536. It can never change without moving
   * everything; take at least 16 for each node that there will ever be.
   * @defaultValue 1024
   */
  readonly partitions?: number;
  /**
   * No node owns more than this many times its fair share of the partitions, rounded up; 1 is perfect balance, and
   * `Infinity` takes the owners of the placement below as they are. The closer to 1, the more moves on a change.
   * @defaultValue 1.25
   */
  readonly loadFactor?: number;
}

const DEFAULT_PARTITIONS = 1024;
const MAX_PARTITIONS = 65_536;
/** The bound that is the default of everything here. */
const DEFAULT_LOAD_FACTOR = 1.25;

/**
 * A placement of fixed partitions, each an equal interval of tokens, on the nodes of a placement below, with
 * bounded loads (V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018).
 *
 * With P partitions, load factor c and weights w, no node owns more than ceil(c * P * w / sum of w) of them: each
 * partition goes to the first node in its order of preference that has room, in the order of the partitions. The
 * bound holds for owners; further replicas follow the order of preference.
 *
 * It also makes movements plannable for strategies without ranges of their own (rendezvous, jump, anchor).
 */
export class Partitioned extends TokenPlacement implements RangedPlacement {
  readonly strategy = 'partitioned';
  readonly partitions: number;
  readonly loadFactor: number;
  /** Where the order of preference comes from. */
  readonly inner: Placement;
  readonly #shift: number;
  readonly #owners: readonly PlacementNode[];

  /** Use {@link createPartitioned} or {@link decodePartitioned}. @internal */
  constructor(inner: Placement, partitions: number, loadFactor: number) {
    super(inner);
    this.inner = inner;
    this.partitions = partitions;
    this.loadFactor = loadFactor;
    this.#shift = 32 - Math.log2(partitions);
    this.#owners = assign(inner, partitions, loadFactor);
  }

  override get(key: Key): string | undefined {
    return this.#owners[this.partitionOf(this.token(key))]?.id;
  }

  /** The partition of a token, from 0. */
  partitionOf(token: number): number {
    return this.partitions === 1 ? 0 : token >>> this.#shift;
  }

  /** The most partitions that a node may own. */
  bound(id: string): number {
    const node = this.node(id);
    return node === undefined
      ? 0
      : boundOf(node.weight, totalWeight(this.nodes), this.partitions, this.loadFactor);
  }

  rangeEnds(): Uint32Array {
    const size = TOKENS / this.partitions;
    return Uint32Array.from({ length: this.partitions }, (_, partition) => (partition + 1) * size - 1);
  }

  override with(change: PlacementChange): Partitioned {
    const inner = this.inner.with(change);
    return inner === this.inner ? this : new Partitioned(inner, this.partitions, this.loadFactor);
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    const partition = this.partitionOf(token);
    const owner = this.#owners[partition];
    if (owner === undefined || visit(owner)) return;
    this.inner.walk(tokenOf(partition), visit);
  }

  /** This snapshot followed by the one of the placement below. */
  override toBytes(): Uint8Array {
    return new ByteWriter().bytes(super.toBytes()).bytes(this.inner.toBytes()).finish();
  }

  protected override writeParameters(writer: ByteWriter): void {
    writer.varint(this.partitions).f64(this.loadFactor).string(this.inner.checksum);
  }
}

/** Cuts the tokens into partitions and places them by `inner`, whose own ranges, if any, play no part. */
export function createPartitioned(inner: Placement, options: PartitionedOptions = {}): Partitioned {
  const partitions = integerOption('partitions', options.partitions ?? DEFAULT_PARTITIONS, {
    min: 1,
    max: MAX_PARTITIONS,
  });
  if (!isPowerOfTwo(partitions)) throw new InvalidOptionError('partitions', partitions, 'a power of two');
  return new Partitioned(inner, partitions, loadFactorOption(options.loadFactor));
}

/**
 * The placement that {@link Partitioned.toBytes} wrote. `decodeInner` reads the placement below, such as
 * `decodeRing`. Throws `MALFORMED_BYTES` for anything else.
 */
export function decodePartitioned(
  bytes: Uint8Array,
  decodeInner: (bytes: Uint8Array) => Placement,
): Partitioned {
  const reader = new ByteReader(bytes);
  const outer = reader.bytes();
  const inner = decodeInner(reader.bytes());
  reader.end();
  const { parameters } = readSnapshot(outer, 'partitioned', { hash: inner.hash }, (parameterReader) => {
    const partitions = parameterReader.varint();
    if (partitions > MAX_PARTITIONS || !isPowerOfTwo(partitions)) {
      parameterReader.fail(`${describeValue(partitions)} partitions`);
    }
    const loadFactor = parameterReader.f64();
    if (!(loadFactor >= 1)) parameterReader.fail(`a load factor of ${String(loadFactor)}`);
    return { partitions, loadFactor, inner: parameterReader.string() };
  });
  if (parameters.inner !== inner.checksum)
    reader.fail('another placement below than the one that was partitioned', 0);
  return new Partitioned(inner, parameters.partitions, parameters.loadFactor);
}

/** Checks a load factor: a number of at least 1, `Infinity` included. */
export function loadFactorOption(value: number | undefined): number {
  if (value === Infinity) return value;
  return numberOption('loadFactor', value ?? DEFAULT_LOAD_FACTOR, { min: 1 });
}

/** Generous for a few products and the sum of a thousand weights in floating point of 53 bits. */
const ROUNDING = 1e-12;

/** ceil(c * m * w / sum of w): the bound of the paper, for bins of different sizes. */
export function boundOf(weight: number, total: number, balls: number, loadFactor: number): number {
  if (weight === 0) return 0;
  const share = (loadFactor * balls * weight) / total;
  // A share that is whole but for the rounding of its factors must not cost one more: the bound is that of the paper.
  // All bounds together still hold every ball, since their sum is whole and less than one below it at the most.
  const whole = Math.round(share);
  return Math.abs(share - whole) <= share * ROUNDING ? whole : Math.ceil(share);
}

/** The sum of the weights. */
export function totalWeight(nodes: readonly PlacementNode[]): number {
  return nodes.reduce((sum, { weight }) => sum + weight, 0);
}

function assign(inner: Placement, partitions: number, loadFactor: number): PlacementNode[] {
  const total = totalWeight(inner.nodes);
  if (total === 0) return [];
  const room = new Map(
    inner.nodes.map((node) => [node, boundOf(node.weight, total, partitions, loadFactor)]),
  );
  return Array.from({ length: partitions }, (_, partition) => {
    let owner: PlacementNode | undefined;
    inner.walk(tokenOf(partition), (node) => {
      if ((room.get(node) ?? 0) === 0) return false;
      owner = node;
      return true;
    });
    // A walk may be blind to a node of a tiny weight (it has no point or slot) while all others are full.
    owner ??= inner.nodes.find((node) => (room.get(node) ?? 0) > 0);
    if (owner === undefined) throw new Error('invariant: the bounds add up to at least the partitions');
    room.set(owner, (room.get(owner) ?? 0) - 1);
    return owner;
  });
}

function tokenOf(partition: number): number {
  return mix32(Math.imul(partition + 1, 0x9e3779b1));
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
