import type { LockBackend } from '@quorate/distributed-lock';
import { VersionConflictError } from '@quorate/distributed-lock';
import {
  type BackoffOptions,
  backoff,
  describeValue,
  functionOption,
  integerOption,
  InvalidOptionError,
  type Runtime,
  sleep,
  systemRuntime,
} from '@quorate/runtime';
import {
  isRetryable,
  quoteIdentifier,
  type SqlConnection,
  type SqlDatabase,
  type SqlRow,
  type SqlTransaction,
  toSafeInteger,
} from '@quorate/sql';
import { RowHeat } from './core/heat.js';
import { leaseRows, type LeaseRowsOptions } from './lease-rows.js';
import { databaseOption } from './lock-sql.js';
import { lockRows, placeholder, type RowFilter, tableName, type TableName, whereClause } from './row-lock.js';

export {
  leaseRowsCapabilities,
  type LeaseRowsOptions,
  pruneLeases,
  type PruneLeasesOptions,
} from './lease-rows.js';
export { lockMigrations } from './lock-sql.js';
export type { RowFilter, TableName } from './row-lock.js';

/** How a row is updated. */
export interface UpdateWithVersionOptions {
  /**
   * The column that the id is in, where the id is not an object of columns.
   * @defaultValue id
   */
  readonly idColumn?: string;
  /**
   * An integer column of the row that every writer raises.
   * @defaultValue version
   */
  readonly versionColumn?: string;
  /**
   * How often it is tried again after somebody else was quicker; then `VersionConflictError`.
   * @defaultValue 20
   */
  readonly retries?: number;
  /** The pauses between attempts. By default up to 1 ms at first, growing to 100 ms, with full jitter. */
  readonly backoff?: BackoffOptions;
  /**
   * After so many lost attempts the row counts as hot: this update and those that follow lock it. Zero locks at once,
   * Infinity never.
   * @defaultValue 2
   */
  readonly pessimisticAfter?: number;
  /** Ends the waiting between attempts; the error is its reason. */
  readonly signal?: AbortSignal;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** What became of an update. */
export type UpdateOutcome<Row> =
  /** The row as it is now, as far as the change tells, and its version. */
  | { readonly state: 'updated'; readonly row: Row; readonly version: number; readonly conflicts: number }
  /** The change answered `undefined`; nothing was written. */
  | { readonly state: 'unchanged'; readonly row: Row; readonly version: number; readonly conflicts: number }
  /** There is no such row. */
  | { readonly state: 'missing'; readonly conflicts: number };

const heats = new WeakMap<SqlDatabase, RowHeat>();

/**
 * Changes one row of your own table by compare-and-set on its version: it is read, `change` says what becomes of it, and
 * it is written only if nobody wrote it meanwhile; else all begins again. Afterwards the change was made on exactly the
 * row that `change` saw, once, or not at all.
 *
 * `change` gets the row and returns the columns to write, or `undefined` to leave it; it may run several times, and may be
 * asynchronous. All other writers of the row have to raise the version too. A row on which updates lose too often is hot:
 * it is then locked (SELECT … FOR UPDATE) instead, by this database object, until an update without a lock wins again.
 *
 * It takes two statements and no transaction; on a hot row, one transaction. What else is to be written with the row
 * belongs into a transaction of yours, with `withRowLock`.
 *
 * @throws VersionConflictError after `retries` lost attempts. What `change` throws passes as it is, and nothing was
 * written. Errors of statements are the driver's own; after one that lost its connection the outcome is unknown.
 */
export async function updateWithVersion<Row extends object = SqlRow>(
  db: SqlDatabase,
  table: TableName,
  id: unknown,
  change: (row: Row) => Partial<Row> | undefined | PromiseLike<Partial<Row> | undefined>,
  options: UpdateWithVersionOptions = {},
): Promise<UpdateOutcome<Row>> {
  databaseOption('db', db);
  functionOption('change', change);
  const { signal, runtime = systemRuntime } = options;
  const retries = integerOption('retries', options.retries ?? 20);
  const after = options.pessimisticAfter ?? 2;
  const pessimisticAfter =
    after === Number.POSITIVE_INFINITY ? after : integerOption('pessimisticAfter', after);
  const target = targetOf(db, table, id, options);
  const pauses = backoff(runtime, { minMs: 1, maxMs: 100, ...options.backoff });
  const heat = heatOf(db);
  const limit = heat.limit(target.name, pessimisticAfter);
  for (let conflicts = 0; ; conflicts++) {
    signal?.throwIfAborted();
    if (conflicts >= limit || (pessimisticAfter < Number.POSITIVE_INFINITY && heat.takeHot(target.name))) {
      if (conflicts >= limit) heat.heat(target.name);
      const outcome = await db.transaction((tx) => attempt(tx, target, change, true), signal && { signal });
      return { ...settled(outcome), conflicts };
    }
    const outcome = await attempt(db, target, change, false).catch((error: unknown) => {
      // Under REPEATABLE READ the server says so itself.
      if (isRetryable(error)) return 'conflict' as const;
      throw error;
    });
    if (outcome !== 'conflict') {
      if (conflicts === 0) heat.cool(target.name);
      return { ...outcome, conflicts };
    }
    if (conflicts >= retries) throw new VersionConflictError(target.name, conflicts + 1);
    if (conflicts + 1 < limit) await sleep(runtime, pauses.nextMs(), { signal });
  }
}

/**
 * Locks as rows of the table `quorate_lock`, in PostgreSQL, MySQL or MariaDB: claimed by an insert or a conditional
 * update, kept by renewing, by the clock of the server. The same as `leaseRowBackend` of `/postgres` and `/mysql`, for a
 * service that speaks both.
 */
export function leaseRowBackend(db: SqlDatabase, options: LeaseRowsOptions = {}): LockBackend {
  return leaseRows(db, undefined, options);
}

/** Which row, and how its statements are written. */
interface Target {
  readonly from: string;
  readonly table: TableName;
  readonly where: RowFilter;
  readonly versionColumn: string;
  /** For errors and the memory of hot rows. */
  readonly name: string;
}

function targetOf(
  { dialect }: SqlConnection,
  table: TableName,
  id: unknown,
  { idColumn = 'id', versionColumn = 'version' }: UpdateWithVersionOptions,
): Target {
  const byColumns = typeof id === 'object' && id !== null && Object.getPrototypeOf(id) === Object.prototype;
  if (id === undefined || id === null) throw new InvalidOptionError('id', id, 'the id of a row');
  const where = byColumns ? (id as RowFilter) : { [idColumn]: id };
  const from = tableName(dialect, table);
  quoteIdentifier(dialect, versionColumn);
  whereClause(dialect, where);
  return {
    from,
    table,
    where,
    versionColumn,
    name: `${from} ${describeValue(byColumns ? JSON.stringify(id) : id)}`,
  };
}

function heatOf(db: SqlDatabase): RowHeat {
  const heat = heats.get(db) ?? new RowHeat();
  heats.set(db, heat);
  return heat;
}

type Attempt<Row> =
  | { readonly state: 'updated' | 'unchanged'; readonly row: Row; readonly version: number }
  | { readonly state: 'missing' };

/** Under a lock nobody can have been quicker, but for a writer that does not take part in the transaction. */
function settled<Row>(outcome: Attempt<Row> | 'conflict'): Attempt<Row> {
  if (outcome === 'conflict') throw new Error('unreachable: the row was locked');
  return outcome;
}

async function attempt<Row extends object>(
  connection: SqlConnection | SqlTransaction,
  target: Target,
  change: (row: Row) => Partial<Row> | undefined | PromiseLike<Partial<Row> | undefined>,
  locked: boolean,
): Promise<Attempt<Row> | 'conflict'> {
  const { dialect } = connection;
  const { from, table, where, versionColumn } = target;
  const filter = whereClause(dialect, where);
  const rows = locked
    ? await lockRows<Row>(connection as SqlTransaction, table, where, {})
    : (await connection.query<Row>(`select * from ${from} where ${filter.text}`, filter.values)).rows;
  const [row] = rows;
  if (row === undefined) return { state: 'missing' };
  if (rows.length > 1) throw new InvalidOptionError('id', target.name, 'the id of one row');
  const version = versionOf(target, row);
  const columns = await change(row);
  if (columns === undefined) return { state: 'unchanged', row, version };
  const entries = Object.entries(checkedColumns(target, columns));
  const sets = entries.map(
    ([column], at) => `${quoteIdentifier(dialect, column)} = ${placeholder(dialect, at + 1)}`,
  );
  const quoted = quoteIdentifier(dialect, versionColumn);
  const values = entries.map(([, value]) => value);
  const rest = whereClause(dialect, where, values.length + 1);
  const last = placeholder(dialect, values.length + rest.values.length + 1);
  const { rowCount } = await connection.query(
    `update ${from} set ${[...sets, `${quoted} = ${quoted} + 1`].join(', ')} where ${rest.text} and ${quoted} = ${last}`,
    [...values, ...rest.values, version],
  );
  if (rowCount === 0) return 'conflict';
  return {
    state: 'updated',
    row: { ...row, ...columns, [versionColumn]: version + 1 },
    version: version + 1,
  };
}

function versionOf({ versionColumn, name }: Target, row: object): number {
  const value = (row as SqlRow)[versionColumn];
  if (value === undefined || value === null)
    throw new InvalidOptionError(
      'versionColumn',
      versionColumn,
      `an integer column that ${name} has a value in`,
    );
  return toSafeInteger(value);
}

function checkedColumns({ versionColumn, where }: Target, columns: unknown): SqlRow {
  if (typeof columns !== 'object' || columns === null || Array.isArray(columns))
    throw new InvalidOptionError(
      'change',
      columns,
      'a function that returns the columns to write, or undefined',
    );
  for (const [column, value] of Object.entries(columns)) {
    if (column === versionColumn || column in where)
      throw new InvalidOptionError('change', column, 'columns other than the version and the id');
    if (value === undefined) throw new InvalidOptionError(`change.${column}`, value, 'a value, or null');
  }
  return columns as SqlRow;
}
