import { integerOption, InvalidOptionError } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { CounterExhaustedError } from '../errors.js';
import { compareNodes, header, type NodeId, nodeOption, type Order, readHeader, readNode } from './node.js';
import { type Dot, MAX_VECTOR_ENTRIES, VersionVector } from './version-vector.js';

/** A value of a {@link DottedVersionVectorSet} with the write that it came from. */
export interface Sibling<T> {
  readonly dot: Dot;
  readonly value: T;
}

/** What one node wrote: its writes are 1 to `counter`, and `values` are those of the newest, the newest first. */
interface Entry<T> {
  readonly node: NodeId;
  readonly counter: number;
  readonly values: readonly T[];
}

/**
 * The versions of one key on one replica, and exactly the conflicts that there are: a dotted version vector set
 * (P. S. Almeida, C. Baquero, R. Gonçalves, N. Preguiça, V. Fonte, "Scalable and Accurate Causality Tracking for
 * Eventually Consistent Stores", DAIS 2014).
 *
 * A write replaces the values that its writer had read and is a sibling of all others. Plain version vectors get
 * this wrong when several clients write through one replica: they either lose a value or keep one that was
 * replaced. Immutable; {@link DottedVersionVectorSet.sync} is commutative, associative and idempotent, so
 * replicas that exchange their sets in any order end with the same values.
 *
 * It holds while every `node` is one replica that never forgets what it wrote: a replica that lost its disk must
 * come back under a new id.
 */
export class DottedVersionVectorSet<T> {
  /** By node. Not a `#private` field: the ESM and the CommonJS copy of this class read each other's. */
  private readonly entries: readonly Entry<T>[];
  #context: VersionVector | undefined;

  private constructor(entries: readonly Entry<T>[]) {
    this.entries = entries;
  }

  /** The set of a key that was never written. */
  static empty<T>(): DottedVersionVectorSet<T> {
    return new DottedVersionVectorSet<T>([]);
  }

  /** What this set knows. Hand it to a reader, and take it back with the reader's write. */
  get context(): VersionVector {
    this.#context ??= VersionVector.from(this.entries.map(({ node, counter }) => [node, counter] as const));
    return this.#context;
  }

  /** The values that no known write replaced: none, one, or the siblings of a conflict, in the order of their dots. */
  get values(): readonly T[] {
    return this.siblings.map(({ value }) => value);
  }

  /** The {@link DottedVersionVectorSet.values} with their dots, by node and counter. */
  get siblings(): readonly Sibling<T>[] {
    return this.entries.flatMap(({ node, counter, values }) =>
      values.map((value, age) => ({ dot: { node, counter: counter - age }, value })).reverse(),
    );
  }

  /**
   * The set after a write at the replica `node` by somebody who had read `readContext` (empty for a blind write):
   * what was read is replaced, the rest stays as siblings.
   * @throws InvalidOptionError when the context claims writes of `node` that it never made
   */
  write(readContext: VersionVector, value: T, node: NodeId): DottedVersionVectorSet<T> {
    nodeOption('node', node);
    const written = this.#counterOf(node);
    if (readContext.get(node) > written) {
      throw new InvalidOptionError(
        'readContext',
        readContext.toString(),
        `a context with at most ${String(written)} writes of ${node}, which is all that it made`,
      );
    }
    if (written >= Number.MAX_SAFE_INTEGER) throw new CounterExhaustedError(node);
    const rest = this.discard(readContext);
    const own = rest.entries.find((entry) => entry.node === node);
    const entry: Entry<T> = { node, counter: written + 1, values: [value, ...(own?.values ?? [])] };
    return new DottedVersionVectorSet(
      [...rest.entries.filter((other) => other.node !== node), entry].sort((a, b) =>
        compareNodes(a.node, b.node),
      ),
    );
  }

  /**
   * The set without the values that `readContext` knows: a removal that a concurrent write survives. The context
   * is kept, so that a replica which still has the values does not bring them back.
   */
  discard(readContext: VersionVector): DottedVersionVectorSet<T> {
    const removed = new DottedVersionVectorSet<T>(
      Array.from(readContext, ([node, counter]) => ({ node, counter, values: [] })),
    );
    return this.sync(removed);
  }

