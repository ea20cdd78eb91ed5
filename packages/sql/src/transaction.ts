import {
  abortable,
  backoff,
  choiceOption,
  functionOption,
  integerOption,
  numberOption,
  type Runtime,
  sleep,
} from '@quorate/runtime';
import type {
  Dialect,
  SessionOptions,
  SqlConnection,
  SqlResult,
  SqlTransaction,
  TransactionOptions,
} from './contract.js';
import { isDefiniteCommitFailure, isRetryable } from './core/classify.js';
import { TransactionAbortedError, TransactionMisuseError, UnknownOutcomeError } from './errors.js';
import type { Session, SessionSource } from './session.js';

const ISOLATION_LEVELS = ['read committed', 'repeatable read', 'serializable'] as const;
const DEFAULT_RETRY = { retries: 5, minMs: 10, maxMs: 1000 };

/** Runs `work` in a transaction, again and again while the server itself rolls it back and retries are left. */
export async function runTransaction<T>(
  source: SessionSource,
  runtime: Runtime,
  work: (tx: SqlTransaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const { retries, minMs, maxMs } = checkOptions(work, options);
  const delays = backoff(runtime, { minMs, maxMs });
  for (;;) {
    try {
      return await attempt(source, work, options);
    } catch (error) {
      if (delays.attempts >= retries || !isRetryable(error) || error instanceof UnknownOutcomeError)
        throw error;
    }
    await sleep(runtime, delays.nextMs(), { signal: options.signal });
  }
}

/** Runs `work` on a connection that it shares with nobody; ends the connection when `work` fails. */
export async function runSession<T>(
  source: SessionSource,
  work: (connection: SqlConnection) => Promise<T>,
  { signal, onLost }: SessionOptions,
): Promise<T> {
  functionOption('work', work);
  if (onLost !== undefined) functionOption('onLost', onLost);
  signal?.throwIfAborted();
  const session = await source.acquire(signal);
  let inFlight = 0;
  let ended = false;
  if (onLost !== undefined) {
    session.onLost?.((error) => {
      if (!ended) onLost(error);
    });
  }
  const connection: SqlConnection = {
    dialect: source.dialect,
    async query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
      if (ended) throw endedError('session');
      inFlight++;
      try {
        return (await session.query(text, values)) as SqlResult<Row>;
      } finally {
        inFlight--;
      }
    },
  };
  try {
    const result = await abortable(work(connection), signal);
    ended = true;
    session.release();
    return result;
  } catch (error) {
    ended = true;
    if (inFlight > 0) session.cancel();
    session.release(asError(error));
    throw error;
  }
}

function checkOptions(work: unknown, options: TransactionOptions): typeof DEFAULT_RETRY {
  functionOption('work', work);
  if (options.isolation !== undefined) choiceOption('isolation', options.isolation, ISOLATION_LEVELS);
  const { retry } = options;
  const chosen = typeof retry === 'object' ? { ...DEFAULT_RETRY, ...retry } : DEFAULT_RETRY;
  const retries = typeof retry === 'number' ? retry : chosen.retries;
  const minMs = numberOption('retry.minMs', chosen.minMs);
  return {
    retries: integerOption(typeof retry === 'number' ? 'retry' : 'retry.retries', retries),
    minMs,
    maxMs: numberOption('retry.maxMs', chosen.maxMs, { min: minMs }),
  };
}

