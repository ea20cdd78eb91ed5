import { randomId, sleep, systemRuntime } from '@quorate/runtime';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { service } from './api.js';

/** An empty database of its own on the shared server. */
export interface FreshDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  /** Ends all connections to it and removes it. */
  drop(): Promise<void>;
}

/** Creates an empty database on the shared server, for one test file or one test. */
export async function freshDatabase(kind: 'postgres' | 'mysql'): Promise<FreshDatabase> {
  const server = await service(kind);
  const name = `quorate_test_${randomId(systemRuntime).slice(0, 16)}`;
  const dialect = kind === 'postgres' ? onPostgres : onMysql;
  await dialect.run(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const drop = (): Promise<void> => dialect.drop(server, name);
  return { url: url.href, name, drop, [Symbol.asyncDispose]: drop };
}

/** How long clients that were just ended may take to be gone. */
const LEAVE_MS = 500;
const LEAVE_INTERVAL_MS = 10;

const onPostgres = {
  run: (url: string, statement: string) => withPostgres(url, (client) => client.query(statement)),

  /**
   * A client of pg is ended before its connection is: dropped at once, the database would take those connections
   * down with an error that nobody listens for any more.
   */
  drop: (url: string, name: string) =>
    withPostgres(url, async (client) => {
      const due = systemRuntime.monotonic() + LEAVE_MS;
      const inUse = 'select 1 from pg_stat_activity where datname = $1 limit 1';
      while (systemRuntime.monotonic() < due && (await client.query(inUse, [name])).rowCount !== 0) {
        await sleep(systemRuntime, LEAVE_INTERVAL_MS);
      }
      await client.query(`drop database if exists ${name} with (force)`);
    }),
};

const onMysql = {
  async run(url: string, statement: string): Promise<void> {
    const connection = await createConnection({ uri: url });
    try {
      await connection.query(statement);
    } finally {
      await connection.end();
    }
  },

  drop: (url: string, name: string) => onMysql.run(url, `drop database if exists ${name}`),
};

async function withPostgres(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