  /** All that either set knows: values that one has and the other has replaced are gone. */
  sync(other: DottedVersionVectorSet<T>): DottedVersionVectorSet<T> {
    if (this === other) return this;
    const merged: Entry<T>[] = [];
    let i = 0;
    let j = 0;
    while (i < this.entries.length || j < other.entries.length) {
      const left = this.entries[i];
      const right = other.entries[j];
      const order = left === undefined ? 1 : right === undefined ? -1 : compareNodes(left.node, right.node);
      if (left !== undefined && order <= 0) i++;
      if (right !== undefined && order >= 0) j++;
      if (left !== undefined && right !== undefined && order === 0) merged.push(joinEntries(left, right));
      else {
        const only = order < 0 ? left : right;
        if (only !== undefined) merged.push(only);
      }
    }
    return new DottedVersionVectorSet(merged);
  }

  /** How what the two sets know relates. */
  compare(other: DottedVersionVectorSet<T>): Order {
    return this.context.compare(other.context);
  }

  /** Ends a conflict: one value instead of the siblings, as a write of `node` that has read them all. */
  resolve(choose: (siblings: readonly Sibling<T>[]) => T, node: NodeId): DottedVersionVectorSet<T> {
    return this.write(this.context, choose(this.siblings), node);
  }

  /** Bytes that {@link DottedVersionVectorSet.decode} reads. */
  encode(encodeValue: (value: T) => Uint8Array): Uint8Array {
    const writer = new ByteWriter().raw(header('dvvs')).varint(this.entries.length);
    for (const { node, counter, values } of this.entries) {
      writer.string(node).varint(counter).varint(values.length);
      for (const value of values) writer.bytes(encodeValue(value));
    }
    return writer.finish();
  }

  /**
   * Reads what {@link DottedVersionVectorSet.encode} wrote.
   * @throws MalformedBytesError for anything else; what `decodeValue` throws is passed on
   */
  static decode<T>(
    bytes: Uint8Array,
    decodeValue: (bytes: Uint8Array) => T,
    options: {
      /**
       * The most bytes of one value.
       * @defaultValue 16 MiB
       */
      readonly maxValueBytes?: number;
    } = {},
  ): DottedVersionVectorSet<T> {
    const maxValueBytes = integerOption('maxValueBytes', options.maxValueBytes ?? 2 ** 24);
    const reader = new ByteReader(bytes);
    readHeader(reader, 'dvvs');
    const size = reader.varint();
    if (size > MAX_VECTOR_ENTRIES) reader.fail(`${String(size)} entries`, 2);
    const entries: Entry<T>[] = [];
    for (let at = 0; at < size; at++) {
      const start = reader.offset;
      const node = readNode(reader);
      const previous = entries.at(-1);
      if (previous !== undefined && compareNodes(previous.node, node) >= 0)
        reader.fail('nodes that are not in ascending order', start);
      const counter = reader.varint();
      const live = reader.varint();
      if (counter === 0 || live > counter)
        reader.fail(`${String(live)} values of ${String(counter)} writes`, start);
      // A loop over what the bytes hold: the count alone must not make anything grow.
      const values: T[] = [];
      for (let one = 0; one < live; one++) values.push(decodeValue(reader.bytes(maxValueBytes).slice()));
      entries.push({ node, counter, values });
    }
    reader.end();
    return new DottedVersionVectorSet(entries);
  }

  #counterOf(node: NodeId): number {
    return this.entries.find((entry) => entry.node === node)?.counter ?? 0;
  }
}

/**
 * One node's live dots on either side are (counter - values, counter]. A dot stays when both have it, or when the
 * other has not seen it yet: all above the greater of the two lower ends.
 */
function joinEntries<T>(a: Entry<T>, b: Entry<T>): Entry<T> {
  const newer = a.counter >= b.counter ? a : b;
  const replaced = Math.max(a.counter - a.values.length, b.counter - b.values.length);
  const live = Math.max(0, newer.counter - replaced);
  return live === newer.values.length ? newer : { ...newer, values: newer.values.slice(0, live) };
}
