import { sqlConnection, type SqlConnection } from '@quorate/sql';
import { freshDatabase } from '@quorate/testing';
import { sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { pgTable, integer, text } from 'drizzle-orm/pg-core';
import { CompiledQuery, Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeEach, expect, test } from 'vitest';

// The functions below are those of the README.

function kyselyConnection(trx: Pick<Kysely<unknown>, 'executeQuery'>): SqlConnection {
  return sqlConnection('postgres', async (text, values = []) => {
    const { rows, numAffectedRows } = await trx.executeQuery(CompiledQuery.raw(text, [...values]));
    return { rows, rowCount: numAffectedRows === undefined ? rows.length : Number(numAffectedRows) };
  });
}

type DrizzleTransaction = Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0];

function drizzleConnection(tx: DrizzleTransaction): SqlConnection {
  return sqlConnection('postgres', (text, values = []) => {
    const parts = text.split(/\$(\d+)/);
    return tx.execute(
      sql.join(parts.map((part, at) => (at % 2 === 0 ? sql.raw(part) : sql.param(values[Number(part) - 1])))),
    );
  });
}

const database = await freshDatabase('postgres');
const pool = new pg.Pool({ connectionString: database.url });
await pool.query('create table orders (id int primary key, item text)');
await pool.query('create table message (id int primary key, body jsonb)');
beforeEach(async () => {
  await pool.query('truncate orders, message');
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

/** What a package of this toolkit does with a connection: write beside the caller, in the caller's transaction. */
async function publish(connection: SqlConnection, id: number, body: object): Promise<void> {
  const { rows, rowCount } = await connection.query<{ again: string }>(
    'insert into message (id, body) values ($1, $2::jsonb) returning body #>> $3 as again',
    [id, JSON.stringify(body), ['item']],
  );
  expect({ rows, rowCount }).toEqual({ rows: [{ again: 'it’s $1' }], rowCount: 1 });
  expect((await connection.query('update message set id = id')).rowCount).toBe(1);
}

async function counts(): Promise<unknown> {
  return (
    await pool.query('select (select count(*)::int from orders) o, (select count(*)::int from message) m')
  ).rows[0];
}

test('what is written through a Kysely transaction is committed and rolled back with it', async () => {
  const db = new Kysely<{ orders: { id: number; item: string } }>({ dialect: new PostgresDialect({ pool }) });
  const place = (fails: boolean): Promise<void> =>
    db.transaction().execute(async (trx) => {
      await trx.insertInto('orders').values({ id: 1, item: 'it’s $1' }).execute();
      await publish(kyselyConnection(trx), 1, { item: 'it’s $1' });
      if (fails) throw new Error('no');
    });
  await expect(place(true)).rejects.toThrow('no');
  expect(await counts()).toEqual({ o: 0, m: 0 });
  await place(false);
  expect(await counts()).toEqual({ o: 1, m: 1 });
});

test('what is written through a Drizzle transaction is committed and rolled back with it', async () => {
  const orders = pgTable('orders', { id: integer().primaryKey(), item: text() });
  const db = drizzle(pool);
  const place = (fails: boolean): Promise<void> =>
    db.transaction(async (tx) => {
      await tx.insert(orders).values({ id: 1, item: 'it’s $1' });
      await publish(drizzleConnection(tx), 1, { item: 'it’s $1' });
      if (fails) throw new Error('no');
    });
  await expect(place(true)).rejects.toThrow('no');
  expect(await counts()).toEqual({ o: 0, m: 0 });
  await place(false);
  expect(await counts()).toEqual({ o: 1, m: 1 });
});
