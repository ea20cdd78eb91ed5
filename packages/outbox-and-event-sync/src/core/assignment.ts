/** What a relay sees of the partitions and of the other relays. */
export interface LeaseView {
  readonly self: string;
  /** The other relays that are alive. */
  readonly others: readonly string[];
  /** How many partitions there are. */
  readonly partitions: number;
  /** The partitions that this relay holds. */
  readonly held: readonly number[];
  /** How many partitions nobody holds. */
  readonly free: number;
}

/** What a relay should do to come to its fair share. */
export interface LeasePlan {
  /** How many free partitions to take. */
  readonly acquire: number;
  /** Partitions to give up, once nothing of them is in flight. */
  readonly release: readonly number[];
}

/**
 * A relay's share of the partitions: all relays that see the same relays alive come to shares that differ by one at
 * most and add up to all partitions. The remainder goes to those that come first by name.
 */
export function fairShare(self: string, others: readonly string[], partitions: number): number {
  const alive = 1 + others.length;
  const rank = others.filter((other) => other < self).length;
  return Math.floor(partitions / alive) + (rank < partitions % alive ? 1 : 0);
}

/**
 * Takes what is free up to the fair share and gives up what is above it. Relays that disagree about who is alive
 * may take too few for a while, never one partition twice: that is decided by the leases.
 */
export function planLeases(view: LeaseView): LeasePlan {
  const share = fairShare(view.self, view.others, view.partitions);
  const held = [...view.held].sort((a, b) => a - b);
  return { acquire: Math.max(0, Math.min(share - held.length, view.free)), release: held.slice(share) };
}
