import {
  createLocks,
  LockTimeoutError,
  StaleFenceError,
  VersionConflictError,
} from '@quorate/distributed-lock';
import * as mysql from '@quorate/distributed-lock/mysql';
import * as optimistic from '@quorate/distributed-lock/optimistic';
import * as postgres from '@quorate/distributed-lock/postgres';
import type { SqlDatabase } from '@quorate/sql';
import { freshDatabase } from '@quorate/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrateLocks, mysqlClient, pgClient } from './sql-worlds.js';

const onPostgres = await freshDatabase('postgres');
const onMysql = await freshDatabase('mysql');
const pg = pgClient(onPostgres.url, 20);
const my = mysqlClient(onMysql.url, 20);
const signal = new AbortController().signal;

interface Account {
  readonly id: number;
  readonly cents: number;
  readonly version: number;
}

beforeAll(async () => {
  for (const { db } of [pg, my]) {
    await migrateLocks(db);
    await db.query('create table account (id int primary key, cents int not null, version int not null)');
  }
});
beforeEach(async () => {
  for (const { db } of [pg, my]) {
    await db.query('delete from account');
    await db.query('insert into account values (1, 0, 1), (2, 0, 1), (3, 0, 1)');
  }
});
afterAll(async () => {
  await pg.end();
  await my.end();
  await onPostgres.drop();
  await onMysql.drop();
});

const ids = (rows: readonly { readonly id: number }[]): number[] => rows.map(({ id }) => id);

