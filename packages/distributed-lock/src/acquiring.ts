import { backoffDelayMs, describeValue, InvalidOptionError, type Runtime } from '@quorate/runtime';
import type {
  ClaimCall,
  ClaimGrant,
  ClaimId,
  ClaimRequest,
  ClaimWatch,
  ConvertResult,
  LockBackend,
  ReleaseResult,
} from './contract.js';
import { needsRenewal, validUntilMs } from './core/validity.js';
import {
  DeadlockError,
  LockAbortedError,
  LockBackendError,
  LockClosedError,
  LockError,
  LockLostError,
  LockTimeoutError,
  LockUnsupportedError,
} from './errors.js';
import { type BackendFailedEvent, lockEvents } from './events.js';
import type { Settings } from './options.js';
import { bounded, type Caller, Stop, type StopListener } from './stop.js';

/** What all locks of one `createLocks` share. */
export interface Shared {
  readonly backend: LockBackend;
  readonly settings: Settings;
  /** Stops with {@link LockClosedError}. */
  readonly closing: Stop;
  /** What `close` waits for: it never rejects. */
  track(work: Promise<void>): void;
}

/** What was granted; times are of the monotonic clock. */
export interface Granted {
  readonly fence: number | undefined;
  /** Until when it holds. */
  readonly untilMs: number;
  /** When it was asked for. */
  readonly askedAtMs: number;
  /** When it was known. */
  readonly atMs: number;
}

/** Hears of a claim what the backend tells unasked. Outlives the wait: a held lock is told of its loss by it. */
export class Bell implements ClaimWatch {
  /** Set while a lock is held. */
  onLost: ((cause: unknown) => void) | undefined;
  #rung = false;
  #grant: ClaimGrant | undefined;
  #wake: (() => void) | undefined;

  changed(grant?: ClaimGrant): void {
    this.#rung = true;
    if (grant !== undefined) this.#grant = grant;
    this.#wake?.();
  }

  lost(cause: unknown): void {
    this.onLost?.(cause);
    this.changed();
  }

  /** The grant that was told since the last call. */
  takeGrant(): ClaimGrant | undefined {
    const grant = this.#grant;
    this.#grant = undefined;
    return grant;
  }

  /** What was told before an answer is older than the answer. */
  reset(): void {
    this.#rung = false;
    this.#grant = undefined;
  }

  /** Until it rings, or after the delay; rejects when `stop` does. */
  wait(runtime: Runtime, delayMs: number, stop: Stop): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer?.cancel();
        stop.remove(listener);
        this.#wake = undefined;
        this.#rung = false;
        if (stop.stopped) reject(stop.reason);
        else resolve();
      };
      const listener: StopListener = { onStop: end };
      const timer =
        this.#rung || stop.stopped ? undefined : runtime.setTimer(delayMs, end, { keepAlive: true });
      if (timer === undefined) {
        end();
        return;
      }
      this.#wake = end;
      stop.add(listener);
    });
  }
}

/** However long the lease, a claim that waits asks so often: what was pushed may have got lost. */
const BACKSTOP_MS = 5_000;

/** A call that takes longer is given up and made again, also under a long lease. */
const MAX_CALL_MS = 10_000;

/** How long one call may take before it counts as lost and is repeated. */
export function callLimitMs(leaseMs: number): number {
  return Math.max(1, Math.min(leaseMs / 3, MAX_CALL_MS));
}

/** Publishes a failed call. */
export function reportFailure(
  { backend }: Shared,
  { key, owner }: ClaimId,
  call: BackendFailedEvent['call'],
  error: unknown,
): void {
  const { backendFailed } = lockEvents;
  if (backendFailed.active) backendFailed.publish({ backend: backend.name, key, owner, call, error });
}

/** Whether repeating a call cannot help. */
export function isFinal(error: unknown): boolean {
  return error instanceof InvalidOptionError || error instanceof LockError;
}

/** The error of a call that failed for good. */
export function asLockError(
  backend: LockBackend,
  key: string,
  call: BackendFailedEvent['call'],
  error: unknown,
): Error {
  if (isFinal(error)) return error as Error;
  const what = error instanceof Error ? error.message : String(error);
  return new LockBackendError(
    key,
    `${call} of ${describeValue(key)} failed on ${describeValue(backend.name)}: ${what}`,
    { cause: error },
  );
}

/**
 * Releases, with retries. Where an attempt before may have been the one that released it, `lost` would say too much:
 * within the validity of the lease it counts as released.
 */
export async function releaseClaim(
  shared: Shared,
  claim: ClaimId,
  leaseMs: number,
  untilMs: number,
): Promise<ReleaseResult> {
  const { backend, settings } = shared;
  const { runtime } = settings;
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await bounded(runtime, callLimitMs(leaseMs), undefined, 'release', (stop) =>
        backend.release(claim, stop),
      );
      return result === 'lost' && attempt > 1 && runtime.monotonic() < untilMs ? 'released' : result;
    } catch (error) {
      reportFailure(shared, claim, 'release', error);
      if (attempt >= settings.attempts || isFinal(error))
        throw asLockError(backend, claim.key, 'release', error);
    }
    await pause(runtime, backoffDelayMs(runtime, attempt, settings.backoff));
  }
}

