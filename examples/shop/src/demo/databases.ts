import { randomId, systemRuntime } from '@quorate/runtime';
import { startEmbeddedPostgres } from '@quorate/testing';
import pg from 'pg';
import { type ServiceName, SERVICES } from '../lib/names.js';

/** One database per service, on a server that may be ours or somebody's. */
export interface Databases extends AsyncDisposable {
  readonly urls: Readonly<Record<ServiceName, string>>;
  /** Where they are, for people: never with a password. */
  readonly description: string;
}

/** A private server of its own, whose data is gone when this process is, however it ends. */
export async function embeddedDatabases(): Promise<Databases> {
  const server = await startEmbeddedPostgres({ databases: SERVICES });
  return {
    urls: eachService((name) => server.database(name)),
    description: `PostgreSQL ${server.version} (${server.origin}) on 127.0.0.1:${String(server.port)}`,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** Four new databases on the server at `url`. Disposing drops these four and touches nothing else. */
export async function databasesOn(url: string): Promise<Databases> {
  const prefix = `quorate_shop_${randomId(systemRuntime).slice(0, 8)}`;
  const nameOf = (service: ServiceName): string => `${prefix}_${service}`;
  const created: string[] = [];
  const drop = async (): Promise<void> => {
    await onServer(url, async (client) => {
      for (const name of created.splice(0)) {
        await client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
      }
    });
  };
  try {
    await onServer(url, async (client) => {
      for (const service of SERVICES) {
        await client.query(`create database ${pg.escapeIdentifier(nameOf(service))}`);
        created.push(nameOf(service));
      }
    });
  } catch (error) {
    if (created.length > 0) await drop();
    throw new Error(`The databases could not be created: ${(error as Error).message}`, { cause: error });
  }
  return {
    urls: eachService((service) => {
      const address = new URL(url);
      address.pathname = `/${nameOf(service)}`;
      return address.href;
    }),
    description: `the databases ${prefix}_* on ${new URL(url).host}`,
    [Symbol.asyncDispose]: drop,
  };
}

/** A record with an entry for each service. */
export function eachService<T>(make: (name: ServiceName, index: number) => T): Record<ServiceName, T> {
  return Object.fromEntries(SERVICES.map((name, index) => [name, make(name, index)])) as Record<
    ServiceName,
    T
  >;
}

async function onServer(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
