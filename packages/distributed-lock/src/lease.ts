import { InvalidOptionError, type Timer } from '@quorate/runtime';
import type { ClaimRequest, LockMode, ReleaseResult } from './contract.js';
import { validUntilMs } from './core/validity.js';
import {
  Acquisition,
  asLockError,
  type Bell,
  callLimitMs,
  type Granted,
  isFinal,
  releaseClaim,
  reportFailure,
  type Shared,
} from './acquiring.js';
import {
  LockClosedError,
  LockLostError,
  LockTimeoutError,
  LockUnsupportedError,
  type LossReason,
} from './errors.js';
import { lockEvents } from './events.js';
import { type AcquireOptions, acquireOptions, leaseOption } from './options.js';
import { bounded, Stop } from './stop.js';

/** Never seen: whoever waits on it asks why the lease ended. */
const OVER = new Error('the lease is over');

/**
 * A lock that is held, for a time. While it is, nobody else is granted what conflicts with it, as far as the backend's
 * `safety` goes. It is renewed by itself unless `renew` is false; when that fails for too long it is lost, and `signal`
 * aborts before anybody else can have it.
 *
 * A process that stands still does not see that. What must never be written by a former holder has to check the `fence`.
 *
 * Disposing it releases it and never throws: a loss shows in `signal`, in `release()`, and on the channel
 * `quorate:distributed-lock:lost`.
 */
export interface Lease extends AsyncDisposable {
  readonly key: string;
  /** Names this claim at the backend. */
  readonly owner: string;
  readonly mode: LockMode;
  /**
   * The fencing token: above that of every earlier grant of the key. Hand it to what the lock protects, and let that
   * refuse a lower one than it has seen. Throws `LockUnsupportedError` where `capabilities.fencing` is `none`.
   */
  readonly fence: number;
  /** Aborts with `LockLostError` when the lock is lost, or with `LockClosedError` on `close()`; not on release. */
  readonly signal: AbortSignal;
  /** Whether it is held, by the clock of this moment. */
  readonly held: boolean;
  /** For how many milliseconds it is held unless it is renewed, the drift subtracted; zero once it is not. */
  remainingMs(): number;
  /**
   * Renews it now, for `leaseMs` from now, which also becomes its lease for later renewals. Resolves with
   * `remainingMs()`. Rejects with `LockLostError`, or with `LockBackendError` when the backend fails; it may still be
   * held then.
   */
  extend(leaseMs?: number): Promise<number>;
  /** Throws `LockLostError` if it is not held. */
  assertHeld(): void;
  /**
   * Gives it back, once however often it is called. `lost`: it was lost before, and what was done under it may not have
   * been protected. Rejects with `LockBackendError` when the backend fails; it then ends with its lease.
   */
  release(): Promise<ReleaseResult>;
}

/** A lease of a read-write lock. */
export interface ReadWriteLease extends Lease {
  /**
   * From reading to writing, without letting anybody write in between. It waits until the other readers are gone, who
   * may not upgrade meanwhile: `DeadlockError` if one of them waits for that already. Whenever it rejects, the lock is
   * still held for reading, if it is held. The fence rises.
   */
  upgrade(options?: Pick<AcquireOptions, 'waitMs' | 'signal'>): Promise<void>;
  /** From writing to reading, letting other readers in. */
  downgrade(): Promise<void>;
}

/**
 * The leases that are held. A `Set` would do, but one that is mostly empty makes and drops a table for each of them: a
 * microsecond, where all that is done for a lock here takes three.
 */
export class HeldLeases {
  readonly #all: HeldLease[] = [];

  add(lease: HeldLease): void {
    lease.place = this.#all.push(lease) - 1;
  }

  remove(lease: HeldLease): void {
    const last = this.#all.pop();
    if (last === undefined || last === lease) return;
    this.#all[lease.place] = last;
    last.place = lease.place;
  }

  /** As they are now. */
  all(): HeldLease[] {
    return [...this.#all];
  }
}

/** The lease of one claim, and its renewal. */
export class HeldLease implements ReadWriteLease {
  readonly #shared: Shared;
  readonly #bell: Bell;
  #lost: Stop | undefined;
  /** Owned by {@link HeldLeases}. */
  place = 0;
  readonly #among: HeldLeases;
  readonly #since: number;
  #request: ClaimRequest;
  #fence: number | undefined;
  #untilMs: number;
  /** Of the next renewal, or of the end. */
  #timer: Timer | undefined;
  #ended: LossReason | undefined;
  #cause: unknown;
  #released: Promise<ReleaseResult> | undefined;
  /** Conversions follow each other. */
  #tail: Promise<unknown> | undefined;
  /** Stops when it is lost or released; made for whoever waits on that. */
  #over: Stop | undefined;