/**
 * What a backend gets with a claim. Its signal is made when it is first read, by an accessor of the object itself, so that
 * a backend around another may spread it; by one function for all, because an accessor in an object literal costs a
 * microsecond and a hidden class for each object.
 */
class BoundedClaim implements ClaimCall {
  static readonly #accessor = {
    enumerable: true,
    get(this: BoundedClaim): AbortSignal {
      return this.#stop.signal;
    },
  };

  declare readonly signal: AbortSignal;
  readonly #stop: Stop;

  constructor(
    stop: Stop,
    readonly waitMs: number,
    readonly watch: ClaimWatch,
  ) {
    this.#stop = stop;
    Object.defineProperty(this, 'signal', BoundedClaim.#accessor);
  }
}

/** Waits until the request is granted. */
export class Acquisition implements StopListener, Caller<ConvertResult> {
  readonly #shared: Shared;
  readonly #request: ClaimRequest;
  readonly #bell: Bell;
  readonly #converting: boolean;
  /** The calls whose end is not known: what they did is undone only after them. */
  #under: Set<Promise<unknown>> | undefined;
  readonly #stop = new Stop();
  readonly #askedAtMs: number;
  /** Whether the backend may know the claim. */
  #left = false;
  #pauses = 0;
  /**
   * Whether a grant that was pushed can be taken without asking. It was made after the last answer `waiting` was asked
   * for, and so lasts from then at least, if no earlier grant of this claim can have run out unnoticed: if between two
   * answers there was never as much as a lease.
   */
  #trusting: boolean;

  /** With `converting`, the request is to convert a held claim; then nothing that is pushed is more than a hint. */
  constructor(shared: Shared, request: ClaimRequest, bell: Bell, converting = false) {
    this.#converting = converting;
    this.#trusting = !converting;
    this.#shared = shared;
    this.#request = request;
    this.#bell = bell;
    this.#askedAtMs = shared.settings.runtime.monotonic();
  }

