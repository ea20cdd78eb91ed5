import type { Dialect, SqlConnection, SqlDatabase, SqlTransaction } from './contract.js';
import { isUndefinedTable } from './core/classify.js';
import { quoteIdentifier } from './core/identifier.js';
import { toSafeInteger } from './core/integer.js';
import {
  type AppliedMigration,
  checkSetName,
  type Migration,
  MigrationError,
  pendingMigrations,
  type PreparedMigration,
  prepareMigrations,
} from './core/migrations.js';
import { sql } from './sql.gen.js';

/** A schema that grows by migrations. */
export interface MigrationSet {
  /** Tells the sets of one database apart, such as `quorate_outbox`. */
  readonly name: string;
  /** In order. */
  readonly migrations: readonly Migration[];
  /**
   * The PostgreSQL schema to work in. Made when it is not there; statements find it first, then `public`. In
   * MySQL a schema is a database: connect to the one you mean.
   * @defaultValue the first of the connection's search path
   */
  readonly schema?: string;
}

/** What {@link migrate} takes. */
export interface MigrateOptions extends MigrationSet {
  /** Ends the wait for another process that migrates, and gives up a migration under way. */
  readonly signal?: AbortSignal;
}

/** What {@link migrate} did. */
export interface MigrateResult {
  /** The migrations that this call ran to their end. */
  readonly applied: readonly number[];
}

/**
 * Locks belong to the whole server: the name carries the database. It is at most 64 characters long, alike in upper
 * and lower case, and hashed with SHA2, because MySQL has no SHA1 and MD5 from 9.6 on.
 */
const MYSQL_LOCK_NAME = `concat('quorate:', left(sha2(database(), 256), 40))`;
/** How long one call of GET_LOCK waits, in seconds; not for ever, so that no proxy takes the connection for dead. */
const GET_LOCK_SECONDS = 10;

/**
 * Brings a database to the latest version of a set of migrations. Forward only, and safe to call from any number
 * of processes at once, on every start: they take turns, and each migration runs once. When there is nothing to
 * do it costs one query and takes no lock.
 *
 * PostgreSQL: each migration runs in a transaction of its own together with the note that it ran, so that it ran
 * or it did not. MySQL and MariaDB commit at every DDL statement: progress is noted statement by statement, and
 * the next call goes on where a failed one stopped; only the statement during which a process died may run twice.
 *
 * @throws MigrationError `MIGRATION_CHANGED` when one that ran was changed since; `MIGRATION_OUT_OF_ORDER` when
 * one was inserted before one that ran; `MIGRATION_UNSUPPORTED` when one has no SQL for this dialect. Errors of
 * statements are the driver's own.
 */
export async function migrate(db: SqlDatabase, options: MigrateOptions): Promise<MigrateResult> {
  const set = prepareSet(db.dialect, options);
  options.signal?.throwIfAborted();
  const applied = await readAppliedIfAny(db, set);
  if (pendingMigrations(set.name, set.migrations, applied).length === 0) return { applied: [] };
  return {
    applied: db.dialect === 'postgres' ? await migratePostgres(db, set) : await migrateMysql(db, set),
  };
}

interface PreparedSet {
  readonly name: string;
  readonly migrations: readonly PreparedMigration[];
  readonly schema: string | undefined;
  /** The table of what ran, as it is written in a statement. */
  readonly table: string;
  readonly signal: AbortSignal | undefined;
}

function prepareSet(dialect: Dialect, { name, migrations, schema, signal }: MigrateOptions): PreparedSet {
  checkSetName(name);
  if (schema !== undefined && dialect === 'mysql') {
    throw new MigrationError(
      'MIGRATION_UNSUPPORTED',
      `schema ${JSON.stringify(schema)}: in MySQL a schema is a database; connect to the one you mean`,
    );
  }
  const table =
    schema === undefined ? 'quorate_migration' : quoteIdentifier(dialect, schema, 'quorate_migration');
  return { name, migrations: prepareMigrations(dialect, name, migrations), schema, table, signal };
}

interface AppliedRow {
  readonly id: unknown;
  readonly title: string;
  readonly checksum: string;
  readonly done: unknown;
  readonly complete: unknown;
}

async function readApplied(db: SqlConnection, { name, table }: PreparedSet): Promise<AppliedMigration[]> {
  const placeholder = db.dialect === 'postgres' ? '$1' : '?';
  const { rows } = await db.query<AppliedRow>(
    `select id, title, checksum, done, applied_at is not null as complete from ${table} where name = ${placeholder}`,
    [name],
  );
  return rows.map(({ id, title, checksum, done, complete }) => ({
    id: toSafeInteger(id),
    title,
    checksum,
    done: toSafeInteger(done),
    complete: Boolean(complete),
  }));
}

async function readAppliedIfAny(db: SqlConnection, set: PreparedSet): Promise<AppliedMigration[]> {
  try {
    return await readApplied(db, set);
  } catch (error) {
    if (isUndefinedTable(error)) return [];
    throw error;
  }
}

async function migratePostgres(db: SqlDatabase, set: PreparedSet): Promise<number[]> {
  const ran: number[] = [];
  for (;;) {
    const next = await db.transaction((tx) => migrateNext(tx, set), {
      // What another process committed while this one waited for the lock has to be seen.
      isolation: 'read committed',
      ...(set.signal === undefined ? {} : { signal: set.signal }),
    });
    if (next === undefined) return ran;
    ran.push(next);
  }
}

