import { abortable, functionOption, integerOption, randomId } from '@quorate/runtime';
import { Acquisition, asLockError, Bell, callLimitMs, releaseClaim, type Shared } from './acquiring.js';
import type { ClaimRequest, LockBackend, LockCapabilities, LockMode, LockStatus } from './contract.js';
import { createElection, type Election, type ElectionOptions } from './election.js';
import { LockClosedError, LockTimeoutError, LockUnsupportedError } from './errors.js';
import { HeldLease, HeldLeases, type Lease, type ReadWriteLease } from './lease.js';
import { acquireMany, type LeaseSet } from './lease-set.js';
import { type AcquireOptions, acquireOptions, keyOption, type LocksOptions, settingsOf } from './options.js';
import { bounded, Stop } from './stop.js';
import { runUnder, type Work } from './using.js';
import { createReentrant, type ReentrantLocks } from './reentrant.js';

/** One way to take a lock on one key. */
export interface LockHandle<L extends Lease, O extends AcquireOptions = AcquireOptions> {
  /** As {@link Locks.acquire}. */
  acquire(options?: O): Promise<L>;
  /** As {@link Locks.tryAcquire}. */
  tryAcquire(options?: Omit<O, 'waitMs' | 'fair'>): Promise<L | undefined>;
  /** As {@link Locks.using}. */
  using<T>(work: Work<L, T>): Promise<T>;
  using<T>(options: O, work: Work<L, T>): Promise<T>;
}

/** A read-write lock. Where the backend is FIFO a writer that waits lets no later reader in before it. */
export interface ReadWriteLock {
  /** Takes it for reading, beside other readers. */
  read(options?: AcquireOptions): Promise<ReadWriteLease>;
  /** Takes it for writing, alone. */
  write(options?: AcquireOptions): Promise<ReadWriteLease>;
  readonly reading: LockHandle<ReadWriteLease>;
  readonly writing: LockHandle<ReadWriteLease>;
}

/** How to take permits of a semaphore. */
export interface PermitOptions extends AcquireOptions {
  /**
   * How many, at most what the semaphore has.
   * @defaultValue 1
   */
  readonly permits?: number;
}

/** Locks of one backend. */
export interface Locks extends AsyncDisposable {
  /** What the backend promises. Read it before you rely on it. */
  readonly capabilities: LockCapabilities;
  /**
   * Takes the lock on a key, waiting for it. Afterwards nobody else has it until the lease is released or lost, as far
   * as `capabilities.safety` goes. It cannot be entered twice; see {@link Locks.reentrant}.
   *
   * Rejects with `LockTimeoutError`, `LockAbortedError`, `LockBackendError`, `DeadlockError` or `LockClosedError`; then
   * nothing is held, and the place in the queue is given up.
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>;
  /** Takes the lock if it is free at once, else resolves with `undefined`. */
  tryAcquire(key: string, options?: Omit<AcquireOptions, 'waitMs' | 'fair'>): Promise<Lease | undefined>;
  /**
   * Runs `work` under the lock, and releases it. What `work` throws is rethrown as it is, whatever became of the lock;
   * the loss then shows in `lease.signal` and on the channel `quorate:distributed-lock:lost`. If `work` succeeded but
   * the lock was lost before it could be released, it rejects with `LockLostError`: the work may not have been
   * protected. If only the release failed, the work was protected and its result stands.
   */
  using<T>(key: string, work: Work<Lease, T>): Promise<T>;
  using<T>(key: string, options: AcquireOptions, work: Work<Lease, T>): Promise<T>;
  /**
   * Takes several locks, all or none. Duplicates are one; they are taken in one order by all, so that two callers never
   * wait for each other. `waitMs` is for all together.
   */
  acquireAll(keys: Iterable<string>, options?: AcquireOptions): Promise<LeaseSet>;
  /** The read-write lock on a key. Its writers also exclude `acquire` on that key, and the other way round. */
  rw(key: string): ReadWriteLock;
  /** The semaphore on a key. All who use it must name the same number of permits. */
  semaphore(key: string, permits: number): LockHandle<Lease, PermitOptions>;
  /** Locks that the code that runs inside their `using` may take again. */
  reentrant(): ReentrantLocks;
  /** An election on a key: whoever holds its lock leads. */
  election(key: string, options?: ElectionOptions): Election;
  /** Who has a key, by owner. Throws `LockUnsupportedError` where the backend cannot tell. */
  inspect(key: string, options?: { readonly signal?: AbortSignal }): Promise<LockStatus>;
  /**
   * Ends all waits with `LockClosedError`, aborts and releases all that is held, and closes the backend. Idempotent;
   * never rejects. What could not be released ends with its lease.
   */
  close(): Promise<void>;
}

