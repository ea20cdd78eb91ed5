import type { LockBackend } from '@quorate/distributed-lock';
import type { SqlDatabase } from '@quorate/sql';
import { leaseRows, type LeaseRowsOptions } from './lease-rows.js';

export { fenceGuard } from './fence-guard.js';
export {
  leaseRowsCapabilities,
  type LeaseRowsOptions,
  pruneLeases,
  type PruneLeasesOptions,
} from './lease-rows.js';
export { lockMigrations } from './lock-sql.js';
export { namedLockBackend, namedLockCapabilities, type NamedLocksOptions } from './mysql-session.js';
export { type RowFilter, type RowLockOptions, type TableName, withRowLock } from './row-lock.js';
export type { SessionLocksOptions } from './session-locks.js';

/**
 * Locks as rows of the table `quorate_lock`, which `migrate(db, { name: 'quorate_lock', migrations: lockMigrations })`
 * makes; for MySQL and MariaDB. They outlive connections and restarts; a lock is kept by renewing it, by the clock of the
 * server. The server's clock must not be set back by more than a lease is long.
 *
 * It takes two statements to acquire and two to release, and no connection in between. Waiting claims ask how they stand.
 */
export function leaseRowBackend(db: SqlDatabase, options: LeaseRowsOptions = {}): LockBackend {
  return leaseRows(db, 'mysql', options);
}
