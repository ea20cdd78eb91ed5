import { integerOption, InvalidOptionError } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { CounterExhaustedError } from '../errors.js';
import { compareNodes, header, type NodeId, nodeOption, type Order, readHeader, readNode } from './node.js';

/** One event: the `counter`-th of `node`, counted from 1. */
export interface Dot {
  readonly node: NodeId;
  readonly counter: number;
}

/** The most entries that a version vector may have: more is refused with an error. */
export const MAX_VECTOR_ENTRIES = 16_384;

/**
 * How many events of each node are known: an immutable map from node id to counter, where a node that is absent
 * counts 0 (C. Fidge 1988 and F. Mattern 1989, vector time; D. S. Parker et al. 1983, version vectors).
 *
 * Event a happened before event b exactly when a's vector compares `before` b's, provided that every node
 * increments its own entry for each of its events and merges what it receives. That fails when two processes use
 * one node id, when a node forgets its counter, or when vectors were pruned with {@link VersionVector.prune}.
 */
// Two sorted parallel arrays: most operations are on vectors that have the same nodes, and those are a walk over
// numbers. Vectors derived from one another even share the array of nodes.
export class VersionVector implements Iterable<readonly [NodeId, number]> {
  /** The vector without entries. */
  static readonly empty: VersionVector = new VersionVector([], []);

  /** The nodes with a counter above 0, in the order of their UTF-8 bytes. */
  readonly nodes: readonly NodeId[];
  /** Their counters, at the same positions. */
  readonly counters: readonly number[];

  private constructor(nodes: readonly NodeId[], counters: readonly number[]) {
    this.nodes = nodes;
    this.counters = counters;
  }

