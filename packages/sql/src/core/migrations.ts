import { createHash } from 'node:crypto';
import { identifierOption, integerOption, InvalidOptionError } from '@quorate/runtime';
import type { Dialect } from '../contract.js';
import { SqlError } from '../errors.js';
import { splitStatements } from './statements.js';

/** One step of a schema. Once released it is never changed: what comes later is a new one. */
export interface Migration {
  /** Its place in the order: a positive integer, larger than that of the one before. */
  readonly id: number;
  /** What it does, in a few letters, digits, spaces and `_.,:()-`. */
  readonly name: string;
  /**
   * What it runs, for each dialect it can run on. A script is split at its semicolons; a list is taken as
   * statements as they are, for bodies that have semicolons between BEGIN and END.
   */
  readonly sql: Readonly<Partial<Record<Dialect, string | readonly string[]>>>;
}

/** A schema's own migrations cannot be brought together with what the database has. */
export class MigrationError extends SqlError {
  static override readonly brand: string = '@quorate/sql#MigrationError';
}

/** A migration ready to run on one dialect. */
export interface PreparedMigration {
  readonly id: number;
  readonly title: string;
  readonly statements: readonly string[];
  readonly checksum: string;
}

/** What the database remembers of a migration. */
export interface AppliedMigration {
  readonly id: number;
  readonly title: string;
  readonly checksum: string;
  /** How many of its statements ran. */
  readonly done: number;
  /** Whether all did. In PostgreSQL nothing else is ever seen. */
  readonly complete: boolean;
}

const SET_NAME = /^[a-z][a-z0-9_]{0,62}$/;
const TITLE = /^[\w .,:()-]+$/;

/** Checks the name of a set of migrations. */
export function checkSetName(name: unknown): string {
  if (typeof name !== 'string' || !SET_NAME.test(name)) {
    throw new InvalidOptionError(
      'name',
      name,
      'a lower-case identifier of at most 63 characters, such as "my_app"',
    );
  }
  return name;
}

/** Checks a set of migrations and makes it ready for a dialect. */
export function prepareMigrations(
  dialect: Dialect,
  set: string,
  migrations: readonly Migration[],
): readonly PreparedMigration[] {
  let last = 0;
  return migrations.map(({ id, name, sql }, index) => {
    const option = `migrations[${String(index)}]`;
    integerOption(`${option}.id`, id, { min: last + 1, max: 2 ** 31 - 1 });
    last = id;
    const title = identifierOption(`${option}.name`, name);
    if (!TITLE.test(title)) {
      throw new InvalidOptionError(`${option}.name`, name, 'made of letters, digits, spaces and _.,:()-');
    }
    const script = sql[dialect];
    if (script === undefined) {
      throw new MigrationError(
        'MIGRATION_UNSUPPORTED',
        `migration ${String(id)} (${name}) of ${set} has no SQL for ${dialect}; it runs on ${Object.keys(sql).join(', ')}`,
      );
    }
    const statements =
      typeof script === 'string' ? splitStatements(dialect, unixLines(script)) : script.map(unixLines);
    if (statements.length === 0)
      throw new InvalidOptionError(`${option}.sql`, script, 'at least one statement');
    return { id, title, statements, checksum: checksumOf(statements) };
  });
}

/** The same on every machine: line ends do not count, nor does what stands between statements. */
function checksumOf(statements: readonly string[]): string {
  const hash = createHash('sha256');
  for (const statement of statements) hash.update(`${String(Buffer.byteLength(statement))}:${statement};`);
  return hash.digest('hex');
}

function unixLines(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

/**
 * The migrations that have to run, in order. Those that the database has and this set has not are of a newer
 * release, which may run beside this one: they are left alone.
 *
 * A migration that was changed after it ran, or that would have to run before one that did, throws
 * {@link MigrationError}: then no order of running leads to the schema that either side expects.
 */
export function pendingMigrations(
  set: string,
  wanted: readonly PreparedMigration[],
  applied: readonly AppliedMigration[],
): readonly PreparedMigration[] {
  const byId = new Map(applied.map((one) => [one.id, one]));
  const latest = Math.max(0, ...applied.map(({ id }) => id));
  return wanted.filter(({ id, title, checksum }) => {
    const done = byId.get(id);
    if (done !== undefined && done.checksum !== checksum) {
      throw new MigrationError(
        'MIGRATION_CHANGED',
        `migration ${String(id)} (${title}) of ${set} is not the one that ran on this database ` +
          `(${done.title}, checksum ${done.checksum.slice(0, 8)} there and ${checksum.slice(0, 8)} here); ` +
          'restore it as it was and put the change into a new migration',
      );
    }
    if (done === undefined && id < latest) {
      throw new MigrationError(
        'MIGRATION_OUT_OF_ORDER',
        `migration ${String(id)} (${title}) of ${set} did not run on this database, but ${String(latest)} did; ` +
          'give it a number after that',
      );
    }
    return done?.complete !== true;
  });
}
