import { InvalidOptionError } from '@quorate/runtime';
import type { SqlConnection, SqlDatabase } from '@quorate/sql';

/**
 * A transaction under way: a `SqlTransaction`, or the connection on which the caller began one. A whole database or
 * pool does not fit, since its statements do not share a transaction.
 */
export type Transaction = SqlConnection & { readonly transaction?: never };

/** Refuses a database where a transaction is needed, for callers that no compiler watches. */
export function checkTransaction(tx: Transaction, method: string): void {
  if (
    typeof (tx as Partial<SqlConnection> | undefined)?.query !== 'function' ||
    typeof (tx as Partial<SqlDatabase>).transaction === 'function'
  )
    throw new InvalidOptionError(
      'tx',
      tx,
      `the transaction that ${method} shall be part of, as in db.transaction((tx) => ${method}(tx, ...))`,
    );
}