async function attempt<T>(
  source: SessionSource,
  work: (tx: SqlTransaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const { signal } = options;
  signal?.throwIfAborted();
  const session = await source.acquire(signal);
  const transaction = new Transaction(source.dialect, session);
  try {
    await abortable(
      transaction.own(() => session.begin(options)),
      signal,
    );
    const result = await abortable(work(transaction.handle()), signal);
    signal?.throwIfAborted();
    await transaction.commit(signal);
    return result;
  } catch (error) {
    await transaction.abandon(error);
    throw error;
  }
}

/**
 * A transaction on a session, which it gives back exactly once: after COMMIT, after ROLLBACK, or broken.
 *
 * A connection is broken, and never goes back to a pool, when COMMIT or ROLLBACK failed or when it was given up
 * while a statement was under way: what the server is doing on it is then unknown.
 */
class Transaction {
  #inFlight = 0;
  #ended = false;
  /** The first error inside that no savepoint undid: PostgreSQL answers nothing but errors from then on. */
  #failure: unknown;
  /** Set once there is nothing left to commit: further statements could run outside of the transaction. */
  #undone = false;

  constructor(
    readonly dialect: Dialect,
    readonly session: Session,
  ) {}

  handle(depth = 0): SqlTransaction {
    return new TransactionHandle(this, depth);
  }

  async query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    if (this.#ended) throw endedError('transaction');
    if (this.#undone) throw new TransactionAbortedError(this.#failure);
    try {
      return (await this.own(() => this.session.query(text, values))) as SqlResult<Row>;
    } catch (error) {
      this.#failure ??= error;
      if (await this.session.undoneBy(error)) this.#undone = true;
      throw error;
    }
  }

  /** Runs a statement and knows, while it runs, that it does. */
  async own<T>(statement: () => Promise<T>): Promise<T> {
    this.#inFlight++;
    try {
      return await statement();
    } finally {
      this.#inFlight--;
    }
  }

  async commit(signal: AbortSignal | undefined): Promise<void> {
    if (this.#undone) throw new TransactionAbortedError(this.#failure);
    this.#ended = true;
    let command: string | undefined;
    try {
      command = await abortable(this.session.commit(), signal);
    } catch (error) {
      this.session.release(asError(error));
      throw isDefiniteCommitFailure(error) ? error : new UnknownOutcomeError(error);
    }
    this.session.release();
    // PostgreSQL answers the COMMIT of an aborted transaction with the tag ROLLBACK and no error.
    if (command === 'ROLLBACK') throw new TransactionAbortedError(this.#failure);
  }

  /** Rolls back what has not ended yet. Never throws: the error that led here is what counts. */
  async abandon(reason: unknown): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#inFlight > 0) {
      this.session.cancel();
      this.session.release(asError(reason));
      return;
    }
    try {
      await this.session.rollback();
    } catch (error) {
      this.session.release(asError(error));
      return;
    }
    this.session.release();
  }

  /** Undoes a savepoint, where there still is a transaction to undo it in. Never throws, as `abandon`. */
  async undo(savepoint: string, failureBefore: unknown): Promise<void> {
    if (this.#ended || this.#undone) return;
    try {
      await this.own(() => this.session.query(`rollback to savepoint ${savepoint}`));
      await this.own(() => this.session.query(`release savepoint ${savepoint}`));
      this.#failure = failureBefore;
    } catch {
      this.#undone = true;
    }
  }

  get failure(): unknown {
    return this.#failure;
  }
}

/** A transaction as its work sees it, at one depth of savepoints. */
class TransactionHandle implements SqlTransaction {
  #inSavepoint = false;

  constructor(
    private readonly transaction: Transaction,
    private readonly depth: number,
  ) {}

  get dialect(): Dialect {
    return this.transaction.dialect;
  }

  query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.transaction.query<Row>(text, values);
  }

  async savepoint<T>(work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
    functionOption('work', work);
    if (this.#inSavepoint) {
      throw new TransactionMisuseError(
        'SAVEPOINT_BUSY',
        'a savepoint of this transaction is still open: wait for it, or nest on the transaction it was given',
      );
    }
    this.#inSavepoint = true;
    const name = `quorate_${String(this.depth + 1)}`;
    const { transaction } = this;
    const failureBefore = transaction.failure;
    try {
      await transaction.query(`savepoint ${name}`);
      try {
        const result = await work(transaction.handle(this.depth + 1));
        await transaction.query(`release savepoint ${name}`);
        return result;
      } catch (error) {
        await transaction.undo(name, failureBefore);
        throw error;
      }
    } finally {
      this.#inSavepoint = false;
    }
  }
}

function endedError(what: 'session' | 'transaction'): TransactionMisuseError {
  return new TransactionMisuseError(
    'TRANSACTION_ENDED',
    `a statement came after the end of its ${what} and was not run; is an await missing?`,
  );
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
