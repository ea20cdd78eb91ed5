import { choiceOption, functionOption, integerOption, InvalidOptionError } from '@quorate/runtime';
import {
  type Dialect,
  isDeadlock,
  isLockTimeout,
  quoteIdentifier,
  type SqlConnection,
  type SqlRow,
  type SqlTransaction,
} from '@quorate/sql';
import { asSqlLockError, connectionOption } from './lock-sql.js';

/** A table: its name, or a path such as `['schema', 'table']`. Quoted, and taken literally. */
export type TableName = string | readonly [string, ...string[]];

/** Columns and what they must be equal to; `null` means that there is no value. At least one. */
export type RowFilter = Readonly<Record<string, unknown>>;

/** Which rows are locked, and in what way. */
export interface RowLockOptions {
  /**
   * What to do about rows that are locked: `wait` for them (as long as the server has it wait), throw at once (`nowait`),
   * or leave them out (`skip-locked`).
   * @defaultValue wait
   */
  readonly wait?: 'wait' | 'nowait' | 'skip-locked';
  /**
   * `update` keeps out everybody else who locks or writes; `share` only those who write. PostgreSQL has two weaker ones
   * for rows that others refer to.
   * @defaultValue update
   */
  readonly mode?: 'update' | 'share' | 'no-key-update' | 'key-share';
  /** The column that they are locked in the order of: with a limit which come first, without one a defence against deadlocks. */
  readonly orderBy?: string;
  /** The most rows to lock. */
  readonly limit?: number;
}

/**
 * Locks rows of a table (SELECT … FOR UPDATE) and runs `work` with them, in a transaction that is under way; they stay
 * locked until it ends. `work` gets no rows where none fits, or with `skip-locked` where all are locked.
 *
 * @throws LockTimeoutError where `nowait` found a locked row, or the server's lock timeout ran out; DeadlockError where the
 * server ended this transaction (in a `db.transaction` it is run again). PostgreSQL undoes the transaction with either.
 */
export async function withRowLock<T, Row extends object = SqlRow>(
  tx: SqlTransaction,
  table: TableName,
  where: NoInfer<Readonly<Partial<Row>>>,
  options: RowLockOptions,
  work: (rows: readonly Row[]) => T | PromiseLike<T>,
): Promise<T> {
  functionOption('work', work);
  return work(await lockRows<Row>(tx, table, where, options));
}

/** Locks rows, and resolves with them. */
export async function lockRows<Row>(
  tx: SqlTransaction,
  table: TableName,
  where: RowFilter,
  options: RowLockOptions,
): Promise<readonly Row[]> {
  const { dialect } = connectionOption('tx', tx);
  if (typeof (tx as Partial<SqlTransaction>).savepoint !== 'function')
    throw new InvalidOptionError('tx', tx, 'a transaction under way, such as that of db.transaction');
  const { text, values } = whereClause(dialect, where);
  const orderBy =
    options.orderBy === undefined ? '' : ` order by ${quoteIdentifier(dialect, options.orderBy)}`;
  const limit =
    options.limit === undefined ? '' : ` limit ${String(integerOption('limit', options.limit, { min: 1 }))}`;
  const lock = await lockClause(tx, options);
  const from = tableName(dialect, table);
  const what = `${from} where ${text}`;
  try {
    const { rows } = await tx.query<Row>(`select * from ${what}${orderBy}${limit} ${lock}`, values);
    return rows;
  } catch (error) {
    throw isDeadlock(error) || isLockTimeout(error) ? asSqlLockError(from, 0, error) : error;
  }
}

/** A table as it is written in a statement. */
export function tableName(dialect: Dialect, table: TableName): string {
  return typeof table === 'string' ? quoteIdentifier(dialect, table) : quoteIdentifier(dialect, ...table);
}

/** Conditions on columns, with placeholders from `$first` on. */
export function whereClause(
  dialect: Dialect,
  where: RowFilter,
  first = 1,
): { readonly text: string; readonly values: readonly unknown[] } {
  const entries =
    typeof (where as unknown) === 'object' && (where as unknown) !== null ? Object.entries(where) : [];
  if (entries.length === 0)
    throw new InvalidOptionError('where', where, 'columns and their values, at least one');
  const values: unknown[] = [];
  const conditions = entries.map(([column, value]) => {
    const quoted = quoteIdentifier(dialect, column);
    if (value === undefined)
      throw new InvalidOptionError(`where.${column}`, value, 'a value, or null for none');
    if (value === null) return `${quoted} is null`;
    values.push(value);
    return `${quoted} = ${placeholder(dialect, first + values.length - 1)}`;
  });
  return { text: conditions.join(' and '), values };
}

/** The placeholder of the value with that number, counted from 1. */
export function placeholder(dialect: Dialect, number: number): string {
  return dialect === 'postgres' ? `$${String(number)}` : '?';
}

const WAITS = ['wait', 'nowait', 'skip-locked'] as const;
const CLAUSES = { wait: '', nowait: ' nowait', 'skip-locked': ' skip locked' } as const;

async function lockClause(tx: SqlConnection, options: RowLockOptions): Promise<string> {
  const postgres = tx.dialect === 'postgres';
  const wait = choiceOption('wait', options.wait ?? 'wait', WAITS);
  const mode = choiceOption(
    'mode',
    options.mode ?? 'update',
    postgres ? (['update', 'share', 'no-key-update', 'key-share'] as const) : (['update', 'share'] as const),
  );
  if (postgres || mode === 'update') return `for ${mode.replaceAll('-', ' ')}${CLAUSES[wait]}`;
  // MariaDB has no FOR SHARE, and MySQL takes LOCK IN SHARE MODE only as it was in old times.
  if (wait === 'wait') return 'lock in share mode';
  const { rows } = await tx.query<{ version: string }>('select version() as version');
  const maria = String(rows[0]?.version).includes('MariaDB');
  return `${maria ? 'lock in share mode' : 'for share'}${CLAUSES[wait]}`;
}
