import { InvalidOptionError } from '@quorate/runtime';
import { boundOf, loadFactorOption, totalWeight } from './partitioned.js';
import type { Placement, PlacementNode } from '@quorate/hash-ring';

/** Options of {@link createBoundedKeys}. */
export interface BoundedKeysOptions {
  /**
   * No node has more than this many times its fair share of the assigned keys, rounded up; 1 is perfect balance. The
   * closer to 1, the more keys lie elsewhere than the placement alone would put them, and move later.
   * @defaultValue 1.25
   */
  readonly loadFactor?: number;
}

/** A key that went from one node to another. */
export interface KeyMove {
  readonly key: string;
  readonly from: string;
  readonly to: string;
}

interface Assigned {
  readonly token: number;
  readonly bin: Bin;
  /** The bins that the key prefers to its own. */
  readonly passed: ReadonlySet<Bin>;
}

/** What is known of a node that may have keys. */
interface Bin {
  readonly node: PlacementNode;
  bound: number;
  /** Keys on this node. */
  readonly keys: Set<string>;
  /** Keys that prefer this node to the one they are on, in the order in which they were turned away. */
  readonly waiting: Set<string>;
}

/**
 * Keys with bounded loads (V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent Hashing with Bounded Loads",
 * SODA 2018): with m keys, load factor c and weights w, no node ever has more than ceil(c * m * w / sum of w) of
 * them, after every call, whatever was assigned and released before.
 *
 * A key goes to the first node in its order of preference that has room, and no key is away from a node that it
 * prefers while that node has room. To keep that so, a call may move other keys, and returns which.
 *
 * Unlike placements this is mutable and remembers every key: some hundred bytes each. It is meant for sessions,
 * tenants or shards by the ten thousand; for anything larger bound the partitions ({@link createPartitioned}).
 */
export class BoundedKeys {
  readonly loadFactor: number;
  #placement: Placement;
  #bins: Map<string, Bin>;
  readonly #assigned = new Map<string, Assigned>();

  /** Use {@link createBoundedKeys}. @internal */
  constructor(placement: Placement, loadFactor: number) {
    this.loadFactor = loadFactor;
    this.#placement = placement;
    this.#bins = binsOf(placement);
  }

  /** The placement that the order of preference comes from. */
  get placement(): Placement {
    return this.#placement;
  }

  /** How many keys are assigned. */
  get size(): number {
    return this.#assigned.size;
  }

  /** The node of an assigned key. */
  get(key: string): string | undefined {
    return this.#assigned.get(key)?.bin.node.id;
  }

  /** How many keys a node has. */
  load(id: string): number {
    return this.#bins.get(id)?.keys.size ?? 0;
  }

  /** How many keys a node may have at present. */
  bound(id: string): number {
    return this.#bins.get(id)?.bound ?? 0;
  }