describe.each([
  ['PostgreSQL', pg.db, postgres],
  ['MySQL or MariaDB', my.db, mysql],
] as const)('rows in %s', (_, db: SqlDatabase, { withRowLock, fenceGuard, leaseRowBackend, pruneLeases }) => {
  const read = async (id: number): Promise<Account | undefined> =>
    (await db.query<Account>(`select * from account where id = ${String(id)}`)).rows[0];

  test('withRowLock waits not, skips, or throws, and keeps rows until the end of the transaction', async () => {
    await db.transaction(async (tx) => {
      const rows = await withRowLock(
        tx,
        'account',
        { version: 1 },
        { orderBy: 'id', limit: 1 },
        (found) => found,
      );
      expect(rows).toEqual([{ id: 1, cents: 0, version: 1 }]);
      await db.transaction(async (other) => {
        const skipping = { wait: 'skip-locked', orderBy: 'id' } as const;
        const free = await withRowLock<number[], Account>(other, 'account', { version: 1 }, skipping, ids);
        expect(free).toEqual([2, 3]);
        const shared = { ...skipping, mode: 'share' } as const;
        expect(await withRowLock<number[], Account>(other, 'account', { id: 1 }, shared, ids)).toEqual([]);
      });
      for (const mode of ['update', 'share'] as const) {
        const refused = db.transaction((other) =>
          withRowLock(other, 'account', { id: 1 }, { wait: 'nowait', mode }, () => 'in'),
        );
        await expect(refused).rejects.toThrow(LockTimeoutError);
      }
    });
    const both = await db.transaction((tx) =>
      withRowLock<boolean, Account>(tx, 'account', { id: 1 }, { mode: 'share' }, () =>
        db.transaction((other) =>
          withRowLock<boolean, Account>(
            other,
            'account',
            { id: 1 },
            { mode: 'share', wait: 'nowait' },
            ([row]) => row?.id === 1,
          ),
        ),
      ),
    );
    expect(both).toBe(true);
  });

  test('fenceGuard refuses what is lower, takes what is equal, and undoes nothing that was refused twice', async () => {
    const guard = (fence: number): Promise<void> =>
      db.transaction((tx) => fenceGuard(tx, 'guarded\0{key}', fence));
    await guard(5);
    await guard(5);
    await expect(guard(4)).rejects.toThrow(StaleFenceError);
    await guard(9);
    await expect(guard(5)).rejects.toMatchObject({ code: 'LOCK_STALE_FENCE', fence: 5 });
  });

  test('fenceGuard of two transactions at once: the second waits for the first', async () => {
    const order: string[] = [];
    let later: Promise<unknown> | undefined;
    await db.transaction(async (tx) => {
      await fenceGuard(tx, 'turns', 1);
      later = db.transaction((other) => fenceGuard(other, 'turns', 2)).then(() => order.push('second'));
      await read(1);
      order.push('first');
    });
    await later;
    expect(order).toEqual(['first', 'second']);
    await expect(db.transaction((tx) => fenceGuard(tx, 'turns', 1))).rejects.toThrow(StaleFenceError);
  });

  test('updateWithVersion changes what it saw, leaves, and misses', async () => {
    const add = (cents: number) => (row: Account) => ({ cents: row.cents + cents });
    expect(await optimistic.updateWithVersion(db, 'account', 1, add(5))).toEqual({
      state: 'updated',
      row: { id: 1, cents: 5, version: 2 },
      version: 2,
      conflicts: 0,
    });
    const left = await optimistic.updateWithVersion<Account>(db, 'account', { id: 1 }, () => undefined);
    expect(left.state === 'unchanged' && left.row.cents).toBe(5);
    expect(await optimistic.updateWithVersion(db, 'account', 99, add(1))).toEqual({
      state: 'missing',
      conflicts: 0,
    });
    expect(await read(1)).toEqual({ id: 1, cents: 5, version: 2 });
  });

  test.each([0, 1, Number.POSITIVE_INFINITY])(
    'updateWithVersion of many at once loses none, with pessimisticAfter %d',
    async (pessimisticAfter) => {
      const options = { pessimisticAfter, retries: 10_000 };
      const work = Array.from({ length: 40 }, () =>
        optimistic.updateWithVersion<Account>(
          db,
          'account',
          2,
          ({ cents }) => ({ cents: cents + 1 }),
          options,
        ),
      );
      const outcomes = await Promise.all(work);
      expect(await read(2)).toEqual({ id: 2, cents: 40, version: 41 });
      const versions = outcomes.map((outcome) => (outcome.state === 'updated' ? outcome.version : 0));
      expect(new Set(versions).size).toBe(40);
    },
  );

  test('updateWithVersion gives up after its retries, and locks a row that is hot', async () => {
    const steal = async (): Promise<void> => {
      await db.query('update account set version = version + 1 where id = 3');
    };
    const losing = optimistic.updateWithVersion<Account>(
      db,
      'account',
      3,
      async ({ cents }) => {
        await steal();
        return { cents: cents + 1 };
      },
      { retries: 2, pessimisticAfter: Number.POSITIVE_INFINITY },
    );
    await expect(losing).rejects.toThrow(VersionConflictError);
    let runs = 0;
    const locked = await optimistic.updateWithVersion<Account>(
      db,
      'account',
      3,
      async ({ cents }) => {
        if (++runs <= 2) await steal();
        return { cents: cents + 1 };
      },
      { pessimisticAfter: 2 },
    );
    expect([locked.state, locked.conflicts, runs]).toEqual(['updated', 2, 3]);
    expect((await read(3))?.cents).toBe(1);
  });

  test('pruned leases keep their fences rising', async () => {
    const locks = createLocks(leaseRowBackend(db));
    const before = await locks.acquire('pruned');
    const held = await locks.acquire('kept');
    await before.release();
    const long = '2001-01-01';
    await db.query(`update quorate_lock set changed_at = '${long}'`);
    expect(await pruneLeases(db, { idleMs: 60_000 })).toBe(1);
    expect(await pruneLeases(db, { idleMs: 60_000 })).toBe(0);
    held.assertHeld();
    expect(await held.extend()).toBeGreaterThan(0);
    const after = await locks.acquire('pruned');
    expect(after.fence).toBeGreaterThan(before.fence);
    await locks.close();
  });

  test('what cannot be is refused by name, and leaves nothing', async () => {
    const change = (): object => ({ cents: 1 });
    const bad = [
      [() => optimistic.updateWithVersion(db, 'acc\0unt', 1, change), /acc/],
      [() => optimistic.updateWithVersion(db, '', 1, change), /identifier/],
      [() => optimistic.updateWithVersion(db, 'account', undefined, change), /id/],
      [() => optimistic.updateWithVersion(db, 'account', 1, change, { versionColumn: 'nothing' }), /nothing/],
      [() => optimistic.updateWithVersion(db, 'account', 1, () => ({ version: 7 })), /version/],
      [() => optimistic.updateWithVersion(db, 'account', 1, () => ({ cents: undefined })), /cents/],
      [() => optimistic.updateWithVersion(db, 'account', 1, change, { retries: -1 }), /retries.*-1/],
      [() => optimistic.updateWithVersion(db, 'account', { version: 1 }, change), /id of one row/],
      [
        () => optimistic.updateWithVersion({ dialect: db.dialect } as never, 'account', 1, change),
        /SqlDatabase/,
      ],
      [() => db.transaction((tx) => withRowLock(tx, 'account', {}, {}, () => 1)), /where/],
      [() => db.transaction((tx) => withRowLock(tx, 'account', { id: undefined }, {}, () => 1)), /where\.id/],
      [
        () =>
          db.transaction((tx) => withRowLock(tx, 'account', { id: 1 }, { wait: 'soon' as never }, () => 1)),
        /soon/,
      ],
      [() => withRowLock(db as never, 'account', { id: 1 }, {}, () => 1), /transaction/],
      [() => db.transaction((tx) => fenceGuard(tx, '', 1)), /key/],
      [() => db.transaction((tx) => fenceGuard(tx, 'x'.repeat(256), 1)), /key/],
      [() => db.transaction((tx) => fenceGuard(tx, 'x', -1)), /fence.*-1/],
      [() => pruneLeases(db, { idleMs: 5 }), /idleMs.*5/],
    ] as const;
    for (const [call, message] of bad) await expect((async () => call())()).rejects.toThrow(message);
    // Whatever a name holds is a name.
    const odd = 'account"; drop table account; --`';
    await expect(optimistic.updateWithVersion(db, odd, 1, change)).rejects.toThrow();
    expect(await read(1)).toEqual({ id: 1, cents: 0, version: 1 });
    expect(() => leaseRowBackend(db.dialect === 'postgres' ? my.db : pg.db)).toThrow(/dialect/);
    expect(() => leaseRowBackend({} as never)).toThrow(/db/);
    const locks = createLocks(leaseRowBackend(db), { attempts: 1 });
    await db.query(`insert into quorate_lock (${db.dialect === 'postgres' ? 'key, fence, state' : '`key`, fence, state, changed_at'})
      values ('strange', 1, '[99]'${db.dialect === 'postgres' ? '' : ', now()'})`);
    await expect(locks.acquire('strange')).rejects.toThrow(/strange.*\[99\]/);
    await locks.close();
  });
});

