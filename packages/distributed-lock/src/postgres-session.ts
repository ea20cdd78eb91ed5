import type { LockBackend, LockCapabilities } from '@quorate/distributed-lock';
import { type SqlDatabase, type SqlResult, toSafeInteger } from '@quorate/sql';
import { advisoryId } from './core/advisory-id.js';
import type { SessionDialect } from './pinned-session.js';
import { SessionLocks, type SessionLocksOptions } from './session-locks.js';
import { sql } from './sql.gen.js';

/**
 * What session advisory locks promise: they end with the connection, at once. Waiting claims try again; a process never
 * stands in a queue of the server, so that one connection is enough for all its locks.
 */
export const sessionLockCapabilities: LockCapabilities = Object.freeze({
  fencing: 'durable',
  fifo: false,
  waiting: 'retry',
  releasedOnCrash: 'session',
  safety: 'single-node',
  modes: Object.freeze(['exclusive', 'shared'] as const),
  upgrade: false,
  downgrade: false,
  leaseMs: Object.freeze({ min: 10, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

const MARK = 'quorate.lock_session';
const marked = (token: string): string => `current_setting('${MARK}', true) = ${token}`;
/** Prepared on the session: parsing and planning them would cost more than they do. */
const STATEMENTS = {
  lock: `(bigint, text) as select case when ${marked('$2')} then case when pg_try_advisory_lock($1) then nextval('quorate_lock_fence') else 0 end end as result`,
  unlock: `(bigint, text) as select case when ${marked('$2')} then pg_advisory_unlock($1)::int end as result`,
  ping: `(bigint, text) as select case when ${marked('$2')} then 1 end as result`,
};
const prepared = (kind: string): string => `quorate_lock_${kind}`;
const UNKNOWN_STATEMENT = '26000';
const INTEGER = /^-?\d+$/;

const session: SessionDialect = {
  async mark(connection, token) {
    // Fails where the sequence is missing, before anything was locked.
    const { rows } = await connection.query<{ before: string | null }>(
      `select current_setting('${MARK}', true) as before, set_config('${MARK}', $1, false), 'quorate_lock_fence'::regclass`,
      [token],
    );
    const before = rows[0]?.before ?? '';
    return before === '' ? undefined : before;
  },
  async readMark(connection) {
    const { rows } = await connection.query<{ mark: string | null }>(
      `select current_setting('${MARK}', true) as mark`,
    );
    return rows[0]?.mark ?? undefined;
  },
  async prepare(connection) {
    for (const [kind, text] of Object.entries(STATEMENTS))
      await connection.query(`prepare ${prepared(kind)} ${text}`);
  },
  async unprepare(connection) {
    for (const kind of Object.keys(STATEMENTS)) await connection.query(`deallocate ${prepared(kind)}`);
  },
  perform(connection, token, operations) {
    const [only] = operations;
    if (only !== undefined && operations.length === 1 && only.kind in STATEMENTS) {
      const id = only.id || '0';
      // An integer and a token of our own: EXECUTE takes no parameters.
      if (!INTEGER.test(id)) throw new TypeError(`unreachable: the id ${id} is ours`);
      const text = `execute ${prepared(only.kind)}(${id}, '${token}')`;
      return connection.query<Result>(text).then(numbers, (error: unknown) => {
        // It is not the session that it was prepared on.
        if ((error as { readonly code?: unknown }).code === UNKNOWN_STATEMENT) return [undefined];
        throw error;
      });
    }
    const kinds = operations.map(({ kind }) => kind);
    const ids = operations.map(({ id }) => id || '0');
    return connection.query<Result>(sql['session-batch.postgres'], [kinds, ids, token]).then(numbers);
  },
};

interface Result {
  readonly result: unknown;
}

function numbers({ rows }: SqlResult<Result>): (number | undefined)[] {
  return rows.map(({ result }) => (result === null ? undefined : toSafeInteger(result)));
}

/**
 * Session advisory locks, all of them on one connection that the backend takes from the pool and keeps; it asks for a
 * second one for a moment when it begins. The lock of a key is a number of 64 bits, by {@link advisoryId}: two keys with
 * one number exclude each other, and that is all. A release, or the end of the connection, frees it at once; when the
 * connection is lost, all its leases are told so. A statement that fails on it ends it, so that nothing is left behind.
 *
 * Fences come from the sequence `quorate_lock_fence`, which `lockMigrations` makes. `leaseMs` says no more than how often
 * the session is asked whether it lives.
 *
 * It refuses a pooler in transaction mode, such as PgBouncer, with `LockBackendError`: it marks its session, and takes
 * and frees nothing in a statement that does not find its mark.
 */
export function sessionLockBackend(db: SqlDatabase, options: SessionLocksOptions = {}): LockBackend {
  const kind = {
    name: 'session-locks',
    dialect: 'postgres',
    capabilities: sessionLockCapabilities,
    session,
    lockId: advisoryId,
  } as const;
  return new SessionLocks(db, kind, options);
}
