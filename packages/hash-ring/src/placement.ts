import type { HashFunction } from './core/hash.js';

/** What is placed: text, which counts as its UTF-8, or bytes. */
export type Key = string | Uint8Array;

/** A node as the caller describes it. A bare string stands for `{ id }`. */
export interface NodeSpec {
  /** 1 to 255 bytes of UTF-8 without control characters. Where the node's keys lie depends on it. */
  readonly id: string;
  /**
   * How many shares of the keys the node takes: a number from 0 to 10^30, fractions included. A node of weight 0 is a member
   * that owns nothing. Strategies for equal nodes accept 1 only.
   * @defaultValue 1
   */
  readonly weight?: number;
  /** The failure domain of the node, such as an availability zone. Nodes without one share one unnamed zone. */
  readonly zone?: string;
  /** The failure domain within the zone. Nodes without one share one unnamed rack of their zone. */
  readonly rack?: string;
}

/** A member of a placement. */
export interface PlacementNode {
  readonly id: string;
  readonly weight: number;
  readonly zone: string | undefined;
  readonly rack: string | undefined;
}

/** How replicas are chosen. */
export interface ReplicaOptions {
  /**
   * No two replicas in one zone while there are zones left; beyond that, as even over the zones as possible.
   * @defaultValue false
   */
  readonly distinctZones?: boolean;
  /**
   * No two replicas in one rack while there are racks left (with `distinctZones`: within each zone).
   * @defaultValue false
   */
  readonly distinctRacks?: boolean;
}

/** Options of {@link Placement.pick}. */
export interface PickOptions extends ReplicaOptions {
  /** Ids of nodes to pass over, such as nodes that are known to be down. An id that is not a member is ignored. */
  readonly exclude?: Iterable<string>;
}

/** A change of the members. Removals come first, then additions, then weights. */
export interface PlacementChange {
  readonly add?: readonly (string | NodeSpec)[];
  /** Ids of members. */
  readonly remove?: readonly string[];
  /** New weights by id of a member. */
  readonly reweight?: Readonly<Record<string, number>> | ReadonlyMap<string, number>;
}

/**
 * An immutable assignment of keys to nodes.
 *
 * Every strategy first hashes the key to a token of 32 bits and places the token, so that the same members and
 * parameters give the same answers in every process, whatever the order in which the members were named.
 */
export interface Placement {
  /** The strategy's name, such as `ring`. */
  readonly strategy: string;
  /** Counts the changes since the first snapshot. Says nothing about snapshots of another lineage. */
  readonly epoch: number;
  /**
   * 16 hexadecimal digits over strategy, parameters and members. Placements with equal checksums place every key
   * alike; the epoch has no part in it.
   */
  readonly checksum: string;
  /** Turns keys into tokens. */
  readonly hash: HashFunction;
  /** The seed of the hash. */
  readonly seed: number;
  /** The hash's name and seed in one word. Plans need it to be the same before and after. */
  readonly tokenSpace: string;
  /** The members by ascending id. */
  readonly nodes: readonly PlacementNode[];
  /** The owner's id, or undefined when no node can own a key. */
  get(key: Key): string | undefined;
  /**
   * The ids of at most `n` distinct nodes in the order of preference; the first is `get(key)` unless excluded.
   * Shorter when there are fewer nodes.
   */
  pick(key: Key, n: number, options?: PickOptions): string[];
  /** The member of that id. */
  node(id: string): PlacementNode | undefined;
  /** The token of a key: an unsigned integer of 32 bits. */
  token(key: Key): number;
  /** As {@link Placement.pick}, for every key that has this token. */
  pickToken(token: number, n: number, options?: PickOptions): string[];
  /**
   * Visits nodes in the order of preference for a token until `visit` returns true. A node may come up again: for
   * rules of your own, such as passing over nodes that are busy.
   */
  walk(token: number, visit: (node: PlacementNode) => boolean): void;
  /**
   * A new snapshot with the change applied and `epoch + 1`, or this one when nothing changes. Throws
   * `DUPLICATE_NODE` for an id that is a member already and `UNKNOWN_NODE` for one that is not.
   */
  with(change: PlacementChange): Placement;
  /** The snapshot as bytes, for the `decode` function of the strategy. */
  toBytes(): Uint8Array;
}

/** A placement under which all keys of a token range have the same replicas, so that ranges can be planned and moved. */
export interface RangedPlacement extends Placement {
  /**
   * The last tokens of the ranges in ascending order, the last of all being 2^32 - 1: a range begins one after
   * the end of the one before. Neighbouring ranges may have the same replicas.
   */
  rangeEnds(): Uint32Array;
  with(change: PlacementChange): RangedPlacement;
}

/** An interval of tokens, both ends included. Never wraps around: `start <= end`. */
export interface TokenRange {
  readonly start: number;
  readonly end: number;
}

/** How many tokens there are. */
export const TOKENS = 2 ** 32;
