import { DeadlockError, LockBackendError, LockTimeoutError } from '@quorate/distributed-lock';
import { describeValue, InvalidOptionError } from '@quorate/runtime';
import {
  type Dialect,
  isDeadlock,
  isLockTimeout,
  isUndefinedTable,
  type Migration,
  type SqlConnection,
  type SqlDatabase,
} from '@quorate/sql';
import { sql } from './sql.gen.js';

/**
 * The tables of this package, for `migrate` of `@quorate/sql` under the name `quorate_lock`: lease rows, fences and
 * guards. One set for all backends over SQL.
 */
export const lockMigrations: readonly Migration[] = Object.freeze([
  {
    id: 1,
    name: 'leases, fences, guards',
    sql: { postgres: sql['lock-1.postgres'], mysql: sql['lock-1.mysql'] },
  },
]);

/** Refuses what is no database, and one that speaks another dialect. */
export function databaseOption(name: string, db: unknown, dialect?: Dialect): SqlDatabase {
  const given = connectionOption(name, db, dialect) as Partial<SqlDatabase>;
  if (typeof given.transaction !== 'function' || typeof given.session !== 'function')
    throw new InvalidOptionError(
      name,
      db,
      'a SqlDatabase, such as that of pgDatabase(pool) or mysqlDatabase(pool)',
    );
  return given as SqlDatabase;
}

/** Refuses what runs no statements, and what speaks another dialect. */
export function connectionOption(name: string, connection: unknown, dialect?: Dialect): SqlConnection {
  const given = connection as Partial<SqlConnection> | null | undefined;
  if (typeof given !== 'object' || given === null || typeof given.query !== 'function')
    throw new InvalidOptionError(name, connection, 'a SqlDatabase or SqlTransaction of @quorate/sql');
  if (dialect !== undefined && given.dialect !== dialect)
    throw new InvalidOptionError(`${name}.dialect`, given.dialect, dialect);
  if (given.dialect !== 'postgres' && given.dialect !== 'mysql')
    throw new InvalidOptionError(`${name}.dialect`, given.dialect, 'postgres or mysql');
  return given as SqlConnection;
}

/** A key as it is stored: its bytes, which no collation takes for those of another. */
export function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'utf8');
}

/** Checks a key that did not come through `createLocks`. */
export function sqlKeyOption(key: unknown): string {
  if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > 255 || /\p{Cs}/u.test(key))
    throw new InvalidOptionError('key', key, 'a string of 1 to 255 bytes of UTF-8 without lone surrogates');
  return key;
}

/** What an error of a driver means for a lock; any other passes as it is. */
export function asSqlLockError(key: string, waitMs: number, error: unknown): unknown {
  if (isDeadlock(error))
    return new DeadlockError(key, 'the server ended this transaction, which waited in a circle', {
      cause: error,
    });
  if (isLockTimeout(error)) return new LockTimeoutError(key, waitMs, { cause: error });
  if (isUndefinedTable(error)) {
    return new LockBackendError(
      key,
      `the tables of ${describeValue('quorate_lock')} are missing: run migrate(db, { name: 'quorate_lock', migrations: lockMigrations })`,
      { cause: error },
    );
  }
  return error;
}