  /**
   * Gives a key a node, or finds the one it has. `node` is undefined when no node can have keys; `moved` are the other
   * keys that moved for it.
   */
  assign(key: string): { readonly node: string | undefined; readonly moved: readonly KeyMove[] } {
    if (typeof key !== 'string') throw new InvalidOptionError('key', key, 'a string');
    const present = this.#assigned.get(key);
    if (present !== undefined || this.#bins.size === 0) return { node: present?.bin.node.id, moved: [] };
    const raised = this.#setBounds(this.size + 1);
    this.#place(key, this.#placement.token(key));
    // A key that was placed a moment ago and moves on was never seen elsewhere.
    const moved = this.#fill(raised).filter((move) => move.key !== key);
    return { node: this.get(key), moved };
  }

  /** Takes a key back, if it is assigned. Returns the keys that moved for it. */
  release(key: string): readonly KeyMove[] {
    const present = this.#assigned.get(key);
    if (present === undefined) return [];
    this.#take(key, present);
    this.#assigned.delete(key);
    this.#setBounds(this.size);
    return compact([...this.#evict(), ...this.#fill([present.bin])]);
  }

  /**
   * Goes over to another placement. Returns the keys that moved; keys of nodes that are gone move from there. When
   * no node is left every key is released, and none of them is among the moved ones.
   */
  update(placement: Placement): readonly KeyMove[] {
    const keys = [...this.#assigned].map(([key, { bin }]) => ({ key, from: bin.node.id }));
    this.#placement = placement;
    this.#bins = binsOf(placement);
    this.#assigned.clear();
    if (this.#bins.size === 0) return [];
    this.#setBounds(keys.length);
    for (const { key } of keys) this.#place(key, placement.token(key));
    return keys.flatMap(({ key, from }) => {
      const to = this.get(key);
      return to === undefined || to === from ? [] : [{ key, from, to }];
    });
  }

  /** Puts a key on the first node with room, and queues it at those that turned it away. */
  #place(key: string, token: number): void {
    const passed = new Set<Bin>();
    let home: Bin | undefined;
    this.#placement.walk(token, ({ id }) => {
      const bin = this.#bins.get(id);
      if (bin === undefined || passed.has(bin)) return false;
      if (bin.keys.size < bin.bound) {
        home = bin;
        return true;
      }
      passed.add(bin);
      return passed.size === this.#bins.size;
    });
    // A walk may be blind to a node of a tiny weight (it has no point or slot) while all others are full.
    home ??= [...this.#bins.values()].find((bin) => bin.keys.size < bin.bound);
    if (home === undefined) throw new Error('invariant: the bounds add up to at least the keys');
    for (const bin of passed) bin.waiting.add(key);
    home.keys.add(key);
    this.#assigned.set(key, { token, bin: home, passed });
  }

  /** Takes a key from its node and out of every queue. */
  #take(key: string, { bin, passed }: Assigned): void {
    bin.keys.delete(key);
    for (const preferred of passed) preferred.waiting.delete(key);
  }

  #move(key: string, assigned: Assigned): KeyMove {
    this.#take(key, assigned);
    this.#place(key, assigned.token);
    return { key, from: assigned.bin.node.id, to: this.get(key) ?? '' };
  }

  /** Lets keys in that prefer these nodes, and those that prefer the room that they leave behind. */
  #fill(bins: readonly Bin[]): KeyMove[] {
    const moved: KeyMove[] = [];
    const open = [...bins];
    for (let bin = open.pop(); bin !== undefined; bin = open.pop()) {
      for (const key of bin.waiting) {
        if (bin.keys.size >= bin.bound) break;
        const assigned = this.#assigned.get(key);
        if (assigned === undefined) continue;
        moved.push(this.#move(key, assigned));
        open.push(assigned.bin);
      }
    }
    return compact(moved);
  }

  /** Moves keys away from nodes whose bound sank below their load, guests before those at home. */
  #evict(): KeyMove[] {
    const moved: KeyMove[] = [];
    for (const bin of this.#bins.values()) {
      while (bin.keys.size > bin.bound) {
        const keys = [...bin.keys];
        const guest = keys.findLast((one) => (this.#assigned.get(one)?.passed.size ?? 0) > 0);
        const key = guest ?? keys.at(-1) ?? '';
        const assigned = this.#assigned.get(key);
        if (assigned === undefined) break;
        moved.push(this.#move(key, assigned));
      }
    }
    return moved;
  }

  /** Sets the bounds for so many keys; returns the nodes that may have more than before. */
  #setBounds(keys: number): Bin[] {
    const total = totalWeight(this.#placement.nodes);
    const raised: Bin[] = [];
    for (const bin of this.#bins.values()) {
      const bound = boundOf(bin.node.weight, total, keys, this.loadFactor);
      if (bound > bin.bound && bin.waiting.size > 0) raised.push(bin);
      bin.bound = bound;
    }
    return raised;
  }
}

/** Bounded loads over the nodes of a placement of any strategy. */
export function createBoundedKeys(placement: Placement, options: BoundedKeysOptions = {}): BoundedKeys {
  return new BoundedKeys(placement, loadFactorOption(options.loadFactor));
}

function binsOf(placement: Placement): Map<string, Bin> {
  return new Map(
    placement.nodes
      .filter(({ weight }) => weight > 0)
      .map((node) => [node.id, { node, bound: 0, keys: new Set(), waiting: new Set() }]),
  );
}

/** One move per key: from where it was at first to where it is in the end. */
function compact(moves: readonly KeyMove[]): KeyMove[] {
  const byKey = new Map<string, KeyMove>();
  for (const move of moves) byKey.set(move.key, { ...move, from: byKey.get(move.key)?.from ?? move.from });
  return [...byKey.values()].filter(({ from, to }) => from !== to);
}
