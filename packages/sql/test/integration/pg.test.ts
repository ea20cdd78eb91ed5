import { once } from 'node:events';
import { sqlStateOf, TransactionAbortedError, UnknownOutcomeError } from '@quorate/sql';
import { pgConnection, pgDatabase } from '@quorate/sql/pg';
import { freshDatabase } from '@quorate/testing';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

const database = await freshDatabase('postgres');
const pool = new pg.Pool({ connectionString: database.url, max: 4 });
pool.on('error', () => undefined);
const db = pgDatabase(pool);

beforeAll(async () => {
  await pool.query('create table account (id int primary key, balance int not null)');
});
beforeEach(async () => {
  await pool.query('truncate account');
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

async function balances(): Promise<number[]> {
  const { rows } = await db.query<{ balance: number }>('select balance from account order by id');
  return rows.map(({ balance }) => balance);
}

describe('a pool', () => {
  test('answers with rows, a count and the command', async () => {
    expect(await db.query('select $1::int as n', [7])).toEqual({
      rows: [{ n: 7 }],
      rowCount: 1,
      command: 'SELECT',
    });
    expect(await db.query('insert into account values (1, 10), (2, 20)')).toEqual({
      rows: [],
      rowCount: 2,
      command: 'INSERT',
    });
    expect((await db.query('begin; commit; select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  test('commits when its work resolves and rolls back when it throws', async () => {
    const answer = await db.transaction(async (tx) => {
      await tx.query('insert into account values (1, 1)');
      return 'done';
    });
    expect(answer).toBe('done');
    const failure = new Error('no');
    await expect(
      db.transaction(async (tx) => {
        await tx.query('insert into account values (2, 2)');
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(await balances()).toEqual([1]);
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  test('sets isolation and access mode', async () => {
    const settings = await db.transaction(
      async (tx) =>
        (
          await tx.query(
            `select current_setting('transaction_isolation') i, current_setting('transaction_read_only') r`,
          )
        ).rows,
      { isolation: 'repeatable read', readOnly: true },
    );
    expect(settings).toEqual([{ i: 'repeatable read', r: 'on' }]);
  });

  test('runs a transaction again after a serialization failure, so that no update is lost', async () => {
    await db.query('insert into account values (1, 0)');
    let runs = 0;
    let twoHaveRead: () => void = () => undefined;
    const two = new Promise<void>((resolve) => (twoHaveRead = resolve));
    const increment = (): Promise<void> =>
      db.transaction(
        async (tx) => {
          const { rows } = await tx.query<{ balance: number }>('select balance from account where id = 1');
          // Both read the same: only one of them can be right.
          if (++runs === 2) twoHaveRead();
          await two;
          await tx.query('update account set balance = $1 where id = 1', [(rows[0]?.balance ?? 0) + 1]);
        },
        { isolation: 'serializable', retry: { retries: 50, minMs: 1, maxMs: 50 } },
      );
    await Promise.all(Array.from({ length: 8 }, increment));
    expect(await balances()).toEqual([8]);
    expect(runs).toBeGreaterThan(8);
  });

  test('runs a transaction again after a deadlock', async () => {
    await db.query('insert into account values (1, 0), (2, 0)');
    let arrived = 0;
    let bothHold: () => void = () => undefined;
    const both = new Promise<void>((resolve) => (bothHold = resolve));
    const cross = (first: number, second: number): Promise<void> =>
      db.transaction(async (tx) => {
        await tx.query('update account set balance = balance + 1 where id = $1', [first]);
        if (++arrived === 2) bothHold();
        await both;
        await tx.query('update account set balance = balance + 1 where id = $1', [second]);
      });
    await Promise.all([cross(1, 2), cross(2, 1)]);
    expect(arrived).toBe(3);
    expect(await balances()).toEqual([2, 2]);
  });

  test('does not run again without retries left, and says why with the error of the server', async () => {
    await db.query('insert into account values (1, 0)');
    const attempt = db.transaction(
      async (tx) => {
        await tx.query('select balance from account');
        await db.query('update account set balance = 5');
        await tx.query('update account set balance = 6');
      },
      { isolation: 'repeatable read', retry: 0 },
    );
    const error: unknown = await attempt.catch((reason: unknown) => reason);
    expect(sqlStateOf(error)).toBe('40001');
    expect(await balances()).toEqual([5]);
  });

  test('is an error when the work swallowed one: COMMIT of an aborted transaction is answered by ROLLBACK', async () => {
    const attempt = db.transaction(async (tx) => {
      await tx.query('insert into account values (1, 1)');
      await tx.query('insert into account values (1, 2)').catch(() => undefined);
    });
    await expect(attempt).rejects.toBeInstanceOf(TransactionAbortedError);
    await expect(attempt).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED', sqlState: '23505' });
    expect(await balances()).toEqual([]);
  });

  test('an error at COMMIT is the server’s own and definite', async () => {
    await db.query(
      'create table child (id int primary key, parent int references child deferrable initially deferred)',
    );
    const attempt = db.transaction((tx) => tx.query('insert into child values (1, 99)'));
    await expect(attempt).rejects.toMatchObject({ code: '23503' });
    await db.query('drop table child');
  });

  test('a savepoint undoes its own effects and no others', async () => {
    await db.transaction(async (tx) => {
      await tx.query('insert into account values (1, 1)');
      const failed = tx.savepoint(async (inner) => {
        await inner.query('insert into account values (2, 2)');
        await inner.savepoint(async (deeper) => {
          await deeper.query('insert into account values (3, 3)');
          await deeper.query('insert into account values (3, 3)');
        });
      });
      await expect(failed).rejects.toMatchObject({ code: '23505' });
      expect(await tx.savepoint(() => Promise.resolve('kept'))).toBe('kept');
      await tx.query('insert into account values (4, 4)');
    });
    expect(await balances()).toEqual([1, 4]);
  });

  test('two savepoints of one transaction at once are an error', async () => {
    const attempt = db.transaction((tx) =>
      Promise.all([
        tx.savepoint((inner) => inner.query('select 1')),
        tx.savepoint((inner) => inner.query('select 2')),
      ]),
    );
    await expect(attempt).rejects.toMatchObject({ code: 'SAVEPOINT_BUSY' });
  });

  test('a statement after the end of its transaction is an error and does not run', async () => {
    const late = await db.transaction((tx) => Promise.resolve(tx));
    await expect(late.query('insert into account values (1, 1)')).rejects.toMatchObject({
      code: 'TRANSACTION_ENDED',
    });
    expect(await balances()).toEqual([]);
  });

  test('a client that died in the middle is discarded, and an idle moment of its death is no uncaught error', async () => {
    const attempt = db.transaction(async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
      const died = new Promise<void>((resolve) => {
        pool.once('remove', () => {
          resolve();
        });
      });
      await db.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      await tx.query('insert into account values (1, 1)').catch(() => undefined);
      return { died };
    });
    await expect(attempt).rejects.toBeInstanceOf(Error);
    expect(await balances()).toEqual([]);
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  test('an abort while a statement runs discards the connection and undoes everything', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const removed = once(pool, 'remove');
    const attempt = db.transaction(
      async (tx) => {
        await tx.query('insert into account values (1, 1)');
        const stuck = tx.query('select pg_sleep(60)');
        controller.abort(reason);
        await stuck;
      },
      { signal: controller.signal },
    );
    await expect(attempt).rejects.toBe(reason);
    await removed;
    expect(await balances()).toEqual([]);
  });

  test('an abort between statements rolls back at once and keeps the connection', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const before = pool.totalCount;
    const attempt = db.transaction(
      async (tx) => {
        await tx.query('insert into account values (1, 1)');
        controller.abort(reason);
        await new Promise(() => undefined);
      },
      { signal: controller.signal },
    );
    await expect(attempt).rejects.toBe(reason);
    expect(pool.totalCount).toBe(Math.max(before, 1));
    expect(await balances()).toEqual([]);
  });

  test('an abort ends the wait for a connection, and the connection is not lost', async () => {
    const narrow = new pg.Pool({ connectionString: database.url, max: 1 });
    const busy = await narrow.connect();
    const controller = new AbortController();
    const attempt = pgDatabase(narrow).transaction((tx) => tx.query('select 1'), {
      signal: controller.signal,
    });
    controller.abort(new Error('enough'));
    await expect(attempt).rejects.toThrow('enough');
    busy.release();
    expect((await pgDatabase(narrow).query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await narrow.end();
  });

  test('a connection lost during COMMIT leaves the outcome unknown, and the work is not run again', async () => {
    // The commit waits in a deferred trigger for a lock, until the session is terminated.
    await db.query(`create function wait_for_lock() returns trigger language plpgsql as
      'begin perform pg_advisory_xact_lock(1); return null; end'`);
    await db.query('create table slow (id int)');
    await db.query(`create constraint trigger slow after insert on slow deferrable initially deferred
      for each row execute function wait_for_lock()`);
    const holder = await pool.connect();
    await holder.query('select pg_advisory_lock(1)');
    let runs = 0;
    const outcome = db
      .transaction(async (tx) => {
        runs++;
        await tx.query('insert into slow values (1)');
      })
      .catch((error: unknown) => error);
    const waiting = `select pid from pg_stat_activity where datname = current_database() and query = 'commit'
      and wait_event_type = 'Lock'`;
    let pid: number | undefined;
    while (pid === undefined) pid = (await holder.query<{ pid: number }>(waiting)).rows[0]?.pid;
    await holder.query('select pg_terminate_backend($1)', [pid]);
    expect(await outcome).toBeInstanceOf(UnknownOutcomeError);
    expect(await outcome).toMatchObject({ code: 'UNKNOWN_OUTCOME', sqlState: '57P01' });
    expect(runs).toBe(1);
    holder.release(true);
  });

  test('a session tells that its connection was lost while nothing ran on it, once', async () => {
    const told: Error[] = [];
    let heard: () => void = () => undefined;
    const lost = new Promise<void>((resolve) => (heard = resolve));
    const onLost = (error: Error): void => {
      told.push(error);
      heard();
    };
    const work = db.session(
      async (connection) => {
        const { rows } = await connection.query<{ pid: number }>('select pg_backend_pid() as pid');
        await db.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
        await lost;
        await connection.query('select 1');
      },
      { onLost },
    );
    await expect(work).rejects.toThrow();
    expect(told.map(sqlStateOf)).toEqual(['57P01']);
    await expect(db.session(() => Promise.resolve('fine'), { onLost })).resolves.toBe('fine');
    expect(told).toHaveLength(1);
  });

  test('a session keeps one connection, and ends it when its work fails', async () => {
    const pids = await db.session(async (connection) => {
      const ask = async (): Promise<unknown> =>
        (await connection.query('select pg_backend_pid() as pid')).rows[0];
      return [await ask(), await ask()];
    });
    expect(pids[0]).toEqual(pids[1]);
    const removed = once(pool, 'remove');
    await expect(
      db.session(async (connection) => {
        await connection.query('select pg_advisory_lock(2)');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await removed;
    await db.transaction((tx) => tx.query('select pg_advisory_xact_lock(2)'));
  });

  test.each([
    [{ isolation: 'chaos' as 'serializable' }, 'isolation'],
    [{ retry: -1 }, 'retry'],
    [{ retry: { minMs: 5, maxMs: 1 } }, 'retry.maxMs'],
  ])('refuses the options %o and names the one', async (options, option) => {
    await expect(db.transaction(() => Promise.resolve(), options)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      option,
    });
  });
});

describe('a client', () => {
  test('runs transactions and statements one after the other', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const one = pgDatabase(client);
    await Promise.all([
      one
        .transaction(async (tx) => {
          await tx.query('insert into account values (1, 1)');
          await tx.query('select pg_sleep(0.01)');
          throw new Error('undone');
        })
        .catch(() => undefined),
      one.query('insert into account values (2, 2)'),
      one.transaction((tx) => tx.query('insert into account values (3, 3)')),
    ]);
    expect(await balances()).toEqual([2, 3]);
    await client.end();
  });

  test('a statement around the transaction it is in is an error rather than a wait for ever', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const one = pgDatabase(client);
    await expect(one.transaction(() => one.query('select 1'))).rejects.toMatchObject({
      code: 'TRANSACTION_NESTED',
    });
    await expect(one.transaction(() => one.transaction(() => Promise.resolve()))).rejects.toMatchObject({
      code: 'TRANSACTION_NESTED',
    });
    expect((await one.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await client.end();
  });

  test('takes part in a transaction of the caller', async () => {
    const client = await pool.connect();
    await client.query('begin');
    await pgConnection(client).query('insert into account values ($1, $2)', [1, 1]);
    await client.query('rollback');
    client.release();
    expect(await balances()).toEqual([]);
  });

  test('anything else is refused', () => {
    expect(() => pgDatabase({} as never)).toThrow('INVALID_OPTION: client must be a Pool or a Client of pg');
  });
});