  /**
   * Resolves with the grant, or with `undefined` when `waitMs` is zero and the lock is not free. Whenever it does not
   * resolve with a grant, `undo` runs after the last call under way, tracked by `close`.
   */
  async run(
    waitMs: number,
    signal: AbortSignal | undefined,
    undo: () => Promise<unknown>,
    outer?: Stop,
  ): Promise<Granted | undefined> {
    const { settings, backend } = this.#shared;
    const { runtime } = settings;
    const { key, leaseMs } = this.#request;
    const stop = this.#stop;
    const deafen = this.#hear(waitMs, signal, outer);
    let failures = 0;
    let unbrokenSinceMs = this.#askedAtMs;
    let granted: Granted | undefined;
    try {
      // Not `stop`: the compiler would hold that it never stops after this.
      if (this.#stop.stopped) throw stop.reason;
      for (let sentAtMs = this.#askedAtMs; ; sentAtMs = runtime.monotonic()) {
        let result: ConvertResult;
        try {
          result = await this.#claim(Math.max(0, this.#askedAtMs + waitMs - sentAtMs), stop);
          failures = 0;
          if (result.state === 'granted') {
            granted = this.#fresh(result, sentAtMs) ?? (await this.#renewed(result, stop));
            if (granted !== undefined) return granted;
            if (this.#converting) throw new LockLostError(key, 'gone');
            this.#trusting = false;
            continue;
          }
        } catch (error) {
          if (stop.stopped) throw error;
          reportFailure(this.#shared, this.#request, 'claim', error);
          if (++failures >= settings.attempts || isFinal(error))
            throw asLockError(backend, key, 'claim', error);
          await this.#bell.wait(runtime, this.#nextPauseMs(), stop);
          continue;
        }
        if (result.state === 'deadlock')
          throw new DeadlockError(key, 'another holder waits for an upgrade too, and neither can have it');
        if (result.state === 'lost') throw new LockLostError(key, 'gone');
        if (result.state === 'busy') this.#left = (this.#under?.size ?? 0) > 0;
        if (waitMs === 0) return undefined;
        // The place is kept alive by asking again in good time; where nothing is pushed that is also how to learn.
        const keepMs = Math.min(leaseMs / 3, BACKSTOP_MS) * (0.75 + runtime.random() / 4);
        const pushes = result.state === 'waiting' && backend.capabilities.waiting === 'push';
        if (validUntilMs(unbrokenSinceMs, leaseMs, settings.drift) <= runtime.monotonic())
          this.#trusting = false;
        unbrokenSinceMs = sentAtMs;
        await this.#bell.wait(runtime, pushes ? keepMs : Math.min(keepMs, this.#nextPauseMs()), stop);
        const told = this.#bell.takeGrant();
        if (told === undefined || !this.#trusting) continue;
        granted = this.#fresh(told, sentAtMs);
        if (granted !== undefined) return granted;
      }
    } finally {
      deafen();
      if (granted === undefined && this.#left) this.#shared.track(this.#undo(undo));
    }
  }

  /** Listens to all that ends the wait, until what it returns is called. */
  #hear(waitMs: number, signal: AbortSignal | undefined, outer: Stop | undefined): () => void {
    const { settings, closing } = this.#shared;
    const { key } = this.#request;
    const stop = this.#stop;
    const abort =
      signal === undefined ? undefined : () => stop.stop(new LockAbortedError(key, signal.reason));
    if (abort !== undefined) {
      if (signal?.aborted === true) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    }
    closing.add(this);
    outer?.add(this);
    const bounds = waitMs > 0 && waitMs < Number.POSITIVE_INFINITY;
    const timer = bounds
      ? settings.runtime.setTimer(waitMs, () => stop.stop(new LockTimeoutError(key, waitMs)), {
          keepAlive: true,
        })
      : undefined;
    return () => {
      timer?.cancel();
      closing.remove(this);
      outer?.remove(this);
      if (abort !== undefined) signal?.removeEventListener('abort', abort);
    };
  }

  /** All is being closed, or what this belongs to has ended. */
  onStop(reason: Error): void {
    this.#stop.stop(reason instanceof LockClosedError ? new LockClosedError(this.#request.key) : reason);
  }

  async #undo(undo: () => Promise<unknown>): Promise<void> {
    const { runtime } = this.#shared.settings;
    try {
      // A call whose answer nobody waits for may still arrive. One that is slower than this ends with its lease.
      const under = this.#under;
      if (under !== undefined && under.size > 0) {
        const ends = (): Promise<unknown> => Promise.allSettled(under);
        await bounded(runtime, callLimitMs(this.#request.leaseMs), undefined, 'a call', ends).catch(
          () => undefined,
        );
      }
      await undo();
    } catch {
      // It was reported; what is left ends with its lease.
    }
  }

  /** A grant, unless it is so old that it has to be renewed first. */
  #fresh({ fence, validMs }: ClaimGrant, sentAtMs: number): Granted | undefined {
    const { runtime, drift } = this.#shared.settings;
    const untilMs = validUntilMs(sentAtMs, validMs, drift);
    const atMs = runtime.monotonic();
    if (needsRenewal(untilMs, atMs, this.#request.leaseMs)) return undefined;
    return { fence, untilMs, askedAtMs: this.#askedAtMs, atMs };
  }

  #nextPauseMs(): number {
    const { runtime, backoff } = this.#shared.settings;
    return backoffDelayMs(runtime, ++this.#pauses, backoff);
  }

  #claim(waitMs: number, outer: Stop): Promise<ConvertResult> {
    const { backend, settings } = this.#shared;
    const blocks = backend.capabilities.waiting === 'blocking' && this.#request.wait;
    const limitMs = callLimitMs(this.#request.leaseMs) + (blocks ? waitMs : 0);
    this.#left = true;
    this.#bell.reset();
    return bounded(
      settings.runtime,
      limitMs,
      outer,
      'claim',
      (stop) => this.#made(new BoundedClaim(stop, waitMs, this.#bell)),
      this,
    );
  }

  /** A call got no answer in time, and may still have its effect. */
  onGivenUp(made: Promise<ConvertResult>): void {
    const under = (this.#under ??= new Set());
    under.add(made);
    const done = (): void => {
      under.delete(made);
    };
    made.then(done, done);
  }

  #made(call: ClaimCall): Promise<ConvertResult> {
    const { backend } = this.#shared;
    if (!this.#converting) return backend.claim(this.#request, call);
    if (backend.convert === undefined) throw new LockUnsupportedError(backend.name, 'convert');
    return backend.convert(this.#request, call);
  }

  /** A grant that is old already is renewed before it is handed on. `undefined`: it is gone. */
  async #renewed({ fence }: ClaimGrant, outer: Stop): Promise<Granted | undefined> {
    const { backend, settings } = this.#shared;
    const { runtime, drift } = settings;
    const { key, leaseMs } = this.#request;
    const sentAtMs = runtime.monotonic();
    const renewed = await bounded(runtime, callLimitMs(leaseMs), outer, 'renew', (stop) =>
      backend.renew(this.#request, leaseMs, stop),
    );
    if (renewed.state === 'lost') return undefined;
    const untilMs = validUntilMs(sentAtMs, renewed.validMs, drift);
    const atMs = runtime.monotonic();
    if (untilMs <= atMs)
      throw new LockBackendError(
        key,
        `${describeValue(backend.name)} takes longer to answer than the lease of ${String(leaseMs)} ms lasts`,
      );
    return { fence, untilMs, askedAtMs: this.#askedAtMs, atMs };
  }
}

function pause(runtime: Runtime, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    runtime.setTimer(delayMs, resolve);
  });
}
