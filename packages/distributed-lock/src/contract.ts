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
} from '@quorate/replicated-log/lock';

export type {
  ClaimGrant,
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ConvertResult,
  LockMode,
  LockStatus,
  ReleaseResult,
  RenewResult,
} from '@quorate/replicated-log/lock';

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
