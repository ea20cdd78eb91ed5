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
  readSnapshot,
  resolveNodes,
  resolveOptions,
  TokenPlacement,
} from '@quorate/hash-ring';
import type { ByteWriter } from '@quorate/runtime/bytes';

/** Options of {@link createJump}. */
export type JumpOptions = PlacementOptions;

/** 2862933555777941757, the multiplier of the paper, as two words. */
const MULTIPLIER_HIGH = 0x27bb2ee6;
const MULTIPLIER_LOW = 0x87b0b0fd;

/**
 * Jump consistent hash (J. Lamping and E. Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014) of a
 * 64-bit key into `buckets` buckets. `high` and `low` are the halves of the key.
 *
 * With one more bucket the key either stays or goes to the new one. No buckets give -1.
 */
export function jumpHash(high: number, low: number, buckets: number): number {
  let keyHigh = high >>> 0;
  let keyLow = low >>> 0;
  let bucket = -1;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    // key = key * MULTIPLIER + 1, modulo 2^64.
    const product = multiplyLow(keyLow, MULTIPLIER_LOW);
    const carry = highOf(keyLow, MULTIPLIER_LOW);
    keyHigh = (carry + Math.imul(keyHigh, MULTIPLIER_LOW) + Math.imul(keyLow, MULTIPLIER_HIGH)) >>> 0;
    keyLow = (product + 1) >>> 0;
    if (keyLow === 0) keyHigh = (keyHigh + 1) >>> 0;
    // (key >> 33) + 1
    next = Math.floor((bucket + 1) * (2 ** 31 / ((keyHigh >>> 1) + 1)));
  }
  return bucket;
}

function multiplyLow(a: number, b: number): number {
  return Math.imul(a, b) >>> 0;
}

/** The upper word of a 32 by 32 bit product. */
function highOf(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  return (
    aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(((middle & 0xffff) + aLow * bHigh) / 0x10000)
  );
}

/**
 * Jump consistent hash over a list of equal nodes: almost perfect balance and no memory.
 *
 * Its buckets are numbered, so only the list's end can change at the least cost. An added node goes to the end
 * and takes its share from all. When a node leaves from elsewhere, the last one takes its place: about twice the
 * removed share moves (in a list without that step nearly everything does). So placements of equal members may
 * differ by their history, and the checksum covers it.
 *
 * `pick` draws again for further replicas: a change moves few of them, but not always the fewest.
 */
export class Jump extends TokenPlacement {
  readonly strategy = 'jump';
  /** By bucket. */
  readonly buckets: readonly string[];
  readonly #members: readonly PlacementNode[];

  /** Use {@link createJump} or {@link decodeJump}. @internal */
  constructor(state: PlacementState, members: readonly PlacementNode[]) {
    super(state);
    this.#members = members;
    this.buckets = Object.freeze(members.map(({ id }) => id));
  }

  override get(key: Key): string | undefined {
    return this.buckets[jumpHash(0, this.token(key), this.buckets.length)];
  }

  override with(change: PlacementChange): Jump {
    const changes = changeMembers(this.nodes, change, 'equal');
    if (changes === undefined) return this;
    const members = [...this.#members];
    const bucketOf = new Map(this.buckets.map((id, bucket) => [id, bucket]));
    for (const { id } of changes.removed) {
      const bucket = bucketOf.get(id) ?? 0;
      const last = members.pop();
      if (last === undefined || bucket === members.length) continue;
      members[bucket] = last;
      bucketOf.set(last.id, bucket);
    }
    return new Jump(this.next(changes.nodes), [...members, ...changes.added]);
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    const members = this.#members;
    const count = members.length;
    // Fresh draws find every node after about n ln n of them; the list itself makes sure of it.
    for (let draw = 0; draw < 4 * count; draw++) {
      const drawn = draw === 0 ? token : mix32(token + Math.imul(draw, 0x9e3779b9));
      const node = members[jumpHash(0, drawn, count)];
      if (node !== undefined && visit(node)) return;
    }
    for (const node of members) if (visit(node)) return;
  }

  protected override writeParameters(writer: ByteWriter): void {
    const index = new Map(this.nodes.map(({ id }, at) => [id, at]));
    for (const id of this.buckets) writer.varint(index.get(id) ?? 0);
  }
}

/** Jump consistent hash over these nodes, which take their buckets by ascending id. Weights other than 1 are refused. */
export function createJump(nodes: Iterable<string | NodeSpec> = [], options: JumpOptions = {}): Jump {
  const members = resolveNodes(nodes, 'equal');
  return new Jump({ ...resolveOptions(options), nodes: members }, members);
}

/** The placement that {@link Jump.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeJump(bytes: Uint8Array, options: DecodeOptions = {}): Jump {
  const { state, parameters } = readSnapshot(bytes, 'jump', options, (reader, nodes) => {
    const left = new Map(nodes.entries());
    return nodes.map(({ weight }) => {
      if (weight !== 1) reader.fail(`a weight of ${String(weight)}`);
      const index = reader.varint();
      const node = left.get(index) ?? reader.fail(`bucket of node ${String(index)}`);
      left.delete(index);
      return node;
    });
  });
  return new Jump(state, parameters);
}
