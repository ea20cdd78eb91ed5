import { InvalidOptionError } from '@quorate/runtime';
import {
  createDatabase,
  type DatabaseOptions,
  type RunStatement,
  type Session,
  sqlConnection,
  type SqlDatabase,
} from '@quorate/sql';

/** What PGlite says of a statement. */
interface PgliteResult {
  readonly rows: unknown[];
  readonly affectedRows?: number;
}

/** A PGlite instance outside of, or a transaction of it inside of, a transaction. */
export interface PgliteQueryable {
  query(text: string, values?: unknown[]): Promise<PgliteResult>;
  exec(text: string): Promise<PgliteResult[]>;
}

/** An instance of PGlite. */
export interface PgliteClient extends PgliteQueryable {
  transaction<T>(work: (tx: PgliteQueryable) => Promise<T>): Promise<T>;
}

/**
 * A database over PGlite, PostgreSQL inside this process. It has one connection: transactions and statements take
 * turns, and nothing can interrupt a statement under way. All its users share one session, so advisory locks do
 * not tell them apart: never use it for locks, leaders or queues between instances of a service.
 */
export function pgliteDatabase(pglite: PgliteClient, options: DatabaseOptions = {}): SqlDatabase {
  if (typeof (pglite as Partial<PgliteClient> | undefined)?.transaction !== 'function') {
    throw new InvalidOptionError('pglite', pglite, 'an instance of PGlite');
  }
  return createDatabase(
    {
      dialect: 'postgres',
      single: true,
      run: runOn(pglite),
      acquire: () => Promise.resolve(session(pglite)),
    },
    options,
  );
}

function runOn(pglite: PgliteQueryable): RunStatement {
  return async (text, values) => {
    // Without values several statements may stand in one text, as with pg; the last one speaks for them.
    const result =
      values === undefined ? (await pglite.exec(text)).at(-1) : await pglite.query(text, [...values]);
    const rows = result?.rows ?? [];
    return { rows, rowCount: rows.length > 0 ? rows.length : result?.affectedRows };
  };
}

/**
 * PGlite runs a transaction as a callback: it is entered at the beginning and left at the end, by a promise that
 * COMMIT resolves and ROLLBACK rejects.
 */
function session(pglite: PgliteClient): Session {
  let connection = sqlConnection('postgres', runOn(pglite));
  let leave: ((outcome: 'commit' | 'rollback') => Promise<void>) | undefined;

  const enter = (): Promise<void> =>
    new Promise<void>((entered, failed) => {
      const rolledBack = new Error('rolled back');
      const left = pglite.transaction(
        (tx) =>
          new Promise<void>((commit, rollback) => {
            connection = sqlConnection('postgres', runOn(tx));
            leave = async (outcome) => {
              leave = undefined;
              if (outcome === 'commit') commit();
              else rollback(rolledBack);
              await left.catch((error: unknown) => {
                if (error !== rolledBack) throw error;
              });
            };
            entered();
          }),
      );
      left.catch(failed);
    });

  return {
    query: (text, values) => connection.query(text, values),
    async begin({ isolation, readOnly = false }) {
      await enter();
      if (isolation !== undefined) await connection.query(`set transaction isolation level ${isolation}`);
      if (readOnly) await connection.query('set transaction read only');
    },
    async commit() {
      try {
        // An aborted transaction answers every statement with an error, and COMMIT with a rollback.
        await connection.query('select 1');
      } catch {
        await leave?.('rollback');
        return 'ROLLBACK';
      }
      await leave?.('commit');
      return 'COMMIT';
    },
    async rollback() {
      await leave?.('rollback');
    },
    undoneBy: () => false,
    cancel() {},
    release() {
      // Given up in the middle: it is rolled back as soon as the statement under way has ended.
      leave?.('rollback').catch(() => undefined);
    },
  };
}