  /**
   * A vector from an object, a Map or entries. Zero counters are left out.
   * @throws InvalidOptionError for an id or counter that cannot be, or a node that occurs twice
   */
  static from(
    entries: Readonly<Record<NodeId, number>> | Iterable<readonly [NodeId, number]>,
  ): VersionVector {
    const list = (Symbol.iterator in entries ? [...entries] : Object.entries(entries)).filter(
      ([node, counter]) => {
        nodeOption('node', node);
        return integerOption(`counter of ${node}`, counter) > 0;
      },
    );
    list.sort(([a], [b]) => compareNodes(a, b));
    for (let at = 1; at < list.length; at++) {
      const node = list[at]?.[0];
      if (node === list[at - 1]?.[0]) throw new InvalidOptionError('entries', node, 'one entry per node');
    }
    return VersionVector.#of(
      list.map(([node]) => node),
      list.map(([, counter]) => counter),
    );
  }

  /** The least upper bound of all the vectors: what somebody knows who knows all that they do. */
  static merge(vectors: Iterable<VersionVector>): VersionVector {
    let merged = VersionVector.empty;
    for (const vector of vectors) merged = merged.merge(vector);
    return merged;
  }

  /**
   * Reads what {@link VersionVector.encode} wrote.
   * @throws MalformedBytesError for anything else
   */
  static decode(bytes: Uint8Array): VersionVector {
    const reader = new ByteReader(bytes);
    readHeader(reader, 'vector');
    const vector = VersionVector.read(reader);
    reader.end();
    return vector;
  }

  /** Reads what {@link VersionVector.write} wrote into a larger format. */
  static read(reader: ByteReader): VersionVector {
    const start = reader.offset;
    const size = reader.varint();
    if (size > MAX_VECTOR_ENTRIES)
      reader.fail(`${String(size)} entries where ${String(MAX_VECTOR_ENTRIES)} are the most`, start);
    const nodes: NodeId[] = [];
    const counters: number[] = [];
    for (let at = 0; at < size; at++) {
      const entry = reader.offset;
      const node = readNode(reader);
      const previous = nodes[at - 1];
      if (previous !== undefined && compareNodes(previous, node) >= 0)
        reader.fail('nodes that are not in ascending order', entry);
      const counter = reader.varint();
      if (counter === 0) reader.fail('a counter of 0', entry);
      nodes.push(node);
      counters.push(counter);
    }
    return VersionVector.#of(nodes, counters);
  }

  static #of(nodes: readonly NodeId[], counters: readonly number[]): VersionVector {
    if (nodes.length > MAX_VECTOR_ENTRIES) {
      throw new InvalidOptionError(
        'version vector',
        nodes.length,
        `of at most ${String(MAX_VECTOR_ENTRIES)} entries; retire nodes with pruneStable`,
      );
    }
    return nodes.length === 0 ? VersionVector.empty : new VersionVector(nodes, counters);
  }

  /** How many nodes have a counter above 0. */
  get size(): number {
    return this.nodes.length;
  }

  /** How many events of `node` are known; 0 for a node without an entry. */
  get(node: NodeId): number {
    return this.counters[this.#find(node)] ?? 0;
  }

  /** Whether the event is among those that are known. */
  covers(dot: Dot): boolean {
    return dot.counter <= this.get(dot.node);
  }

  /**
   * The vector with one more event of `node`.
   * @throws {@link CounterExhaustedError} at 2^53 - 1
   */
  increment(node: NodeId): VersionVector {
    const counter = this.get(node);
    if (counter >= Number.MAX_SAFE_INTEGER) throw new CounterExhaustedError(node);
    return this.with(node, counter + 1);
  }

  /** The vector with the counter of `node` at `counter`; 0 takes the entry away. */
  with(node: NodeId, counter: number): VersionVector {
    integerOption('counter', counter);
    const at = this.#find(node);
    if (at >= 0) {
      if (this.counters[at] === counter) return this;
      if (counter === 0) return this.prune((one) => one !== node);
      const counters = this.counters.slice();
      counters[at] = counter;
      return new VersionVector(this.nodes, counters);
    }
    if (counter === 0) return this;
    nodeOption('node', node);
    const insertion = -at - 1;
    return VersionVector.#of(
      this.nodes.toSpliced(insertion, 0, node),
      this.counters.toSpliced(insertion, 0, counter),
    );
  }

  /** The least upper bound: the greater counter of each node. One of the two itself where that is it. */
  merge(other: VersionVector): VersionVector {
    if (this === other) return this;
    if (sameNodes(this.nodes, other.nodes)) return this.#mergeAligned(other);
    const order = this.compare(other);
    if (order === 'after' || order === 'equal') return this;
    if (order === 'before') return other;
    const nodes: NodeId[] = [];
    const counters: number[] = [];
    walk(this, other, (node, mine, theirs) => {
      nodes.push(node);
      counters.push(mine > theirs ? mine : theirs);
    });
    return VersionVector.#of(nodes, counters);
  }

  #mergeAligned(other: VersionVector): VersionVector {
    const mine = this.counters;
    const theirs = other.counters;
    const size = mine.length;
    let at = 0;
    while (at < size && (mine[at] ?? 0) === (theirs[at] ?? 0)) at++;
    if (at === size) return this;
    // The first difference tells which of the two may be the result; only a later one against it costs a copy.
    const [greater, lesser, result] =
      (mine[at] ?? 0) > (theirs[at] ?? 0) ? [mine, theirs, this] : [theirs, mine, other];
    while (at < size && (greater[at] ?? 0) >= (lesser[at] ?? 0)) at++;
    if (at === size) return result;
    const counters = greater.slice();
    for (; at < size; at++) {
      const counter = lesser[at] ?? 0;
      if (counter > (counters[at] ?? 0)) counters[at] = counter;
    }
    return new VersionVector(this.nodes, counters);
  }

  /** How the history up to this vector relates to the history up to the other. */
  compare(other: VersionVector): Order {
    if (this === other) return 'equal';
    let less = false;
    let greater = false;
    if (sameNodes(this.nodes, other.nodes)) {
      const mine = this.counters;
      const theirs = other.counters;
      for (let at = 0; at < mine.length; at++) {
        const left = mine[at] ?? 0;
        const right = theirs[at] ?? 0;
        if (left < right) less = true;
        else if (left > right) greater = true;
        if (less && greater) return 'concurrent';
      }
    } else {
      walk(this, other, (_node, left, right) => {
        if (left < right) less = true;
        else if (left > right) greater = true;
        return less && greater;
      });
    }
    if (less) return greater ? 'concurrent' : 'before';
    return greater ? 'after' : 'equal';
  }

  /** Whether everything that the other vector knows is known here too: the order is `after` or `equal`. */
  descends(other: VersionVector): boolean {
    const order = this.compare(other);
    return order === 'after' || order === 'equal';
  }

  /** Whether the two know the same events. */
  equals(other: VersionVector): boolean {
    return this.compare(other) === 'equal';
  }

  /**
   * The vector without the entries for which `keep` is false.
   *
   * This forgets: against a vector that kept the entry, a later version can look concurrent (a false conflict),
   * and a concurrent one can look earlier (a lost write). Safe only for nodes that no vector still in use names.
   * {@link VersionVector.pruneStable} keeps every comparison right.
   */
  prune(keep: (node: NodeId, counter: number) => boolean): VersionVector {
    const kept = this.nodes.flatMap((node, at) => (keep(node, this.counters[at] ?? 0) ? [at] : []));
    if (kept.length === this.nodes.length) return this;
    return VersionVector.#of(
      kept.map((at) => this.nodes[at] ?? ''),
      kept.map((at) => this.counters[at] ?? 0),
    );
  }

  /**
   * The vector without the entries that are still at the counter which `stable` has.
   *
   * Lossless: where all vectors descend from `stable` and all were pruned by the same `stable`, their order and
   * merges are as before. Take for `stable` what every replica is known to have (causal stability), then the
   * entries of retired nodes go away.
   * @throws InvalidOptionError when this vector does not descend from `stable`
   */
  pruneStable(stable: VersionVector): VersionVector {
    if (!this.descends(stable)) {
      throw new InvalidOptionError(
        'stable',
        stable.toString(),
        `a vector from which ${this.toString()} descends`,
      );
    }
    return this.prune((node, counter) => counter !== stable.get(node));
  }

  *[Symbol.iterator](): IterableIterator<readonly [NodeId, number]> {
    for (let at = 0; at < this.nodes.length; at++) yield [this.nodes[at] ?? '', this.counters[at] ?? 0];
  }

  /** Bytes that {@link VersionVector.decode} reads. Equal vectors have equal bytes. */
  encode(): Uint8Array {
    const writer = new ByteWriter(8 + this.nodes.length * 16).raw(header('vector'));
    this.write(writer);
    return writer.finish();
  }

  /** Appends the vector to a larger format, without a version of its own. */
  write(writer: ByteWriter): void {
    writer.varint(this.nodes.length);
    for (const [node, counter] of this) writer.string(node).varint(counter);
  }

  /** A plain object, which {@link VersionVector.from} reads. */
  toJSON(): Record<NodeId, number> {
    return Object.fromEntries(this);
  }

  /** Such as `{a:3, b:1}`. */
  toString(): string {
    return `{${Array.from(this, ([node, counter]) => `${node}:${String(counter)}`).join(', ')}}`;
  }

  /** The position of a node, or the complement of where it belongs. */
  #find(node: NodeId): number {
    let low = 0;
    let high = this.nodes.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const order = compareNodes(this.nodes[middle] ?? '', node);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return -low - 1;
  }
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Visits the nodes of both in order, until a visit returns `true`. */
function walk(
  a: VersionVector,
  b: VersionVector,
  visit: (node: NodeId, left: number, right: number) => unknown,
): void {
  let i = 0;
  let j = 0;
  while (i < a.nodes.length || j < b.nodes.length) {
    const left = a.nodes[i];
    const right = b.nodes[j];
    const order =
      left === undefined ? 1 : right === undefined ? -1 : left === right ? 0 : compareNodes(left, right);
    const node = (order <= 0 ? left : right) ?? '';
    const mine = order <= 0 ? (a.counters[i++] ?? 0) : 0;
    const theirs = order >= 0 ? (b.counters[j++] ?? 0) : 0;
    if (visit(node, mine, theirs) === true) return;
  }
}
