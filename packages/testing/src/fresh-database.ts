import { randomId, systemRuntime } from '@quorate/runtime';
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
  const run = kind === 'postgres' ? runOnPostgres : runOnMysql;
  await run(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const drop = async (): Promise<void> => {
    await run(server, `drop database if exists ${name}${kind === 'postgres' ? ' with (force)' : ''}`);
  };
  return { url: url.href, name, drop, [Symbol.asyncDispose]: drop };
}

async function runOnPostgres(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

async function runOnMysql(url: string, statement: string): Promise<void> {
  const connection = await createConnection({ uri: url });
  try {
    await connection.query(statement);
  } finally {
    await connection.end();
  }
}
