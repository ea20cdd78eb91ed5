import { isDeadlock, isUniqueViolation, TransactionAbortedError, UnknownOutcomeError } from '@quorate/sql';
import { mysqlConnection, mysqlDatabase } from '@quorate/sql/mysql2';
import { freshDatabase, isolated } from '@quorate/testing';
import { createPool as createCallbackPool } from 'mysql2';
import { createConnection, createPool } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrationSuite } from './migrate-suite.js';

const database = await freshDatabase('mysql');
const pools: ReturnType<typeof createPool>[] = [];
function open(connectionLimit = 4): ReturnType<typeof createPool> {
  const pool = createPool({ uri: database.url, connectionLimit });
  pools.push(pool);
  return pool;
}
const pool = open();
const db = mysqlDatabase(pool);

beforeAll(async () => {
  await pool.query('create table account (id int primary key, balance int not null, note json)');
});
beforeEach(async () => {
  await pool.query('delete from account');
});
afterAll(async () => {
  await Promise.all(pools.map((one) => one.end()));
  await database.drop();
});

async function balances(): Promise<number[]> {
  const { rows } = await db.query<{ balance: number }>('select balance from account order by id');
  return rows.map(({ balance }) => balance);
}

migrationSuite(() => mysqlDatabase(open(2)));

