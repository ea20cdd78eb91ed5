import { PGlite } from '@electric-sql/pglite';
import { TransactionAbortedError } from '@quorate/sql';
import { pgliteDatabase } from '@quorate/sql/pglite';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { migrationSuite } from './migrate-suite.js';

const pglite = new PGlite();
const db = pgliteDatabase(pglite);

beforeAll(async () => {
  await pglite.exec('create table account (id int primary key, balance int not null)');
});
beforeEach(async () => {
  await pglite.exec('truncate account');
});
afterAll(async () => {
  await pglite.close();
});

async function balances(): Promise<number[]> {
  const { rows } = await db.query<{ balance: number }>('select balance from account order by id');
  return rows.map(({ balance }) => balance);
}

migrationSuite(() => pgliteDatabase(pglite));

test('answers with rows and a count', async () => {
  expect(await db.query('insert into account values ($1, $2), (2, 20)', [1, 10])).toMatchObject({
    rowCount: 2,
  });
  expect(await db.query('select balance from account where id = $1', [1])).toMatchObject({
    rows: [{ balance: 10 }],
    rowCount: 1,
  });
  expect((await db.query('select 1; select 2 as n')).rows).toEqual([{ n: 2 }]);
});

test('commits when its work resolves and rolls back when it throws', async () => {
  await db.transaction((tx) => tx.query('insert into account values (1, 1)'));
  await expect(
    db.transaction(async (tx) => {
      await tx.query('insert into account values (2, 2)');
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  expect(await balances()).toEqual([1]);
});

test('sets isolation and access mode', async () => {
  const { rows } = await db.transaction(
    (tx) =>
      tx.query(
        `select current_setting('transaction_isolation') i, current_setting('transaction_read_only') r`,
      ),
    { isolation: 'serializable', readOnly: true },
  );
  expect(rows).toEqual([{ i: 'serializable', r: 'on' }]);
});

test('is an error when the work swallowed one', async () => {
  const attempt = db.transaction(async (tx) => {
    await tx.query('insert into account values (1, 1)');
    await tx.query('insert into account values (1, 2)').catch(() => undefined);
  });
  await expect(attempt).rejects.toBeInstanceOf(TransactionAbortedError);
  await expect(attempt).rejects.toMatchObject({ sqlState: '23505' });
  expect(await balances()).toEqual([]);
});

test('a savepoint undoes its own effects and no others', async () => {
  await db.transaction(async (tx) => {
    await tx.query('insert into account values (1, 1)');
    const failed = tx.savepoint((inner) => inner.query('insert into account values (2, 2), (1, 1)'));
    await expect(failed).rejects.toMatchObject({ code: '23505' });
  });
  expect(await balances()).toEqual([1]);
});

test('transactions and statements take turns, and one around itself is an error', async () => {
  await Promise.all([
    db.transaction(async (tx) => {
      await tx.query('insert into account values (1, 1)');
      await tx.query('select pg_sleep(0.01)');
      await tx.query('update account set balance = 2');
    }),
    db.query('update account set balance = balance * 10'),
  ]);
  expect(await balances()).toEqual([20]);
  await expect(db.transaction(() => db.query('select 1'))).rejects.toMatchObject({
    code: 'TRANSACTION_NESTED',
  });
});

test('an abort rolls back, at once or as soon as the statement under way has ended', async () => {
  for (const duringStatement of [false, true]) {
    const controller = new AbortController();
    const attempt = db.transaction(
      async (tx) => {
        await tx.query('insert into account values (1, 1)');
        const slow = duringStatement ? tx.query('select pg_sleep(0.05)') : new Promise(() => undefined);
        controller.abort(new Error('enough'));
        await slow;
      },
      { signal: controller.signal },
    );
    await expect(attempt).rejects.toThrow('enough');
    expect(await balances()).toEqual([]);
  }
});

test('anything else is refused', () => {
  expect(() => pgliteDatabase({} as never)).toThrow('INVALID_OPTION: pglite must be an instance of PGlite');
});
