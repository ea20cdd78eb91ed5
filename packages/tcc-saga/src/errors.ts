import { describeValue, QuorateError, type QuorateErrorOptions } from '@quorate/runtime';

/**
 * A branch's definite refusal: the business says no, the try left nothing behind, and asking again would not help.
 * Throw it from a `try`; the whole TCC is then cancelled. Every other error of a try is an unknown outcome, which is
 * retried until the deadline. Code `BRANCH_REFUSED`.
 */
export class BranchRefused extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#BranchRefused';

  /** Why, in the words of the branch. */
  readonly reason: string;

  constructor(reason: string, options: QuorateErrorOptions = {}) {
    super('BRANCH_REFUSED', reason, options);
    this.reason = reason;
  }
}

/**
 * A try that arrived after its cancel. It did not run and never may: roll the transaction back. Code
 * `BARRIER_SUSPENDED`.
 */
export class SuspendedError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#SuspendedError';

  readonly gid: string;
  readonly branch: string;

  constructor(gid: string, branch: string) {
    super(
      'BARRIER_SUSPENDED',
      `the try of branch ${describeValue(branch)} of ${describeValue(gid)} came after its cancel and must not run`,
    );
    this.gid = gid;
    this.branch = branch;
  }
}

/** No instance has this id: it was never begun, its transaction has not committed, or it was pruned. Code `SAGA_NOT_FOUND`. */
export class SagaNotFoundError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#SagaNotFoundError';

  readonly id: string;

  constructor(id: string) {
    super('SAGA_NOT_FOUND', `no saga has the id ${describeValue(id)}; was its transaction committed?`);
    this.id = id;
  }
}

/** An id that was begun before with another definition. Nothing was begun. Code `SAGA_CONFLICT`. */
export class SagaConflictError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#SagaConflictError';

  readonly id: string;

  constructor(id: string, definition: string, existing: string) {
    super(
      'SAGA_CONFLICT',
      `the id ${describeValue(id)} belongs to a saga of ${describeValue(existing)}, not of ` +
        `${describeValue(definition)}; choose another id`,
    );
    this.id = id;
  }
}

/** A coordinator that was closed, or not started yet, and cannot do what was asked. Code `COORDINATOR_CLOSED`. */
export class CoordinatorClosedError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#CoordinatorClosedError';

  constructor(what: string) {
    super('COORDINATOR_CLOSED', `${what}: the coordinator is closed; create another one`);
  }
}

/** Why a coordinator gave an instance up: another one has claimed it, or may have. Code `LEASE_LOST`. */
export class LeaseLostError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#LeaseLostError';

  readonly id: string;

  constructor(id: string) {
    super(
      'LEASE_LOST',
      `the lease of saga ${describeValue(id)} is gone; whoever holds it now goes on with the saga`,
    );
    this.id = id;
  }
}

/**
 * A stored instance that does not fit the definition of its name and version: its branches were changed without a
 * new version. It is kept and retried, so that deploying the right definition heals it. Code `DEFINITION_MISMATCH`.
 */
export class DefinitionMismatchError extends QuorateError {
  static override readonly brand: string = '@quorate/tcc-saga#DefinitionMismatchError';

  constructor(id: string, definition: string, version: number, stored: readonly string[]) {
    super(
      'DEFINITION_MISMATCH',
      `saga ${describeValue(id)} was begun with the branches ${stored.join(', ')}, which version ${String(version)} ` +
        `of ${describeValue(definition)} does not have; restore them, and give the changed definition a new version`,
    );
  }
}
