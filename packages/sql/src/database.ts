import { AsyncLocalStorage } from 'node:async_hooks';
import { abortable, type Runtime, systemRuntime } from '@quorate/runtime';
import type {
  Dialect,
  SessionOptions,
  SqlConnection,
  SqlDatabase,
  SqlResult,
  SqlTransaction,
  TransactionOptions,
} from './contract.js';
import { TransactionMisuseError } from './errors.js';
import type { SessionSource } from './session.js';
import { runSession, runTransaction } from './transaction.js';

/** Runs one statement and says what came of it. */
export type RunStatement = (
  text: string,
  values: readonly unknown[] | undefined,
) => Promise<{
  readonly rows: readonly unknown[];
  readonly rowCount?: number | null | undefined;
  readonly command?: string | undefined;
}>;

/**
 * Makes a connection of anything that runs statements, such as the transaction of a query builder. Nothing is
 * begun or ended: what runs through it belongs to whatever `run` runs it in.
 */
export function sqlConnection(dialect: Dialect, run: RunStatement): SqlConnection {
  return {
    dialect,
    async query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
      const { rows, rowCount, command } = await run(text, values);
      return { rows: rows as Row[], rowCount: rowCount ?? rows.length, command };
    },
  };
}

/** What the adapter of a driver provides; {@link createDatabase} does the rest. */
export interface SqlDriver extends SessionSource {
  /** Runs a statement outside of any transaction. */
  readonly run: RunStatement;
  /** There is one connection for everything, so that statements wait for a transaction to end. */
  readonly single: boolean;
}

/** What every adapter's database takes. */
export interface DatabaseOptions {
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** Makes a database of a driver: the way to write an adapter for another one. */
export function createDatabase(
  driver: SqlDriver,
  { runtime = systemRuntime }: DatabaseOptions = {},
): SqlDatabase {
  return driver.single ? new SingleDatabase(driver, runtime) : new PooledDatabase(driver, runtime);
}

class PooledDatabase implements SqlDatabase {
  readonly #connection: SqlConnection;

  constructor(
    protected readonly driver: SqlDriver,
    protected readonly runtime: Runtime,
  ) {
    this.#connection = sqlConnection(driver.dialect, driver.run);
  }

  get dialect(): Dialect {
    return this.driver.dialect;
  }

  query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.#connection.query<Row>(text, values);
  }

  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    return runTransaction(this.driver, this.runtime, work, options);
  }

  session<T>(work: (connection: SqlConnection) => Promise<T>, options: SessionOptions = {}): Promise<T> {
    return runSession(this.driver, work, options);
  }
}

/**
 * One connection for everything: transactions and statements take turns. A transaction whose work waits for the
 * database around it would wait for itself; that is an error instead.
 */
class SingleDatabase extends PooledDatabase {
  readonly #inside = new AsyncLocalStorage<{ active: boolean }>();
  #lastTurn: Promise<void> = Promise.resolve();

  override async query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.#inTurn(undefined, () => super.query<Row>(text, values));
  }

  override async transaction<T>(
    work: (tx: SqlTransaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    return this.#inTurn(options.signal, () => super.transaction(work, options));
  }

  override async session<T>(
    work: (connection: SqlConnection) => Promise<T>,
    options: SessionOptions = {},
  ): Promise<T> {
    return this.#inTurn(options.signal, () => super.session(work, options));
  }

  /** Runs `turn` once all turns before it have ended. */
  async #inTurn<T>(signal: AbortSignal | undefined, turn: () => Promise<T>): Promise<T> {
    if (this.#inside.getStore()?.active === true) {
      throw new TransactionMisuseError(
        'TRANSACTION_NESTED',
        'this database has one connection, and its transaction is the one this is called in: use the ' +
          'transaction that work was given, and its savepoint() to nest',
      );
    }
    const before = this.#lastTurn;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#lastTurn = before.then(() => ended);
    const inside = { active: true };
    try {
      await abortable(before, signal);
      return await this.#inside.run(inside, turn);
    } finally {
      inside.active = false;
      end();
    }
  }
}
