import { integerOption } from '@quorate/runtime';
import { type NodeId, nodeOption } from './node.js';
import { MAX_VECTOR_ENTRIES, VersionVector } from './version-vector.js';

/** The vector clock of one process: stamps that tell before, after and concurrent apart. */
export interface VectorClock {
  /** Whose clock it is. */
  readonly node: NodeId;
  /** The stamp of the latest event, without a new one. */
  now(): VersionVector;
  /** A local event or the sending of a message: counts it and returns its stamp. */
  tick(): VersionVector;
  /** The receipt of a message: takes over what its sender knew, counts the receipt and returns its stamp. */
  observe(remote: VersionVector): VersionVector;
}

/** Whose clock it is, and where it starts. */
export interface VectorClockOptions {
  /** This process. Two processes with one id break every guarantee. */
  readonly node: NodeId;
  /**
   * The last stamp of the previous run. A process that forgot its counter must take a new id.
   * @defaultValue no event is known
   */
  readonly start?: VersionVector;
  /**
   * How many nodes to remember. Above that, the nodes whose counters moved the longest ago are forgotten, never
   * this one: stamps stay small where nodes come and go, and a comparison across a forgotten node can report a
   * conflict that is none or miss one that is.
   * @defaultValue 16_384: nothing is forgotten; more nodes are an error
   */
  readonly maxEntries?: number;
}

/** A vector clock (Fidge 1988, Mattern 1989). */
export function createVectorClock(options: VectorClockOptions): VectorClock {
  const node = nodeOption('node', options.node);
  const maxEntries = integerOption('maxEntries', options.maxEntries ?? MAX_VECTOR_ENTRIES, {
    min: 1,
    max: MAX_VECTOR_ENTRIES,
  });
  /** The other nodes, the one that moved the longest ago first: a Map keeps the order of insertion. */
  const moved = new Set<NodeId>();
  let current = VersionVector.empty;

  const take = (next: VersionVector): void => {
    if (maxEntries < MAX_VECTOR_ENTRIES) {
      for (const [one, counter] of next) {
        if (one === node || counter === current.get(one)) continue;
        moved.delete(one);
        moved.add(one);
      }
      const others = next.get(node) > 0 ? next.size - 1 : next.size;
      const surplus = others - (maxEntries - 1);
      if (surplus > 0) {
        const forgotten = new Set([...moved].slice(0, surplus));
        for (const one of forgotten) moved.delete(one);
        next = next.prune((one) => !forgotten.has(one));
      }
    }
    current = next;
  };
  take(options.start ?? VersionVector.empty);

  return {
    node,
    now: () => current,
    tick() {
      take(current.increment(node));
      return current;
    },
    observe(remote) {
      take(current.merge(remote).increment(node));
      return current;
    },
  };
}
