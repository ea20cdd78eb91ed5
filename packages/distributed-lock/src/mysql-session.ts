import type { LockBackend, LockCapabilities } from '@quorate/distributed-lock';
import { LockBackendError } from '@quorate/distributed-lock';
import { describeValue, identifierOption } from '@quorate/runtime';
import type { SqlConnection, SqlDatabase } from '@quorate/sql';
import { namedLockId } from './core/advisory-id.js';
import type { SessionDialect, SessionOperation } from './pinned-session.js';
import { SessionLocks, type SessionLocksOptions } from './session-locks.js';

/**
 * What `GET_LOCK` promises: it ends with the connection, at once, and has no fence. Waiting claims try again; one
 * connection is enough for all locks of a process.
 */
export const namedLockCapabilities: LockCapabilities = Object.freeze({
  fencing: 'none',
  fifo: false,
  waiting: 'retry',
  releasedOnCrash: 'session',
  safety: 'single-node',
  modes: Object.freeze(['exclusive'] as const),
  upgrade: false,
  downgrade: false,
  leaseMs: Object.freeze({ min: 10, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

const MARK = '@quorate_lock_session';

/**
 * Names and marks are hexadecimal, made by this package: they stand in the text, because a statement with so many values
 * as there happen to be locks would be prepared anew each time.
 */
const session: SessionDialect = {
  async mark(connection, token) {
    if (token !== '') await checkVersion(connection);
    const before = await session.readMark(connection);
    await connection.query(`set ${MARK} = ${token === '' ? 'null' : `'${hex(token)}'`}`);
    return before;
  },
  async readMark(connection) {
    const { rows } = await connection.query<{ mark: string | null }>(`select ${MARK} as mark`);
    return rows[0]?.mark ?? undefined;
  },
  async perform(connection, token, operations) {
    const mark = `${MARK} = '${hex(token)}'`;
    const columns = operations.map(
      (operation, index) => `if(${mark}, ${call(operation)}, -1) as r${String(index)}`,
    );
    const { rows } = await connection.query<Record<string, unknown>>(`select ${columns.join(', ')}`);
    return operations.map(({ kind, id }, index) => {
      const result = rows[0]?.[`r${String(index)}`];
      if (result === null && kind === 'lock') {
        throw new LockBackendError(
          undefined,
          `GET_LOCK(${describeValue(id)}) returned NULL: the server failed, or the statement was killed`,
        );
      }
      // NULL: nobody had a lock of that name.
      return Number(result) === -1 ? undefined : Number(result);
    });
  },
};

function call({ kind, id }: SessionOperation): string {
  switch (kind) {
    case 'lock':
      return `get_lock('${id}', 0)`;
    case 'unlock':
      return `release_lock('${id}')`;
    default:
      return '1';
  }
}

function hex(token: string): string {
  if (!/^[0-9a-z]*$/i.test(token)) throw new TypeError(`unreachable: the mark ${token} is ours`);
  return token;
}

/** Refuses servers on which a session has one lock, and loses it without a word when it takes another. */
async function checkVersion(connection: SqlConnection): Promise<void> {
  const { rows } = await connection.query<{ version: string }>('select version() as version');
  const version = String(rows[0]?.version);
  const [, major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  const least = version.includes('MariaDB') ? 10_002 : 5_007;
  if (major * 1000 + minor < least) {
    throw new LockBackendError(
      undefined,
      `${describeValue(version)} keeps one GET_LOCK for each session: MySQL 5.7 or MariaDB 10.2 is needed`,
    );
  }
}

/**
 * Named locks (`GET_LOCK`) of MySQL and MariaDB, all of them on one connection that the backend takes from the pool and
 * keeps; it asks for a second one for a moment when it begins. A release, or the end of the connection, frees a lock at
 * once; when the connection is lost or killed, all its leases are told so. A statement that fails on it ends it, so that
 * nothing is left behind.
 *
 * Locks belong to the whole server: their names are hashes of `scope` and the key. There is no fence: take lease rows
 * where a former holder must not write. `leaseMs` says no more than how often the session is asked whether it lives.
 *
 * It refuses a proxy that spreads the statements of a session over several connections of the server, with
 * `LockBackendError`.
 */
export function namedLockBackend(db: SqlDatabase, options: NamedLocksOptions = {}): LockBackend {
  const scope = identifierOption('scope', options.scope ?? 'quorate-lock');
  const kind = {
    name: 'named-locks',
    dialect: 'mysql',
    capabilities: namedLockCapabilities,
    session,
    lockId: (key: string) => namedLockId(scope, key),
  } as const;
  return new SessionLocks(db, kind, options);
}

/** What named locks take. */
export interface NamedLocksOptions extends SessionLocksOptions {
  /**
   * Tells apart the keys of services that share a server.
   * @defaultValue quorate-lock
   */
  readonly scope?: string;
}
