import { InvalidOptionError } from '@quorate/runtime';
import type {
  ClaimGrant,
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ConvertResult,
  LockMode,
  LockStatus,
  ReleaseResult,
  RenewResult,
} from './lock-claims.js';

/** One that holds a key, or waits for it. */
export interface TableClaim {
  readonly owner: string;
  mode: LockMode;
  readonly permits: number;
  readonly total: number;
  leaseMs: number;
  expiresAtMs: number;
  /** Zero while it waits. */
  fence: number;
  /** A shared holder that waits to become exclusive. */
  upgrading: boolean;
}

type Claim = TableClaim;

/** All that a table knows of one key. */
export interface KeyState {
  readonly holders: readonly TableClaim[];
  readonly queue: readonly TableClaim[];
}

interface Lock {
  readonly holders: Map<string, Claim>;
  /** In the order of arrival. */
  readonly queue: Claim[];
}

/** A claim that was granted while it waited. */
export interface HandOver extends ClaimId {
  readonly grant: ClaimGrant;
}

/** Whether a claim can be granted beside those who hold the key. */
function fits(
  holders: Iterable<{ readonly mode: LockMode; readonly permits: number }>,
  claim: { readonly mode: LockMode; readonly permits: number; readonly total: number },
): boolean {
  let taken = 0;
  for (const { mode, permits } of holders) {
    if (mode === 'exclusive' || mode !== claim.mode) return false;
    taken += permits;
  }
  return claim.mode !== 'permits' || taken + claim.permits <= claim.total;
}

/**
 * The reference of the backend contract: leases, one fair queue per key, fences, upgrades. Pure: the time is passed in
 * and never goes back, and what happened to waiting claims is fetched with {@link LockTable.takeHandOvers}.
 *
 * Invariants: the holders of a key fit each other; the first of a queue does not fit the holders, unless an upgrade
 * waits; a fence is given out once, and a later grant has a higher one.
 */
export class LockTable {
  readonly #locks = new Map<string, Lock>();
  #fence = 0;
  #handOvers: HandOver[] = [];
  /** No claim expires before this. */
  #nextMs = Number.POSITIVE_INFINITY;

  /** The highest fence that was given out. */
  get fence(): number {
    return this.#fence;
  }

  /** The keys of which it knows something. */
  keys(): Iterable<string> {
    return this.#locks.keys();
  }

  /** What it knows of a key, for {@link LockTable.load}. */
  dump(key: string): KeyState {
    const { holders, queue } = this.#locks.get(key) ?? { holders: new Map<string, Claim>(), queue: [] };
    return { holders: [...holders.values()], queue: [...queue] };
  }

  /** Goes on from what another table knew of a key; every fence to come is above `fence`. */
  load(key: string, { holders, queue }: KeyState, fence: number): void {
    this.#fence = Math.max(this.#fence, fence);
    for (const { expiresAtMs } of [...holders, ...queue]) this.#nextMs = Math.min(this.#nextMs, expiresAtMs);
    const held = new Map(holders.map((claim) => [claim.owner, { ...claim }]));
    if (held.size > 0) this.#locks.set(key, { holders: held, queue: queue.map((claim) => ({ ...claim })) });
  }

  claim(request: ClaimRequest, nowMs: number): ClaimResult {
    const { key, owner, mode, permits, total, leaseMs, wait } = request;
    this.#drop(key, nowMs);
    const lock = this.#locks.get(key) ?? { holders: new Map<string, Claim>(), queue: [] };
    const known = lock.holders.get(owner) ?? lock.queue.find((one) => one.owner === owner);
    if (known !== undefined) {
      this.#keep(known, leaseMs, nowMs);
      return lock.holders.has(owner) ? granted(known) : { state: 'waiting' };
    }
    const claim: Claim = {
      owner,
      mode,
      permits,
      total,
      leaseMs,
      expiresAtMs: nowMs + leaseMs,
      fence: 0,
      upgrading: false,
    };
    this.#nextMs = Math.min(this.#nextMs, claim.expiresAtMs);
    if (lock.queue.length === 0 && !upgradeWaits(lock) && fits(lock.holders.values(), claim)) {
      this.#locks.set(key, lock);
      return this.#grant(lock, claim, nowMs);
    }
    if (!wait) return { state: 'busy' };
    lock.queue.push(claim);
    return { state: 'waiting' };
  }

