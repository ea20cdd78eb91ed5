import { type EventChannel, randomId, systemRuntime } from '@quorate/runtime';
import {
  migrate,
  type SessionOptions,
  type SqlConnection,
  type SqlDatabase,
  type SqlResult,
  type SqlRow,
  type SqlTransaction,
  type TransactionOptions,
} from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { barrierMigrations, tccSagaMigrations } from '@quorate/tcc-saga';
import { freshDatabase } from '@quorate/testing';
import { Pool } from 'pg';

/** A database with the tables of this package. */
export interface TestDatabase {
  readonly url: string;
  readonly pool: Pool;
  readonly db: SqlDatabase;
  drop(): Promise<void>;
}

/** A pool whose connections may be ended by the server. */
export function testPool(url: string): Pool {
  const pool = new Pool({ connectionString: url, max: 20 });
  // Ending the pool does not wait for its sockets, and dropping the database closes those for it.
  const ignore = (): void => undefined;
  pool.on('error', ignore);
  pool.on('connect', (client) => client.on('error', ignore));
  return pool;
}

export async function sagaDatabase(): Promise<TestDatabase> {
  const fresh = await freshDatabase('postgres');
  const pool = testPool(fresh.url);
  const db = pgDatabase(pool);
  await migrate(db, { name: 'quorate_tcc_saga', migrations: tccSagaMigrations });
  await migrate(db, { name: 'quorate_barrier', migrations: barrierMigrations });
  return {
    url: fresh.url,
    pool,
    db,
    async drop() {
      await pool.end();
      await fresh.drop();
    },
  };
}

/** Resolves with the first message that fits, from now on. */
export function nextEvent<T>(channel: EventChannel<T>, fits: (message: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    const leave = channel.subscribe((message) => {
      if (!fits(message)) return;
      leave();
      resolve(message);
    });
  });
}

/** A database that notes its round trips. */
export class CountingDatabase implements SqlDatabase {
  readonly dialect;
  /** The first words of each statement that was answered. */
  readonly statements: string[] = [];
  readonly #db: SqlDatabase;
  readonly #waiting: (() => void)[] = [];

  constructor(db: SqlDatabase) {
    this.#db = db;
    this.dialect = db.dialect;
  }

  query<Row = SqlRow>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    return this.#noting(this.#db).query<Row>(text, values);
  }

  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return this.#db.transaction(async (tx) => {
      this.#note('begin');
      const result = await work({
        ...this.#noting(tx),
        savepoint: (inner) => tx.savepoint(inner),
      });
      this.#note('commit');
      return result;
    }, options);
  }

  session<T>(work: (connection: SqlConnection) => Promise<T>, options?: SessionOptions): Promise<T> {
    return this.#db.session((connection) => work(this.#noting(connection)), options);
  }

  /** Resolves when one more statement was answered. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #noting(connection: SqlConnection): SqlConnection {
    return {
      dialect: connection.dialect,
      query: async <Row>(text: string, values?: readonly unknown[]) => {
        const result = await connection.query<Row>(text, values);
        const words = text
          .replaceAll(/^--.*$/gm, '')
          .trim()
          .split(/\s+/);
        this.#note(words.slice(0, 3).join(' '));
        return result;
      },
    };
  }

  #note(statement: string): void {
    this.statements.push(statement);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A promise and its ends. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
} {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((accept) => {
    resolve = accept;
  });
  return { promise, resolve };
}

/** An id that no other test uses. */
export function uniqueId(prefix: string): string {
  return `${prefix}-${randomId(systemRuntime)}`;
}
