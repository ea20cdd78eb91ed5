import { LockTimeoutError } from '@quorate/distributed-lock';
import { InvalidOptionError, numberOption } from '@quorate/runtime';
import { isLockTimeout, type SqlTransaction } from '@quorate/sql';
import { advisoryId } from './core/advisory-id.js';
import { asSqlLockError, connectionOption, sqlKeyOption } from './lock-sql.js';

/** How to wait for the lock of a transaction. */
export interface TransactionLockOptions {
  /**
   * How long, in milliseconds; zero asks once.
   * @defaultValue for ever, or what `lock_timeout` the transaction has
   */
  readonly waitMs?: number;
  /**
   * Beside others who share it, and not beside those who do not.
   * @defaultValue false
   */
  readonly shared?: boolean;
}

/** The longest that PostgreSQL can wait. */
const MAX_WAIT_MS = 2 ** 31 - 1;

/**
 * Takes the lock of a key until the transaction ends, by commit, rollback or the end of its connection: the lock to use
 * where all that it protects is written in one PostgreSQL transaction. It needs no release, no lease and no fence, and
 * works through any pooler. It excludes `sessionLockBackend` on the same key; waiting transactions are served in order.
 *
 * @throws LockTimeoutError when `waitMs` is over: the lock is not held, and the transaction can go on. DeadlockError where
 * the server ended this transaction, which holds nothing any more; in a `db.transaction` it is run again.
 */
export async function transactionLock(
  tx: SqlTransaction,
  key: string,
  options: TransactionLockOptions = {},
): Promise<void> {
  connectionOption('tx', tx, 'postgres');
  if (typeof (tx as Partial<SqlTransaction>).savepoint !== 'function')
    throw new InvalidOptionError('tx', tx, 'a transaction under way, such as that of db.transaction');
  const id = advisoryId(sqlKeyOption(key));
  const { waitMs, shared = false } = options;
  if (typeof (shared as unknown) !== 'boolean')
    throw new InvalidOptionError('shared', shared, 'true or false');
  const suffix = shared ? '_shared' : '';
  try {
    if (waitMs === undefined || waitMs === Number.POSITIVE_INFINITY) {
      await tx.query(`select pg_advisory_xact_lock${suffix}($1)`, [id]);
    } else if (numberOption('waitMs', waitMs, { max: MAX_WAIT_MS }) === 0) {
      const { rows } = await tx.query<{ taken: boolean }>(
        `select pg_try_advisory_xact_lock${suffix}($1) as taken`,
        [id],
      );
      if (rows[0]?.taken !== true) throw new LockTimeoutError(key, 0);
    } else {
      // The savepoint undoes the setting and the error; the lock is let go with a savepoint that is rolled back only.
      await tx.savepoint(async (inner) => {
        const { rows } = await inner.query<{ before: string }>(
          `select current_setting('lock_timeout') as before, set_config('lock_timeout', $1, true)`,
          [String(Math.max(1, Math.ceil(waitMs)))],
        );
        await inner.query(`select pg_advisory_xact_lock${suffix}($1)`, [id]);
        await inner.query(`select set_config('lock_timeout', $1, true)`, [rows[0]?.before]);
      });
    }
  } catch (error) {
    throw isLockTimeout(error)
      ? new LockTimeoutError(key, waitMs ?? 0, { cause: error })
      : asSqlLockError(key, 0, error);
  }
}