  convert({ key, owner, mode, leaseMs, wait }: ClaimRequest, nowMs: number): ConvertResult {
    this.#drop(key, nowMs);
    const lock = this.#locks.get(key);
    const claim = lock?.holders.get(owner);
    if (lock === undefined || claim === undefined) return { state: 'lost' };
    this.#keep(claim, leaseMs, nowMs);
    if (mode === 'exclusive' && claim.mode === 'shared') {
      if (lock.holders.size === 1) {
        Object.assign(claim, { mode, upgrading: false });
        return this.#grant(lock, claim, nowMs);
      }
      if (claim.upgrading) return { state: 'waiting' };
      if (upgradeWaits(lock)) return { state: 'deadlock' };
      if (!wait) return { state: 'busy' };
      claim.upgrading = true;
      return { state: 'waiting' };
    }
    if (mode === 'permits' || claim.mode === 'permits')
      throw new InvalidOptionError('mode', mode, 'exclusive or shared, and so what it is converted from');
    Object.assign(claim, { mode, upgrading: false });
    this.#handOver(key, lock, nowMs);
    return granted(claim);
  }

  renew({ key, owner }: ClaimId, leaseMs: number, nowMs: number): RenewResult {
    this.#drop(key, nowMs);
    const claim = this.#locks.get(key)?.holders.get(owner);
    if (claim === undefined) return { state: 'lost' };
    this.#keep(claim, leaseMs, nowMs);
    return { state: 'held', validMs: leaseMs };
  }

  release({ key, owner }: ClaimId, nowMs: number): ReleaseResult {
    this.#drop(key, nowMs);
    return this.#remove(key, (claim) => claim.owner === owner, nowMs) ? 'released' : 'lost';
  }

  /** Removes all that has run out, and grants what that makes free. */
  expire(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    for (const key of [...this.#locks.keys()]) this.#drop(key, nowMs);
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const { holders, queue } of this.#locks.values()) {
      for (const { expiresAtMs } of [...holders.values(), ...queue])
        this.#nextMs = Math.min(this.#nextMs, expiresAtMs);
    }
  }

  /** When to call {@link LockTable.expire}: no claim runs out before that. */
  nextExpiryMs(): number | undefined {
    return this.#nextMs === Number.POSITIVE_INFINITY ? undefined : this.#nextMs;
  }

  /** Who was granted what it waited for since the last call, in that order. */
  takeHandOvers(): readonly HandOver[] {
    const taken = this.#handOvers;
    this.#handOvers = [];
    return taken;
  }

  inspect(key: string, nowMs: number): LockStatus {
    this.#drop(key, nowMs);
    const lock = this.#locks.get(key);
    const holders = [...(lock?.holders.values() ?? [])].map(({ owner, mode, permits, fence }) => ({
      owner,
      mode,
      permits,
      fence,
    }));
    return { holders, waiting: lock?.queue.length ?? 0 };
  }

  #grant(lock: Lock, claim: Claim, nowMs: number): ClaimGrant {
    claim.fence = ++this.#fence;
    this.#keep(claim, claim.leaseMs, nowMs);
    lock.holders.set(claim.owner, claim);
    return granted(claim);
  }

  /** A lease is never shortened: a call that arrives late takes nothing back. */
  #keep(claim: Claim, leaseMs: number, nowMs: number): void {
    Object.assign(claim, { leaseMs, expiresAtMs: Math.max(claim.expiresAtMs, nowMs + leaseMs) });
    this.#nextMs = Math.min(this.#nextMs, claim.expiresAtMs);
  }

  #drop(key: string, nowMs: number): void {
    this.#remove(key, ({ expiresAtMs }) => expiresAtMs <= nowMs, nowMs);
  }

  #remove(key: string, unwanted: (claim: Claim) => boolean, nowMs: number): boolean {
    const lock = this.#locks.get(key);
    if (lock === undefined) return false;
    const before = lock.holders.size + lock.queue.length;
    for (const claim of lock.holders.values()) if (unwanted(claim)) lock.holders.delete(claim.owner);
    lock.queue.splice(0, lock.queue.length, ...lock.queue.filter((claim) => !unwanted(claim)));
    if (lock.holders.size + lock.queue.length === before) return false;
    this.#handOver(key, lock, nowMs);
    if (lock.holders.size === 0) this.#locks.delete(key);
    return true;
  }

  #handOver(key: string, lock: Lock, nowMs: number): void {
    const [sole] = lock.holders.values();
    if (lock.holders.size === 1 && sole?.upgrading === true) {
      Object.assign(sole, { mode: 'exclusive', upgrading: false });
      this.#handOvers.push({ key, owner: sole.owner, grant: this.#grant(lock, sole, nowMs) });
    }
    if (upgradeWaits(lock)) return;
    for (;;) {
      const [first] = lock.queue;
      if (first === undefined || !fits(lock.holders.values(), first)) return;
      lock.queue.shift();
      this.#handOvers.push({ key, owner: first.owner, grant: this.#grant(lock, first, nowMs) });
    }
  }
}

function granted({ fence, leaseMs }: Claim): ClaimGrant {
  return { state: 'granted', fence, validMs: leaseMs };
}

function upgradeWaits({ holders }: Lock): boolean {
  for (const { upgrading } of holders.values()) if (upgrading) return true;
  return false;
}
