import { describeValue, QuorateError, type QuorateErrorOptions } from '@quorate/runtime';

/** Codes of {@link LockError} and its subclasses. */
export type LockErrorCode =
  | 'LOCK_TIMEOUT'
  | 'LOCK_ABORTED'
  | 'LOCK_LOST'
  | 'LOCK_DEADLOCK'
  | 'LOCK_BACKEND'
  | 'LOCK_CLOSED'
  | 'LOCK_UNSUPPORTED'
  | 'LOCK_STALE_FENCE'
  | 'LOCK_VERSION_CONFLICT';

/** The base of what goes wrong with a lock. */
export class LockError extends QuorateError {
  static override readonly brand: string = '@quorate/distributed-lock#LockError';

  declare readonly code: LockErrorCode;
  /** The key that it is about; `undefined` for what is not about one. */
  readonly key: string | undefined;

  constructor(
    code: LockErrorCode,
    key: string | undefined,
    message: string,
    options: QuorateErrorOptions = {},
  ) {
    super(code, message, options);
    this.key = key;
  }
}

/** The lock did not become free in time. Nothing is held, and no place in the queue. Code `LOCK_TIMEOUT`. */
export class LockTimeoutError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockTimeoutError';

  /** How long was waited, in milliseconds. */
  readonly waitMs: number;

  constructor(key: string, waitMs: number, options: QuorateErrorOptions = {}) {
    super(
      'LOCK_TIMEOUT',
      key,
      `${describeValue(key)} did not become free within ${String(waitMs)} ms`,
      options,
    );
    this.waitMs = waitMs;
  }
}

/** The caller's signal aborted the wait; its reason is the cause. Nothing is held. Code `LOCK_ABORTED`. */
export class LockAbortedError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockAbortedError';

  constructor(key: string, cause: unknown) {
    super('LOCK_ABORTED', key, `waiting for ${describeValue(key)} was aborted`, { cause });
  }
}

/**
 * How a lock was lost.
 *
 * - `expired`: it could not be renewed in time, or the process stood still
 * - `gone`: the backend does not know it any more
 * - `session`: the session or connection that held it ended
 * - `released`: by this process
 */
export type LossReason = 'expired' | 'gone' | 'session' | 'released';

const LOSSES: Readonly<Record<LossReason, string>> = {
  expired: 'its lease was not renewed in time',
  gone: 'the backend does not know it any more',
  session: 'the session that held it ended',
  released: 'it was released',
};

/** The lock is not held any more, and may be somebody else's. Code `LOCK_LOST`. */
export class LockLostError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockLostError';

  readonly reason: LossReason;

  constructor(key: string, reason: LossReason, options: QuorateErrorOptions = {}) {
    super('LOCK_LOST', key, `${describeValue(key)} is not held: ${LOSSES[reason]}`, options);
    this.reason = reason;
  }
}

/**
 * Waiting on would never end, or the server chose this claim as the victim: release what you hold, and begin again.
 * Code `LOCK_DEADLOCK`.
 */
export class DeadlockError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#DeadlockError';

  constructor(key: string, message: string, options: QuorateErrorOptions = {}) {
    super('LOCK_DEADLOCK', key, `${describeValue(key)}: ${message}`, options);
  }
}

/** The backend failed, after the retries; its error is the cause. Code `LOCK_BACKEND`. */
export class LockBackendError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockBackendError';

  constructor(key: string | undefined, message: string, options: QuorateErrorOptions = {}) {
    super('LOCK_BACKEND', key, message, options);
  }
}

/** `close()` was called. Code `LOCK_CLOSED`. */
export class LockClosedError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockClosedError';

  constructor(key?: string) {
    super('LOCK_CLOSED', key, 'these locks are closed; make new ones with createLocks');
  }
}

/** The backend cannot do that: see its capabilities. Nothing was sent. Code `LOCK_UNSUPPORTED`. */
export class LockUnsupportedError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#LockUnsupportedError';

  constructor(backend: string, what: string) {
    super('LOCK_UNSUPPORTED', undefined, `the backend ${describeValue(backend)} has no ${what}`);
  }
}

/**
 * What a lock protects has seen a higher fence: whoever writes with this one is a former holder. Let it roll back the
 * transaction. Code `LOCK_STALE_FENCE`.
 */
export class StaleFenceError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#StaleFenceError';

  /** The fence that was refused. */
  readonly fence: number;

  constructor(key: string, fence: number) {
    super(
      'LOCK_STALE_FENCE',
      key,
      `fence ${String(fence)} of ${describeValue(key)} is stale: a later holder of the lock has written already`,
    );
    this.fence = fence;
  }
}

/** Somebody else wrote the row first, each time. Nothing was written. Code `LOCK_VERSION_CONFLICT`. */
export class VersionConflictError extends LockError {
  static override readonly brand: string = '@quorate/distributed-lock#VersionConflictError';

  /** How often it was tried. */
  readonly attempts: number;

  constructor(row: string, attempts: number) {
    super(
      'LOCK_VERSION_CONFLICT',
      row,
      `${row} was changed by somebody else in each of ${String(attempts)} attempts; a lower pessimisticAfter locks it earlier`,
    );
    this.attempts = attempts;
  }
}