  /** It is among those that are held until it was released. */
  constructor(shared: Shared, request: ClaimRequest, bell: Bell, granted: Granted, among: HeldLeases) {
    this.#shared = shared;
    this.#request = request;
    this.#bell = bell;
    this.#fence = granted.fence;
    this.#untilMs = granted.untilMs;
    this.#among = among;
    this.#since = granted.atMs;
    among.add(this);
    bell.onLost = (cause) => {
      this.#lose('session', cause);
    };
    this.#arm();
  }

  get key(): string {
    return this.#request.key;
  }

  get owner(): string {
    return this.#request.owner;
  }

  get mode(): LockMode {
    return this.#request.mode;
  }

  get fence(): number {
    if (this.#fence === undefined) {
      throw new LockUnsupportedError(this.#shared.backend.name, 'fencing (capabilities.fencing is "none")');
    }
    return this.#fence;
  }

  /** The fence, or `undefined` where there is none. */
  get fenceIfAny(): number | undefined {
    return this.#fence;
  }

  get signal(): AbortSignal {
    return (this.#lost ??= new Stop()).signal;
  }

  get held(): boolean {
    return this.remainingMs() > 0;
  }

  remainingMs(): number {
    if (this.#ended !== undefined) return 0;
    const left = this.#untilMs - this.#shared.settings.runtime.monotonic();
    // A process that stood still sees the end of its lease here before its timer runs.
    if (left <= 0) this.#lose('expired');
    return Math.max(0, left);
  }

  assertHeld(): void {
    if (!this.held) throw this.#lossError();
  }

  async extend(leaseMs = this.#request.leaseMs): Promise<number> {
    const { backend, settings } = this.#shared;
    leaseOption(backend, settings.drift, leaseMs);
    this.assertHeld();
    this.#request = { ...this.#request, leaseMs };
    try {
      await this.#renew();
    } catch (error) {
      this.assertHeld();
      reportFailure(this.#shared, this, 'renew', error);
      throw asLockError(backend, this.key, 'renew', error);
    }
    this.assertHeld();
    return this.remainingMs();
  }

  async upgrade(options: Pick<AcquireOptions, 'waitMs' | 'signal'> = {}): Promise<void> {
    const { backend, settings } = this.#shared;
    if (!backend.capabilities.upgrade)
      throw new LockUnsupportedError(backend.name, 'upgrade (capabilities.upgrade is false)');
    const { waitMs, signal } = acquireOptions(backend, settings, options);
    await this.#convert('exclusive', waitMs, signal);
  }

  async downgrade(): Promise<void> {
    const { backend } = this.#shared;
    if (!backend.capabilities.downgrade)
      throw new LockUnsupportedError(backend.name, 'downgrade (capabilities.downgrade is false)');
    await this.#convert('shared', 0, undefined);
  }

  release(): Promise<ReleaseResult> {
    return (this.#released ??= this.#release());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // It was reported on the channel; a dispose that throws would mask what the block threw.
    await this.release().catch(() => undefined);
  }

  /** Ends it on `close()`. */
  async shut(): Promise<void> {
    if (this.#released === undefined) (this.#lost ??= new Stop()).stop(new LockClosedError(this.key));
    await this[Symbol.asyncDispose]();
  }

  async #release(): Promise<ReleaseResult> {
    const { backend, settings } = this.#shared;
    const held = this.held;
    this.#end('released');
    let result: ReleaseResult = 'lost';
    try {
      // Also what was lost is released: the backend may still have it, and let it go to the next.
      result = await releaseClaim(this.#shared, this, this.#request.leaseMs, this.#untilMs);
      if (!held) result = 'lost';
    } catch (error) {
      if (held) throw error;
    } finally {
      this.#among.remove(this);
    }
    const { released } = lockEvents;
    if (released.active) {
      const heldMs = settings.runtime.monotonic() - this.#since;
      released.publish({ backend: backend.name, key: this.key, owner: this.owner, result, heldMs });
    }
    return result;
  }

  async #convert(
    mode: 'exclusive' | 'shared',
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.mode === 'permits') throw new InvalidOptionError('mode', mode, 'of a read-write lock');
    const now = (): Promise<void> => this.#convertNow(mode, waitMs, signal);
    const run = this.#tail?.then(now) ?? now();
    this.#tail = run.catch(() => undefined);
    await run;
  }

  async #convertNow(
    mode: 'exclusive' | 'shared',
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.assertHeld();
    if (this.mode === mode) return;
    const wanted: ClaimRequest = { ...this.#request, mode, wait: waitMs > 0 };
    const acquisition = new Acquisition(this.#shared, wanted, this.#bell, true);
    let granted: Granted | undefined;
    try {
      granted = await acquisition.run(waitMs, signal, () => this.#revert(), this.#whileHeld());
      if (granted === undefined) throw new LockTimeoutError(this.key, waitMs);
      this.#request = { ...this.#request, mode };
      this.#fence = granted.fence;
      this.#keep(granted.untilMs);
    } catch (error) {
      if (error instanceof LockLostError) this.#lose(error.reason);
      this.assertHeld();
      throw error;
    }
    this.assertHeld();
    this.publishAcquired(granted);
  }

  /** Ends the wait for a conversion that was given up, or undoes one that was granted too late. */
  async #revert(): Promise<void> {
    if (this.#ended !== undefined) return;
    const { backend, settings } = this.#shared;
    const { leaseMs } = this.#request;
    try {
      await bounded(settings.runtime, callLimitMs(leaseMs), this.#whileHeld(), 'claim', async ({ signal }) =>
        backend.convert?.({ ...this.#request, wait: false }, { signal, waitMs: 0, watch: this.#bell }),
      );
    } catch (error) {
      reportFailure(this.#shared, this, 'claim', error);
    }
  }

  #whileHeld(): Stop {
    return (this.#over ??= new Stop());
  }

  /** Asks once. Rejects when the backend fails; a loss only shows. */
  async #renew(): Promise<void> {
    const { backend, settings } = this.#shared;
    const { leaseMs } = this.#request;
    const sentAtMs = settings.runtime.monotonic();
    const result = await bounded(settings.runtime, callLimitMs(leaseMs), this.#whileHeld(), 'renew', (stop) =>
      backend.renew(this, leaseMs, stop),
    );
    if (this.#ended !== undefined) return;
    if (result.state === 'lost') {
      this.#lose('gone');
      return;
    }
    this.#keep(validUntilMs(sentAtMs, result.validMs, settings.drift));
  }

  /** A backend never shortens a lease, so what was promised once holds. */
  #keep(untilMs: number): void {
    if (this.#ended !== undefined) return;
    this.#untilMs = Math.max(this.#untilMs, untilMs);
    this.#arm();
  }

  /** Tells that it was granted. */
  publishAcquired({ askedAtMs, atMs }: Granted): void {
    const { acquired } = lockEvents;
    if (!acquired.active) return;
    const { key, owner, mode } = this.#request;
    const waitedMs = atMs - askedAtMs;
    acquired.publish({ backend: this.#shared.backend.name, key, owner, mode, fence: this.#fence, waitedMs });
  }

  #arm(): void {
    const { renewEveryMs } = this.#shared.settings;
    this.#wakeAfter(
      renewEveryMs === undefined ? Number.POSITIVE_INFINITY : renewEveryMs(this.#request.leaseMs),
    );
  }

  /** Renews it then, or notices at its end that it is lost, whichever is first. */
  #wakeAfter(renewMs: number): void {
    const { runtime } = this.#shared.settings;
    this.#timer?.cancel();
    const leftMs = this.#untilMs - runtime.monotonic();
    this.#timer =
      renewMs < leftMs
        ? runtime.setTimer(renewMs, () => void this.#renewOnTime())
        : runtime.setTimer(leftMs, () => this.remainingMs());
  }

  async #renewOnTime(): Promise<void> {
    if (!this.held) return;
    this.#wakeAfter(Number.POSITIVE_INFINITY);
    try {
      await this.#renew();
    } catch (error) {
      if (this.#ended !== undefined) return;
      reportFailure(this.#shared, this, 'renew', error);
      // Again, a few times before it ends. What the backend will always refuse is left to run out.
      if (!isFinal(error)) this.#wakeAfter(this.#request.leaseMs / 10);
    }
  }

  #lose(reason: LossReason, cause?: unknown): void {
    if (this.#ended !== undefined) return;
    this.#end(reason);
    this.#cause = cause;
    const { lost } = lockEvents;
    if (lost.active)
      lost.publish({ backend: this.#shared.backend.name, key: this.key, owner: this.owner, reason, cause });
    (this.#lost ??= new Stop()).stop(this.#lossError());
  }

  #end(reason: LossReason): void {
    this.#ended ??= reason;
    this.#over?.stop(OVER);
    this.#bell.onLost = undefined;
    this.#timer?.cancel();
  }

  #lossError(): LockLostError {
    const options = this.#cause === undefined ? {} : { cause: this.#cause };
    return new LockLostError(this.key, this.#ended ?? 'expired', options);
  }
}
