import { integerOption } from '@quorate/runtime';
import { forEachRange, requireRanges } from './plan.js';
import { type Key, type Placement, type RangedPlacement, type ReplicaOptions, TOKENS } from './placement.js';

/** The share of one node. */
export interface NodeBalance {
  readonly id: string;
  readonly weight: number;
  /** The fraction of all copies that the node has: the shares add up to 1. */
  readonly share: number;
  /** The fraction that its weight entitles it to. */
  readonly expected: number;
}

/** How evenly keys lie. */
export interface Balance {
  /** By ascending id. */
  readonly nodes: readonly NodeBalance[];
  /** The greatest share / expected of a node: 1 is perfect. */
  readonly maxOverExpected: number;
  /** The least share / expected of a node: 1 is perfect. */
  readonly minOverExpected: number;
  /** The standard deviation of share / expected. */
  readonly deviation: number;
}

/** Options of {@link balance}. */
export interface BalanceOptions extends ReplicaOptions {
  /**
   * How many copies of every key there are.
   * @defaultValue 1
   */
  readonly replicas?: number;
}

/** The exact balance of a placement with ranges: the share of the tokens that each node has. */
export function balance(placement: RangedPlacement, options: BalanceOptions = {}): Balance {
  const replicas = integerOption('replicas', options.replicas ?? 1, { min: 1 });
  requireRanges('placement', placement);
  const loads = new Map<string, number>();
  const ends = placement.rangeEnds();
  forEachRange(ends, ends, (start, end) => {
    for (const id of placement.pickToken(end, replicas, options)) {
      loads.set(id, (loads.get(id) ?? 0) + (end - start + 1) / TOKENS);
    }
  });
  return summarize(placement, loads);
}

/** The balance of a placement of any strategy over given keys. */
export function balanceOf(placement: Placement, keys: Iterable<Key>, options: BalanceOptions = {}): Balance {
  const replicas = integerOption('replicas', options.replicas ?? 1, { min: 1 });
  const loads = new Map<string, number>();
  for (const key of keys) {
    for (const id of placement.pick(key, replicas, options)) loads.set(id, (loads.get(id) ?? 0) + 1);
  }
  return summarize(placement, loads);
}

function summarize({ nodes }: Placement, loads: ReadonlyMap<string, number>): Balance {
  const totalLoad = [...loads.values()].reduce((sum, load) => sum + load, 0);
  const totalWeight = nodes.reduce((sum, { weight }) => sum + weight, 0);
  const balances = nodes.map(({ id, weight }) => ({
    id,
    weight,
    share: totalLoad === 0 ? 0 : (loads.get(id) ?? 0) / totalLoad,
    expected: totalWeight === 0 ? 0 : weight / totalWeight,
  }));
  const ratios = balances
    .filter(({ expected }) => expected > 0)
    .map(({ share, expected }) => share / expected);
  return {
    nodes: balances,
    maxOverExpected: ratios.reduce((most, ratio) => Math.max(most, ratio), ratios[0] ?? 1),
    minOverExpected: ratios.reduce((least, ratio) => Math.min(least, ratio), ratios[0] ?? 1),
    deviation: Math.sqrt(
      ratios.reduce((sum, ratio) => sum + (ratio - 1) ** 2, 0) / Math.max(1, ratios.length),
    ),
  };
}
