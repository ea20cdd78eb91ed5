import { migrate } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { freshDatabase } from '@quorate/testing';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { migrationSuite } from './migrate-suite.js';

const database = await freshDatabase('postgres');
const pools: pg.Pool[] = [];
function open(): ReturnType<typeof pgDatabase> {
  const pool = new pg.Pool({ connectionString: database.url, max: 2 });
  pools.push(pool);
  return pgDatabase(pool);
}
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await database.drop();
});

migrationSuite(open);

test('a schema of its own is made, and nothing is left in the search path', async () => {
  const db = open();
  const migrations = [{ id: 1, name: 'table', sql: { postgres: 'create table only_here (n int)' } }];
  expect(await migrate(db, { name: 'own', migrations, schema: 'My "own"' })).toEqual({ applied: [1] });
  expect(await migrate(db, { name: 'own', migrations, schema: 'My "own"' })).toEqual({ applied: [] });
  expect((await db.query('select * from "My ""own""".only_here')).rows).toEqual([]);
  await expect(db.query('select * from only_here')).rejects.toMatchObject({ code: '42P01' });
});

test('a migration that fails in PostgreSQL leaves nothing of itself', async () => {
  const db = open();
  const migrations = [{ id: 1, name: 'half', sql: { postgres: 'create table half (n int); select 1/0' } }];
  await expect(migrate(db, { name: 'half', migrations })).rejects.toMatchObject({ code: '22012' });
  await expect(db.query('select * from half')).rejects.toMatchObject({ code: '42P01' });
});

test('an abort ends the wait for another process that migrates', async () => {
  const db = open();
  const watcher = open();
  const controller = new AbortController();
  const migrations = [{ id: 1, name: 'wait', sql: { postgres: 'create table wait (n int)' } }];
  await open().transaction(async (tx) => {
    await tx.query(`select pg_advisory_xact_lock(hashtextextended('quorate_migration', 0))`);
    const waiting = migrate(db, { name: 'wait', migrations, signal: controller.signal });
    const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`;
    while ((await watcher.query(waits)).rowCount === 0);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
