import { type ClaimId, claimKey } from './lock-claims.js';
import type { Lapsed } from './lock-format.js';

interface Observed extends ClaimId {
  stamp: number;
  leaseMs: number;
  /** When its lease will have passed, as seen from here. */
  passesAtMs: number;
  /** When to say so. */
  dueAtMs: number;
}

/**
 * What one node has seen of the leases: since when, by its own monotonic clock, it knows of the last command that
 * prolonged each. Pure.
 *
 * A lease is over when some node has seen it pass, and says so in the log. That node learned of the command after it was
 * sent, so whoever sent it has seen more time pass: no wall clock has a part in it, and no clock of another machine but
 * for the rate at which it runs.
 */
export class LeaseObserver {
  readonly #claims = new Map<string, Observed>();
  /** Nothing is due before this. */
  #nextMs = Number.POSITIVE_INFINITY;

  /** A command that prolonged a claim by `leaseMs` was applied. What was promised before is kept. */
  prolonged({ key, owner }: ClaimId, stamp: number, leaseMs: number, nowMs: number): void {
    const id = claimKey(key, owner);
    const passesAtMs = Math.max(this.#claims.get(id)?.passesAtMs ?? 0, nowMs + leaseMs);
    this.#claims.set(id, { key, owner, stamp, leaseMs, passesAtMs, dueAtMs: passesAtMs });
    this.#nextMs = Math.min(this.#nextMs, passesAtMs);
  }

  ended({ key, owner }: ClaimId): void {
    this.#claims.delete(claimKey(key, owner));
  }

  /** Everything is forgotten: another state takes its place. */
  clear(): void {
    this.#claims.clear();
    this.#nextMs = Number.POSITIVE_INFINITY;
  }

  /** When to ask {@link LeaseObserver.due}. */
  nextMs(): number | undefined {
    return this.#nextMs === Number.POSITIVE_INFINITY ? undefined : this.#nextMs;
  }

  /**
   * The leases that have passed, the longest ago first, at most `most`. Each of them is due again after `againMs`, unless
   * it ended. Those for which `graceMs` gives more than nothing are first due so much later, once: another node may be
   * before this one.
   */
  due(nowMs: number, most: number, graceMs: (leaseMs: number) => number, againMs: number): readonly Lapsed[] {
    if (nowMs < this.#nextMs) return [];
    const found: Observed[] = [];
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const claim of this.#claims.values()) {
      if (claim.dueAtMs <= nowMs) {
        const later = claim.dueAtMs === claim.passesAtMs ? graceMs(claim.leaseMs) : 0;
        if (later > 0) claim.dueAtMs += later;
      }
      if (claim.dueAtMs <= nowMs && found.length < most) {
        found.push(claim);
        claim.dueAtMs = nowMs + againMs;
      }
      this.#nextMs = Math.min(this.#nextMs, claim.dueAtMs);
    }
    return found
      .sort((one, other) => one.passesAtMs - other.passesAtMs)
      .map(({ key, owner, stamp }) => ({ key, owner, stamp }));
  }
}