describe('a pool', () => {
  test('a session tells that its connection was lost while nothing ran on it, once', async () => {
    const told: Error[] = [];
    let heard: () => void = () => undefined;
    const lost = new Promise<void>((resolve) => (heard = resolve));
    const work = db.session(
      async (connection) => {
        const { rows } = await connection.query<{ id: number }>('select connection_id() as id');
        await pool.query(`kill ${String(rows[0]?.id)}`);
        await lost;
        await connection.query('select 1');
      },
      {
        onLost(error) {
          told.push(error);
          heard();
        },
      },
    );
    await expect(work).rejects.toThrow();
    expect(told).toHaveLength(1);
  });

  test('answers with rows and a count, and binds what JavaScript has', async () => {
    expect(await db.query('insert into account values (?, ?, ?), (2, 20, null)', [1, 10n, { a: 1 }])).toEqual(
      {
        rows: [],
        rowCount: 2,
        command: undefined,
      },
    );
    expect(
      (await db.query('select note from account where note is not null limit ?', [5])).rows,
    ).toHaveLength(1);
    const odd = `'; drop table account; -- \\' "`;
    const { rows } = await db.query<Record<string, unknown>>(
      'select ? as odd, ? as nothing, hex(?) as bytes, ? as yes',
      [odd, undefined, new Uint8Array([1, 255]), true],
    );
    expect(rows).toEqual([{ odd, nothing: null, bytes: '01FF', yes: 1 }]);
    expect((await db.query('update account set balance = 20 where id = 2')).rowCount).toBe(1);
  });

  test('commits when its work resolves and rolls back when it throws', async () => {
    expect(
      await db.transaction(
        async (tx) => (await tx.query('insert into account values (1, 1, null)')).rowCount,
      ),
    ).toBe(1);
    const failure = new Error('no');
    await expect(
      db.transaction(async (tx) => {
        await tx.query('insert into account values (2, 2, null)');
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(await balances()).toEqual([1]);
  });

  test('sets the isolation level for one transaction, and the access mode', async () => {
    const level = async (
      tx: typeof db | Parameters<Parameters<typeof db.transaction>[0]>[0],
    ): Promise<unknown> =>
      (
        await tx.query<{ l: string }>(
          `select trx_isolation_level l from information_schema.innodb_trx where trx_mysql_thread_id = connection_id()`,
        )
      ).rows[0]?.l;
    const narrow = mysqlDatabase(open(1));
    const inside = async (isolation?: 'serializable'): Promise<unknown> =>
      narrow.transaction(
        async (tx) => {
          await tx.query('select * from account for update');
          return level(tx);
        },
        isolation === undefined ? {} : { isolation },
      );
    // The view of running transactions is refreshed every 100 ms; another connection's is not asked for.
    expect(await inside('serializable')).toBe('SERIALIZABLE');
    await expect(
      narrow.transaction((tx) => tx.query('insert into account values (1, 1, null)'), { readOnly: true }),
    ).rejects.toMatchObject({ errno: 1792 });
    await narrow.transaction((tx) => tx.query('insert into account values (1, 1, null)'));
  });

  async function deadlock(
    work: (first: number, second: number, met: () => Promise<void>) => Promise<unknown>,
  ) {
    await db.query('insert into account values (1, 0, null), (2, 0, null)');
    let arrived = 0;
    let bothHold: () => void = () => undefined;
    const both = new Promise<void>((resolve) => (bothHold = resolve));
    const met = (): Promise<void> => {
      if (++arrived === 2) bothHold();
      return both;
    };
    return Promise.allSettled([work(1, 2, met), work(2, 1, met)]);
  }
  const add = 'update account set balance = balance + 1 where id = ?';

  test('runs a transaction again after a deadlock', async () => {
    await deadlock((first, second, met) =>
      db.transaction(async (tx) => {
        await tx.query(add, [first]);
        await met();
        await tx.query(add, [second]);
      }),
    );
    expect(await balances()).toEqual([2, 2]);
  });

  test('nothing runs after a deadlock that the work caught: it would be committed outside of the transaction', async () => {
    const late: unknown[] = [];
    const results = await deadlock((first, second, met) =>
      db.transaction(
        async (tx) => {
          await tx.query(add, [first]);
          await met();
          await tx.query(add, [second]).catch(async (error: unknown) => {
            expect(isDeadlock(error)).toBe(true);
            late.push(
              await tx.query('insert into account values (9, 9, null)').catch((reason: unknown) => reason),
            );
          });
        },
        { retry: 0 },
      ),
    );
    expect(late).toEqual([expect.any(TransactionAbortedError)]);
    const [failed] = results.filter((one) => one.status === 'rejected');
    expect(failed?.reason).toBeInstanceOf(TransactionAbortedError);
    expect(await balances()).toEqual([1, 1]);
  });

  test('a lock wait timeout undoes its statement only and is not run again', async () => {
    await db.query('insert into account values (1, 0, null)');
    let runs = 0;
    await db.transaction(async (holder) => {
      await holder.query(add, [1]);
      const attempt = db.transaction(async (tx) => {
        runs++;
        await tx.query('set innodb_lock_wait_timeout = 0');
        await tx.query('insert into account values (2, 2, null)');
        await expect(tx.query(add, [1])).rejects.toMatchObject({ errno: 1205 });
        await tx.query('set innodb_lock_wait_timeout = default');
      });
      await attempt;
    });
    expect(runs).toBe(1);
    expect(await balances()).toEqual([1, 2]);
  });

  test('a savepoint undoes its own effects and no others', async () => {
    await db.transaction(async (tx) => {
      await tx.query('insert into account values (1, 1, null)');
      const failed = tx.savepoint(async (inner) => {
        await inner.query('insert into account values (2, 2, null)');
        await inner.savepoint((deeper) => deeper.query('insert into account values (2, 2, null)'));
      });
      expect(isUniqueViolation(await failed.catch((error: unknown) => error))).toBe(true);
      await tx.savepoint((inner) => inner.query('insert into account values (3, 3, null)'));
    });
    expect(await balances()).toEqual([1, 3]);
  });

  test('an abort while a statement runs ends the connection and the statement', async () => {
    const controller = new AbortController();
    const attempt = db.transaction(
      async (tx) => {
        await tx.query('insert into account values (1, 1, null)');
        const stuck = tx.query('select sleep(60)');
        controller.abort(new Error('enough'));
        await stuck;
      },
      { signal: controller.signal },
    );
    await expect(attempt).rejects.toThrow('enough');
    // It waits for the lock of the row until the statement is dead.
    await db.query('insert into account values (1, 5, null)');
    expect(await balances()).toEqual([5]);
  });

  test('a connection that died in the middle is discarded', async () => {
    await expect(
      db.transaction(async (tx) => {
        await tx.query('insert into account values (1, 1, null)');
        const { rows } = await tx.query<{ id: number }>('select connection_id() as id');
        await db.query(`kill ${String(rows[0]?.id)}`);
        await tx.query('select 1').catch(() => undefined);
      }),
    ).rejects.toBeInstanceOf(Error);
    expect(await balances()).toEqual([]);
    await Promise.all(Array.from({ length: 4 }, () => db.query('select 1')));
  });

  test('takes a pool with callbacks as well', async () => {
    const callbacks = createCallbackPool({ uri: database.url, connectionLimit: 1 });
    const one = mysqlDatabase(callbacks);
    await one.transaction((tx) => tx.query('insert into account values (1, 1, null)'));
    expect(await balances()).toEqual([1]);
    await new Promise<void>((resolve) => {
      callbacks.end(() => {
        resolve();
      });
    });
  });
});

test('a connection lost during COMMIT leaves the outcome unknown', async () => {
  await using server = await isolated('mysql');
  const own = createPool({ uri: server.url, connectionLimit: 2 });
  await own.query('create table t (n int)');
  await expect(
    mysqlDatabase(own).transaction(async (tx) => {
      await tx.query('insert into t values (1)');
      await server.kill();
    }),
  ).rejects.toBeInstanceOf(UnknownOutcomeError);
  await own.end();
});

describe('a connection', () => {
  test('runs transactions and statements one after the other', async () => {
    const connection = await createConnection(database.url);
    const one = mysqlDatabase(connection);
    await Promise.all([
      one
        .transaction(async (tx) => {
          await tx.query('insert into account values (1, 1, null)');
          await tx.query('select sleep(0.01)');
          throw new Error('undone');
        })
        .catch(() => undefined),
      one.query('insert into account values (2, 2, null)'),
    ]);
    expect(await balances()).toEqual([2]);
    await expect(one.transaction(() => one.query('select 1'))).rejects.toMatchObject({
      code: 'TRANSACTION_NESTED',
    });
    await connection.end();
  });

  test('takes part in a transaction of the caller', async () => {
    const connection = await pool.getConnection();
    await connection.beginTransaction();
    await mysqlConnection(connection).query('insert into account values (?, ?, null)', [1, 1]);
    await connection.rollback();
    connection.release();
    expect(await balances()).toEqual([]);
  });

  test('anything else is refused', () => {
    expect(() => mysqlDatabase({} as never)).toThrow(
      'INVALID_OPTION: client must be a pool or a connection of mysql2',
    );
  });
});