/** Runs the first migration that is pending, if any, and returns its id. */
async function migrateNext(tx: SqlTransaction, set: PreparedSet): Promise<number | undefined> {
  await tx.query(`select pg_advisory_xact_lock(hashtextextended('quorate_migration', 0))`);
  if (set.schema !== undefined) {
    const schema = quoteIdentifier('postgres', set.schema);
    const { rows } = await tx.query<{ missing: boolean }>('select to_regnamespace($1) is null as missing', [
      schema,
    ]);
    if (rows[0]?.missing === true) await tx.query(`create schema ${schema}`);
    await tx.query(`set local search_path to ${schema}, public`);
  }
  const { rows } = await tx.query<{ missing: boolean }>('select to_regclass($1) is null as missing', [
    set.table,
  ]);
  if (rows[0]?.missing === true) await tx.query(postgresTable(set));
  const [next] = pendingMigrations(set.name, set.migrations, await readApplied(tx, set));
  if (next === undefined) return undefined;
  for (const statement of next.statements) await tx.query(statement);
  await tx.query(`insert into ${set.table} (name, id, title, checksum, done) values ($1, $2, $3, $4, $5)`, [
    set.name,
    next.id,
    next.title,
    next.checksum,
    next.statements.length,
  ]);
  return next.id;
}

function postgresTable({ table }: PreparedSet): string {
  return sql['migration-table.postgres'].replace('{table}', table);
}

/** The lock and the progress belong to one connection; should it be lost or given up, the lock goes with it. */
function migrateMysql(db: SqlDatabase, set: PreparedSet): Promise<number[]> {
  return db.session(
    async (connection) => {
      await getMysqlLock(connection);
      await connection.query(sql['migration-table.mysql']);
      const applied = await readApplied(connection, set);
      const pending = pendingMigrations(set.name, set.migrations, applied);
      for (const migration of pending) {
        await migrateOneOnMysql(connection, set.name, migration, applied);
      }
      await connection.query(`select release_lock(${MYSQL_LOCK_NAME})`);
      return pending.map(({ id }) => id);
    },
    set.signal === undefined ? {} : { signal: set.signal },
  );
}

async function getMysqlLock(connection: SqlConnection): Promise<void> {
  for (;;) {
    const { rows } = await connection.query<{ taken: unknown }>(
      `select get_lock(${MYSQL_LOCK_NAME}, ?) as taken`,
      [GET_LOCK_SECONDS],
    );
    if (Number(rows[0]?.taken) === 1) return;
  }
}

async function migrateOneOnMysql(
  connection: SqlConnection,
  set: string,
  { id, title, checksum, statements }: PreparedMigration,
  applied: readonly AppliedMigration[],
): Promise<void> {
  const before = applied.find((one) => one.id === id);
  if (before === undefined) {
    await connection.query(
      'insert into quorate_migration (name, id, title, checksum, done) values (?, ?, ?, ?, 0)',
      [...[set, id, title, checksum]],
    );
    await connection.query('commit');
  }
  for (const [index, statement] of statements.entries()) {
    if (index < (before?.done ?? 0)) continue;
    // A statement that changes rows is committed together with the note of it; DDL commits by itself before.
    await connection.query('start transaction');
    await connection.query(statement);
    await connection.query('update quorate_migration set done = ? where name = ? and id = ?', [
      index + 1,
      set,
      id,
    ]);
    await connection.query('commit');
  }
  await connection.query('update quorate_migration set applied_at = now(6) where name = ? and id = ?', [
    set,
    id,
  ]);
}

/**
 * The statements that {@link migrate} would run on an empty database, for those who run their own. Run them all,
 * or from the first that did not run; `migrate` then finds nothing to do. Stop at the first error
 * (`psql -v ON_ERROR_STOP=1`): in PostgreSQL a migration that ran already fails before it changes anything.
 */
export function printMigrations(dialect: Dialect, options: MigrationSet): string {
  const set = prepareSet(dialect, options);
  const note = ({ id, title, checksum, statements }: PreparedMigration): string =>
    `insert into ${set.table} (name, id, title, checksum, done, applied_at)\n` +
    `  values ('${set.name}', ${String(id)}, '${title}', '${checksum}', ${String(statements.length)}, current_timestamp);\n`;
  const blocks = set.migrations.map((migration) => {
    const body = migration.statements.map((statement) => `${statement};\n`).join('');
    const head = `-- ${set.name} ${String(migration.id)}: ${migration.title}\n`;
    // DDL ends a transaction in MySQL: there is nothing to wrap it in.
    if (dialect === 'mysql') return `${head}${body}${note(migration)}`;
    const searchPath =
      set.schema === undefined
        ? ''
        : `set local search_path to ${quoteIdentifier(dialect, set.schema)}, public;\n`;
    return `${head}begin;\n${searchPath}${note(migration)}${body}commit;\n`;
  });
  return [...prologue(dialect, set), ...blocks].join('\n');
}

function prologue(dialect: Dialect, set: PreparedSet): string[] {
  if (dialect === 'mysql') return [`${sql['migration-table.mysql']};\n`];
  const table = postgresTable(set).replace('create table', 'create table if not exists');
  return [
    ...(set.schema === undefined
      ? []
      : [`create schema if not exists ${quoteIdentifier(dialect, set.schema)};\n`]),
    `${table};\n`,
  ];
}
