import type { LockMode } from '../contract.js';

/** A claim as it lies in etcd, in the order in which it was made. */
export interface QueuedClaim {
  readonly owner: string;
  readonly mode: LockMode;
  readonly permits: number;
  readonly total: number;
  /** The revision that made it: its fence. */
  readonly revision: number;
}

/** How many of the claims, from the first on, have the lock: everybody behind one who has to wait waits too. */
export function holdersOf(claims: readonly QueuedClaim[]): number {
  let held = 0;
  let taken = 0;
  for (const { mode, permits, total } of claims) {
    const first = claims[0];
    if (held > 0 && (mode === 'exclusive' || first?.mode !== mode)) return held;
    if (mode === 'permits' && taken + permits > total) return held;
    taken += permits;
    held++;
  }
  return held;
}

/**
 * Whose end to wait for, before a claim that waits can be granted: the nearest before it that stands in its way, so that
 * one release wakes few (the recipe of etcd and ZooKeeper). `undefined`: any of those before it.
 */
export function predecessorOf(claims: readonly QueuedClaim[], at: number): QueuedClaim | undefined {
  const mode = claims[at]?.mode;
  const before = claims.slice(0, at).reverse();
  if (mode === 'exclusive') return before[0];
  return before.find((claim) => claim.mode !== mode);
}
