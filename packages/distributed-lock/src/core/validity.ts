/** How far two clocks may run apart while a lease lasts. */
export interface Drift {
  /** As a part of the lease. */
  readonly ratio: number;
  /** And a constant, in milliseconds, for their resolution. */
  readonly ms: number;
}

/**
 * Until when, by the monotonic clock of the client, nobody else is granted the lock. It counts from before the request
 * was sent, because the server may have begun to count at any time after that.
 *
 * As the validity time of Redlock (S. Sanfilippo, "Distributed Locks with Redis"), for every backend.
 */
export function validUntilMs(sentAtMs: number, validMs: number, drift: Drift): number {
  return sentAtMs + validMs - validMs * drift.ratio - drift.ms;
}

/** Whether a grant that lasts until then is too short to be handed on without renewing it first. */
export function needsRenewal(untilMs: number, nowMs: number, leaseMs: number): boolean {
  return untilMs - nowMs < leaseMs / 2;
}
