import { integerOption } from '@quorate/runtime';
import type { PickOptions, PlacementNode } from '../placement.js';

/** Calls `visit` with nodes in the order of preference, repeatedly if need be, until it returns true. */
export type Walk = (visit: (node: PlacementNode) => boolean) => void;

/** The nodes that a walk can visit. */
export interface Owners {
  readonly count: number;
  /** Their zones. */
  readonly zones: ReadonlySet<string | undefined>;
}

/** The members that can own keys. */
export function ownersOf(nodes: readonly PlacementNode[]): Owners {
  const owners = nodes.filter(({ weight }) => weight > 0);
  return { count: owners.length, zones: new Set(owners.map(({ zone }) => zone)) };
}

/** The first `n` distinct nodes of a walk, spread over zones and racks where that is asked for. */
export function chooseReplicas(walk: Walk, owners: Owners, n: number, options: PickOptions = {}): string[] {
  integerOption('n', n);
  const excluded = options.exclude === undefined ? undefined : new Set(options.exclude);
  if (n === 0 || owners.count === 0) return [];
  if (options.distinctZones !== true && options.distinctRacks !== true) {
    return prefer(walk, owners.count, n, excluded).map(({ id }) => id);
  }
  if (options.distinctRacks !== true && n <= owners.zones.size) {
    const chosen = oneForEachZone(walk, n, excluded);
    if (chosen.length === n) return chosen;
  }
  // A short stretch of the walk nearly always decides; only where it might not is more of it looked at.
  for (let stretch = 2 * n; ; stretch *= 4) {
    const candidates = prefer(walk, owners.count, stretch, excluded);
    const { chosen, settled } = spread(candidates, owners, n, options);
    if (settled || candidates.length < stretch) return chosen;
  }
}

/** The first `n` distinct nodes of a walk that are not excluded. */
function prefer(
  walk: Walk,
  owners: number,
  n: number,
  excluded: ReadonlySet<string> | undefined,
): PlacementNode[] {
  const seen = new Set<PlacementNode>();
  const preferred: PlacementNode[] = [];
  walk((node) => {
    if (seen.has(node)) return false;
    seen.add(node);
    if (excluded?.has(node.id) !== true) preferred.push(node);
    return preferred.length === n || seen.size === owners;
  });
  return preferred;
}

/** The first nodes of a walk of which no two are in one zone: fewer than `n` where too many are excluded. */
function oneForEachZone(walk: Walk, n: number, excluded: ReadonlySet<string> | undefined): string[] {
  const chosen: string[] = [];
  const zones: (string | undefined)[] = [];
  walk(({ id, zone }) => {
    if (zones.includes(zone) || excluded?.has(id) === true) return false;
    zones.push(zone);
    return chosen.push(id) === n;
  });
  return chosen;
}

/**
 * Takes again and again the most preferred node among those whose zone, then rack, was used least. `settled`
 * tells that candidates further down the walk could not have changed the choice.
 */
function spread(
  candidates: readonly PlacementNode[],
  owners: Owners,
  n: number,
  { distinctZones = false, distinctRacks = false }: PickOptions,
): { chosen: string[]; settled: boolean } {
  const zoneUses = new Map<string | undefined, number>();
  const rackUses = new Map<string, number>();
  const left = new Set(candidates);
  const chosen: string[] = [];
  let settled = true;
  while (chosen.length < n && left.size > 0) {
    let best: PlacementNode | undefined;
    let leastZone = Infinity;
    let leastRack = Infinity;
    for (const node of left) {
      const zone = distinctZones ? (zoneUses.get(node.zone) ?? 0) : 0;
      const rack = distinctRacks ? (rackUses.get(rackOf(node)) ?? 0) : 0;
      if (zone > leastZone || (zone === leastZone && rack >= leastRack)) continue;
      best = node;
      leastZone = zone;
      leastRack = rack;
      if (zone === 0 && rack === 0) break;
    }
    if (best === undefined) break;
    if (leastRack > 0) settled = false;
    for (const zone of owners.zones)
      if (distinctZones && (zoneUses.get(zone) ?? 0) < leastZone) settled = false;
    left.delete(best);
    chosen.push(best.id);
    if (distinctZones) zoneUses.set(best.zone, leastZone + 1);
    if (distinctRacks) rackUses.set(rackOf(best), leastRack + 1);
  }
  return { chosen, settled: settled && chosen.length === n };
}

function rackOf({ zone, rack }: PlacementNode): string {
  return JSON.stringify([zone, rack]);
}
