import type { LockBackend } from '@quorate/distributed-lock';
import type { SqlDatabase } from '@quorate/sql';
import { leaseRows, type NotifiedLeaseRowsOptions } from './lease-rows.js';

export { fenceGuard } from './fence-guard.js';
export {
  type HandOverListener,
  leaseRowsCapabilities,
  type LeaseRowsOptions,
  type NotifiedLeaseRowsOptions,
  notifiedLeaseRowsCapabilities,
  pruneLeases,
  type PruneLeasesOptions,
} from './lease-rows.js';
export { lockMigrations } from './lock-sql.js';
export { sessionLockBackend, sessionLockCapabilities } from './postgres-session.js';
export { type RowFilter, type RowLockOptions, type TableName, withRowLock } from './row-lock.js';
export { transactionLock, type TransactionLockOptions } from './transaction-lock.js';
export type { SessionLocksOptions } from './session-locks.js';
export { advisoryId } from './core/advisory-id.js';

/**
 * Locks as rows of the table `quorate_lock`, which `migrate(db, { name: 'quorate_lock', migrations: lockMigrations })`
 * makes. They outlive connections and restarts; a lock is kept by renewing it, by the clock of the server. The server's
 * clock must not be set back by more than a lease is long.
 *
 * It takes two statements to acquire and two to release, each with a commit for the second of them, and no connection in
 * between; it works through any pooler. With a `listener`, waiting claims are told when they are granted.
 */
export function leaseRowBackend(db: SqlDatabase, options: NotifiedLeaseRowsOptions = {}): LockBackend {
  return leaseRows(db, 'postgres', options);
}
