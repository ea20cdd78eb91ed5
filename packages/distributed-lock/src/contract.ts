/**
 * How a claim shares its key with others.
 *
 * - `exclusive`: with nobody
 * - `shared`: with other shared claims
 * - `permits`: with other claims of permits, as long as all of them together take no more than `total`
 */
export type LockMode = 'exclusive' | 'shared' | 'permits';

/** What names a claim: a key, and an owner that no other claim ever has. */
export interface ClaimId {
  /** 1 to 255 bytes of UTF-8; any character may occur. */
  readonly key: string;
  /** 1 to 255 bytes of UTF-8 without control characters. Claiming again as the same owner is the same claim. */
  readonly owner: string;
}

/** What is asked for. One shape serves the mutex, the read-write lock and the semaphore. */
export interface ClaimRequest extends ClaimId {
  readonly mode: LockMode;
  /** How many permits; 1 unless the mode is `permits`. */
  readonly permits: number;
  /** How many permits there are, as the client says; 1 unless the mode is `permits`. Never less than `permits`. */
  readonly total: number;
  /** The claim, or its place in the queue, is gone unless it is claimed again or renewed within so many milliseconds. */
  readonly leaseMs: number;
  /** Whether to take a place in the queue. False: granted at once, or `busy` with nothing left behind. */
  readonly wait: boolean;
}

/** A grant. */
export interface ClaimGrant {
  readonly state: 'granted';
  /** Above every fence that was granted for the key before; `undefined` exactly where `fencing` is `none`. */
  readonly fence: number | undefined;
  /**
   * For how many milliseconds after the request was sent nobody else is granted what conflicts with it, by a perfect
   * clock: the core subtracts the drift. Usually `leaseMs`.
   */
  readonly validMs: number;
}

/** How a claim stands. */
export type ClaimResult =
  | ClaimGrant
  /** It has a place in the queue, for `leaseMs` from now. A holder that waits for an upgrade keeps what it has. */
  | { readonly state: 'waiting' }
  /** It has nothing, and no place. A holder that asked for an upgrade keeps what it has. */
  | { readonly state: 'busy' };

/** How a conversion stands. */
export type ConvertResult =
  | ClaimResult
  /** Another holder waits for an upgrade already. The claim keeps what it has. */
  | { readonly state: 'deadlock' }
  /** The owner holds nothing. Nothing was left behind: a conversion never makes a claim. */
  | { readonly state: 'lost' };

/** What a backend tells without being asked, from the first claim of an owner until its release. */
export interface ClaimWatch {
  /**
   * The claim may stand differently now: ask again. With a grant, what the server says that it was granted while it
   * waited; the core takes it without asking where it can know that it still holds, however late the message is.
   * Calling too often is harmless; after the release it does nothing.
   */
  changed(grant?: ClaimGrant): void;
  /** The claim is known to be gone: its session or connection ended. */
  lost(cause: unknown): void;
}

/** What goes with a single call. */
export interface BackendCall {
  /** Aborts when nobody waits for the answer any more. A blocking claim must then give up and settle. */
  readonly signal: AbortSignal;
}

/** What goes with a claim. */
export interface ClaimCall extends BackendCall {
  /** How much longer the caller waits, in milliseconds; may be Infinity. Only a `blocking` backend needs it. */
  readonly waitMs: number;
  readonly watch: ClaimWatch;
}

/** The answer to a renewal. */
export type RenewResult = { readonly state: 'held'; readonly validMs: number } | { readonly state: 'lost' };

/** How a lock was given back: `lost` means that it had been lost before, and may have been somebody else's. */
export type ReleaseResult = 'released' | 'lost';

/** Who has a key, and how many wait. */
export interface LockStatus {
  readonly holders: readonly {
    readonly owner: string;
    readonly mode: LockMode;
    readonly permits: number;
    readonly fence: number | undefined;
  }[];
  readonly waiting: number;
}

/** What a backend promises. The core refuses what is not in here before anything is sent. */
export interface LockCapabilities {
  /**
   * - `durable`: fences of a key rise over every fault that the backend survives, the loss of its memory included
   * - `volatile`: they rise until the server loses its data
   * - `none`: there are none
   */
  readonly fencing: 'durable' | 'volatile' | 'none';
  /** Whether waiting claims are granted in the order in which they were first received. */
  readonly fifo: boolean;
  /**
   * - `push`: there is a queue, and `watch.changed` is called; asking again is a backstop
   * - `poll`: there is a queue; the core asks again
   * - `blocking`: a claim with `wait` is answered when it is granted, after `waitMs`, or when its signal aborts
   * - `retry`: there is no queue; a claim is `busy`, and the core tries again with backoff
   */
  readonly waiting: 'push' | 'poll' | 'blocking' | 'retry';
  /** What frees a lock whose holder died: the end of its session, or the end of its lease. */
  readonly releasedOnCrash: 'session' | 'time';
  /** What mutual exclusion rests on. */
  readonly safety: 'consensus' | 'single-node' | 'best-effort-quorum';
  readonly modes: readonly LockMode[];
  /** Whether `convert` takes a holder from `shared` to `exclusive`. */
  readonly upgrade: boolean;
  /** And from `exclusive` to `shared`. */
  readonly downgrade: boolean;
  /** The bounds of a lease, in milliseconds. */
  readonly leaseMs: { readonly min: number; readonly max: number };
  /** The most bytes of UTF-8 in a key, at most 255. */
  readonly maxKeyBytes: number;
}

/**
 * Where locks are kept: what an author implements. `createLocks` does the waiting, the renewing, the retrying and the
 * cleaning up; a backend only asks its server. One instance serves one `createLocks`, which closes it.
 *
 * A method rejects with whatever its client threw when it does not know what happened; the core repeats the call, which
 * is why each of them can be repeated. It throws `InvalidOptionError` for a key that it cannot store, and
 * `DeadlockError` where the server chose it as a victim.
 */
export interface LockBackend {
  /** Shown in errors and events. */
  readonly name: string;
  readonly capabilities: LockCapabilities;
  /**
   * Claims, or asks how a claim stands and renews it. By the owner that has the lock it is granted again, with the same
   * fence, for `leaseMs` from now; by one that waits it keeps its place for as long. It never shortens what was promised
   * before. A claim without `wait` overtakes nobody who waits.
   */
  claim(request: ClaimRequest, call: ClaimCall): Promise<ClaimResult>;
  /**
   * Takes a holder to `request.mode`, and renews it as `claim` does. An upgrade is granted when the other holders are
   * gone, before anybody who waits in the queue, and has a new fence; a downgrade is granted at once, with the same
   * fence. Converting to the mode that one has ends the wait for another. Only where `upgrade` or `downgrade` is true.
   */
  convert?(request: ClaimRequest, call: ClaimCall): Promise<ConvertResult>;
  /** Prolongs a claim that has the lock, to at least `leaseMs` from now. Never brings a lost one back. */
  renew(claim: ClaimId, leaseMs: number, call: BackendCall): Promise<RenewResult>;
  /**
   * Gives up the lock, or the place in the queue. The core ends every owner with it, except after `busy`. `released`
   * only if the owner had the lock or a place until now.
   */
  release(claim: ClaimId, call: BackendCall): Promise<ReleaseResult>;
  /** Who has the key. Leave it out where the server cannot tell; `observe` then throws. */
  inspect?(key: string, call: BackendCall): Promise<LockStatus>;
  /** Frees what the backend itself opened; never the client that it was given. Called once, after every release. */
  close(): Promise<void>;
}
