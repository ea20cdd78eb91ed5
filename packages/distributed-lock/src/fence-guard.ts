import { StaleFenceError } from '@quorate/distributed-lock';
import { integerOption } from '@quorate/runtime';
import { type SqlTransaction, toSafeInteger } from '@quorate/sql';
import { asSqlLockError, connectionOption, keyBytes, sqlKeyOption } from './lock-sql.js';
import { sql } from './sql.gen.js';

/**
 * Refuses what a former holder writes: call it in the transaction that writes, before the first write. It throws
 * `StaleFenceError` if a transaction with a higher fence for the key was committed; let that roll this one back.
 * Otherwise the guard of the key is raised to `fence` and stays locked until the transaction ends, so that a later holder
 * writes after this transaction, and an earlier one never again.
 *
 * It holds whatever became of the lock, and costs one statement (two in MySQL). Where what is protected is one row, a
 * column of it does the same in the statement that writes: `update … set …, fence = $1 where id = $2 and fence <= $1`.
 *
 * The idea is M. Kleppmann's, "How to do distributed locking" (2016).
 */
export async function fenceGuard(tx: SqlTransaction, key: string, fence: number): Promise<void> {
  const { dialect } = connectionOption('tx', tx);
  const bytes = keyBytes(sqlKeyOption(key));
  integerOption('fence', fence, { min: 0 });
  try {
    if (dialect === 'postgres') {
      const { rowCount } = await tx.query(sql['guard.postgres'], [bytes, fence]);
      if (rowCount === 0) throw new StaleFenceError(key, fence);
      return;
    }
    await tx.query(sql['guard.mysql'], [bytes, fence, fence]);
    const { rows } = await tx.query<{ fence: unknown }>(sql['guard-read.mysql'], [bytes]);
    if (toSafeInteger(rows[0]?.fence) > fence) throw new StaleFenceError(key, fence);
  } catch (error) {
    throw asSqlLockError(key, 0, error);
  }
}