describe('locks of a transaction', () => {
  const within = <T>(work: Parameters<SqlDatabase['transaction']>[0]): Promise<T> =>
    pg.db.transaction(work) as Promise<T>;

  test('end with it, share, time out without spoiling it, and exclude the locks of sessions', async () => {
    const { transactionLock, sessionLockBackend } = postgres;
    const locks = createLocks(sessionLockBackend(pg.db));
    await within(async (tx) => {
      await transactionLock(tx, 'k');
      await within(async (other) => {
        for (const waitMs of [0, 20]) {
          const late = transactionLock(other, 'k', { waitMs });
          await expect(late).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', waitMs });
        }
        // The setting of the transaction is as it was, and the transaction goes on.
        expect((await other.query(`select current_setting('lock_timeout') as t`)).rows).toEqual([{ t: '0' }]);
        await transactionLock(other, 'else', { waitMs: 5_000 });
        expect((await other.query(`select current_setting('lock_timeout') as t`)).rows).toEqual([{ t: '0' }]);
      });
      expect(await locks.tryAcquire('k')).toBeUndefined();
    });
    const lease = await locks.acquire('k');
    await within((tx) => expect(transactionLock(tx, 'k', { waitMs: 0 })).rejects.toThrow(LockTimeoutError));
    await lease.release();
    await within(async (tx) => {
      await transactionLock(tx, 'k', { shared: true });
      await within(async (other) => {
        await transactionLock(other, 'k', { shared: true, waitMs: 0 });
        await expect(transactionLock(other, 'k', { waitMs: 0 })).rejects.toThrow(LockTimeoutError);
      });
    });
    await locks.close();
    await expect(transactionLock(pg.db as never, 'k')).rejects.toThrow(/transaction/);
    await expect(within((tx) => transactionLock(tx, 'k', { waitMs: -1 }))).rejects.toThrow(/waitMs.*-1/);
    await expect(within((tx) => transactionLock(tx, '\ud800'))).rejects.toThrow(/key/);
  });
});

test('a read-only or closed client, and missing tables, are told as what they are', async () => {
  const readOnly = pgClient(onPostgres.url);
  readOnly.pool.options.options = '-c default_transaction_read_only=on';
  const locks = createLocks(postgres.leaseRowBackend(readOnly.db), { attempts: 1 });
  await expect(locks.acquire('read only')).rejects.toThrow(/LOCK_BACKEND.*read only.*read-only transaction/);
  const session = createLocks(postgres.sessionLockBackend(readOnly.db), { attempts: 1 });
  await expect(session.acquire('read only')).rejects.toThrow(
    /LOCK_BACKEND.*read only.*read-only transaction/,
  );
  expect(
    (
      await pg.db.query(
        `select 1 from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())`,
      )
    ).rows,
  ).toEqual([]);
  await session.close();
  await locks.close();
  await readOnly.end();
  const closed = createLocks(postgres.leaseRowBackend(readOnly.db), { attempts: 1 });
  await expect(closed.acquire('closed')).rejects.toThrow(/LOCK_BACKEND.*closed/);
  await closed.close();
  const backend = postgres.leaseRowBackend(pg.db);
  await backend.close();
  const request = {
    key: 'k',
    owner: 'o',
    mode: 'exclusive',
    permits: 1,
    total: 1,
    leaseMs: 1_000,
    wait: false,
  } as const;
  const watch = { changed: () => undefined, lost: () => undefined };
  await expect(backend.claim(request, { signal, waitMs: 0, watch })).rejects.toMatchObject({
    code: 'LOCK_CLOSED',
  });
  await using fresh = await freshDatabase('postgres');
  const empty = pgClient(fresh.url);
  const without = createLocks(postgres.leaseRowBackend(empty.db));
  await expect(without.acquire('k')).rejects.toThrow(/lockMigrations/);
  await without.close();
  await empty.end();
});