/** What of a claim depends on the kind of lock. */
interface Kind {
  readonly mode: LockMode;
  readonly permits: number;
  readonly total: number;
}

const MUTEX: Kind = { mode: 'exclusive', permits: 1, total: 1 };
const READ: Kind = { mode: 'shared', permits: 1, total: 1 };

/** What is asked for. A class, because a literal of so many fields takes several times as long to make. */
class Claim implements ClaimRequest {
  constructor(
    readonly key: string,
    readonly owner: string,
    readonly mode: LockMode,
    readonly permits: number,
    readonly total: number,
    readonly leaseMs: number,
    readonly wait: boolean,
  ) {}
}

/** Locks over a backend, which they own and close. */
export function createLocks(backend: LockBackend, options: LocksOptions = {}): Locks {
  return new LocksOverBackend(backend, options);
}

class LocksOverBackend implements Locks {
  readonly #shared: Shared;
  readonly #held = new HeldLeases();
  readonly #background = new Set<Promise<unknown>>();
  readonly #closing = new Stop();
  #closed: Promise<void> | undefined;
  /** Owners are unique: the random part among clients, the number among the claims of one. */
  readonly #owners: string;
  #claims = 0;

  constructor(backend: LockBackend, options: LocksOptions) {
    this.#shared = {
      backend,
      settings: settingsOf(backend, options),
      closing: this.#closing,
      track: (work) => this.#track(work),
    };
    const { client, runtime } = this.#shared.settings;
    this.#owners = `${client === undefined ? '' : `${client}~`}${randomId(runtime)}-`;
  }

  get capabilities(): LockCapabilities {
    return this.#shared.backend.capabilities;
  }

  acquire(key: string, options: AcquireOptions = {}): Promise<Lease> {
    return this.#acquire(key, MUTEX, options);
  }

  tryAcquire(key: string, options: AcquireOptions = {}): Promise<Lease | undefined> {
    return this.#try(key, MUTEX, options);
  }

  using<T>(key: string, ...rest: [Work<Lease, T>] | [AcquireOptions, Work<Lease, T>]): Promise<T> {
    return this.#handle<Lease>(key, () => MUTEX).using(...(rest as [AcquireOptions, Work<Lease, T>]));
  }

  acquireAll(keys: Iterable<string>, options: AcquireOptions = {}): Promise<LeaseSet> {
    return acquireMany(this, this.#shared, keys, options);
  }

  rw(key: string): ReadWriteLock {
    this.#supports('shared', 'read-write locks');
    const reading = this.#handle<ReadWriteLease>(key, () => READ);
    const writing = this.#handle<ReadWriteLease>(key, () => MUTEX);
    return {
      read: (options) => reading.acquire(options),
      write: (options) => writing.acquire(options),
      reading,
      writing,
    };
  }

  semaphore(key: string, permits: number): LockHandle<Lease, PermitOptions> {
    this.#supports('permits', 'semaphores');
    const total = integerOption('permits', permits, { min: 1 });
    return this.#handle<Lease, PermitOptions>(key, (options) => ({
      mode: 'permits',
      permits: integerOption('permits', options.permits ?? 1, { min: 1, max: total }),
      total,
    }));
  }

  reentrant(): ReentrantLocks {
    return createReentrant(this);
  }

  election(key: string, options: ElectionOptions = {}): Election {
    return createElection(this, this.#shared, key, options);
  }

  async inspect(key: string, options: { readonly signal?: AbortSignal } = {}): Promise<LockStatus> {
    const { backend, settings } = this.#shared;
    keyOption(backend, key);
    if (backend.inspect === undefined) throw new LockUnsupportedError(backend.name, 'inspect');
    if (this.#closing.stopped) throw new LockClosedError(key);
    try {
      return await abortable(
        bounded(settings.runtime, callLimitMs(settings.leaseMs), this.#closing, 'inspect', async (stop) => {
          if (backend.inspect === undefined) throw new LockUnsupportedError(backend.name, 'inspect');
          return backend.inspect(key, stop);
        }),
        options.signal,
      );
    } catch (error) {
      options.signal?.throwIfAborted();
      throw asLockError(backend, key, 'inspect', error);
    }
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.stop(new LockClosedError());
    await Promise.all(this.#held.all().map((lease) => lease.shut()));
    // A wait that is cleaned up may start nothing new.
    while (this.#background.size > 0) await Promise.allSettled(this.#background);
    await this.#shared.backend.close().catch(() => undefined);
  }

  #handle<L extends Lease, O extends AcquireOptions = AcquireOptions>(
    key: string,
    kind: (options: O) => Kind,
  ): LockHandle<L, O> {
    keyOption(this.#shared.backend, key);
    const acquire = async (options: O): Promise<L> =>
      (await this.#acquire(key, kind(options), options)) as ReadWriteLease as unknown as L;
    const none = {} as O;
    return {
      acquire: (options = none) => acquire(options),
      tryAcquire: async (options = none) => {
        const given = options as O;
        return (await this.#try(key, kind(given), given)) as unknown as L | undefined;
      },
      using: async <T>(...rest: [Work<L, T>] | [O, Work<L, T>]): Promise<T> => {
        const [options, work] = rest.length === 1 ? [none, rest[0]] : rest;
        functionOption('work', work);
        return runUnder(await acquire(options), work);
      },
    };
  }

  /** Rejects with `LockTimeoutError` when it is not granted. */
  #acquire(key: string, kind: Kind, options: AcquireOptions): Promise<HeldLease> {
    return this.#claim(key, kind, options, true) as Promise<HeldLease>;
  }

  /** Resolves with `undefined` when it is not granted. */
  #try(key: string, kind: Kind, options: AcquireOptions): Promise<HeldLease | undefined> {
    return this.#claim(key, kind, { ...options, waitMs: 0 }, false);
  }

  async #claim(
    key: string,
    kind: Kind,
    options: AcquireOptions,
    needed: boolean,
  ): Promise<HeldLease | undefined> {
    const { backend, settings, closing } = this.#shared;
    keyOption(backend, key);
    this.#supports(kind.mode, `${kind.mode} locks`);
    const { waitMs, signal, fair, leaseMs } = acquireOptions(backend, settings, options);
    if (closing.stopped) throw new LockClosedError(key);
    const owner = `${this.#owners}${String(++this.#claims)}`;
    const request = new Claim(key, owner, kind.mode, kind.permits, kind.total, leaseMs, fair && waitMs > 0);
    const bell = new Bell();
    const acquisition = new Acquisition(this.#shared, request, bell);
    const granted = await acquisition.run(waitMs, signal, () =>
      releaseClaim(this.#shared, request, leaseMs, 0),
    );
    if (granted === undefined) {
      if (needed) throw new LockTimeoutError(key, waitMs);
      return undefined;
    }
    const lease = new HeldLease(this.#shared, request, bell, granted, this.#held);
    if (this.#closed !== undefined) {
      await lease.shut();
      throw new LockClosedError(key);
    }
    lease.publishAcquired(granted);
    return lease;
  }

  #supports(mode: LockMode, what: string): void {
    const { backend } = this.#shared;
    if (!backend.capabilities.modes.includes(mode))
      throw new LockUnsupportedError(backend.name, `${what} (capabilities.modes)`);
  }

  #track(work: Promise<void>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }
}
