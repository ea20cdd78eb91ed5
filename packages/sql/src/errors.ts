import { QuorateError, type QuorateErrorOptions } from '@quorate/runtime';
import { sqlStateOf } from './core/classify.js';

/**
 * What this package itself has to say about a database. The errors of a statement are the driver's own and pass
 * through unchanged: ask {@link isUniqueViolation} and its like about them.
 */
export class SqlError extends QuorateError {
  static override readonly brand: string = '@quorate/sql#SqlError';

  /** The SQLSTATE of the error that led here, when the server gave one. */
  readonly sqlState: string | undefined;

  constructor(code: string, message: string, options: QuorateErrorOptions = {}) {
    super(code, message, options);
    this.sqlState = sqlStateOf(options.cause);
  }
}

/**
 * The connection was lost during COMMIT: the transaction took effect or it did not, and this side cannot know.
 * It is never retried here. Look for a trace of the transaction, or make it one that may happen twice.
 * Code `UNKNOWN_OUTCOME`.
 */
export class UnknownOutcomeError extends SqlError {
  static override readonly brand: string = '@quorate/sql#UnknownOutcomeError';

  constructor(cause: unknown) {
    super('UNKNOWN_OUTCOME', 'the connection was lost during COMMIT; whether it took effect is not known', {
      cause,
    });
  }
}

/**
 * The server had already rolled the transaction back, although its work went on as if nothing had happened: an
 * error inside was caught and dropped. Nothing took effect. Let the error pass, or wrap what may fail in a
 * savepoint. Code `TRANSACTION_ABORTED`; `cause` is the first error inside, when there was one.
 */
export class TransactionAbortedError extends SqlError {
  static override readonly brand: string = '@quorate/sql#TransactionAbortedError';

  constructor(cause: unknown) {
    super(
      'TRANSACTION_ABORTED',
      'the server rolled the transaction back after an error that its work caught; nothing took effect',
      cause === undefined ? {} : { cause },
    );
  }
}

/**
 * A transaction was used in a way it cannot be: after its end, from two savepoints at once, or around itself.
 * Codes `TRANSACTION_ENDED`, `SAVEPOINT_BUSY`, `TRANSACTION_NESTED`.
 */
export class TransactionMisuseError extends SqlError {
  static override readonly brand: string = '@quorate/sql#TransactionMisuseError';
}
