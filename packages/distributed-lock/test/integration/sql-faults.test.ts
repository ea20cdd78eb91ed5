import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  createLocks,
  DeadlockError,
  type Lease,
  LockBackendError,
  type Locks,
} from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory } from '@quorate/distributed-lock/conformance';
import * as mysql from '@quorate/distributed-lock/mysql';
import * as postgres from '@quorate/distributed-lock/postgres';
import { sleep, systemRuntime } from '@quorate/runtime';
import type { SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { freshDatabase, isolated } from '@quorate/testing';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HolderMessage, HolderTask } from './holder.fixture.js';
import { migrateLocks, mysqlClient, pgClient, type SqlClient } from './sql-worlds.js';

const onPostgres = await freshDatabase('postgres');
const onMysql = await freshDatabase('mysql');
const pg = pgClient(onPostgres.url);
const my = mysqlClient(onMysql.url);
const open: Locks[] = [];

/** Locks that are closed at the end. */
function locksOver(...args: Parameters<typeof createLocks>): Locks {
  const locks = createLocks(...args);
  open.push(locks);
  return locks;
}

beforeAll(async () => {
  for (const { db } of [pg, my]) {
    await migrateLocks(db);
    await db.query('create table protected (id int primary key, writer varchar(20))');
    await db.query(`insert into protected values (1, 'nobody')`);
  }
});
afterAll(async () => {
  await Promise.all(open.map((locks) => locks.close()));
  await pg.end();
  await my.end();
  await onPostgres.drop();
  await onMysql.drop();
});

/** Starts a process that takes a lock, and waits until it has it. */
async function holder(task: HolderTask): Promise<ChildProcess & { readonly fence: number }> {
  const child = fork(new URL('holder.fixture.ts', import.meta.url).pathname, [JSON.stringify(task)], {
    execArgv: ['--conditions=@quorate/source', '--import', 'tsx'],
  });
  const { fence } = (await next(child, 'held')) as { readonly fence: number };
  return Object.assign(child, { fence });
}

async function next(child: ChildProcess, type: HolderMessage['type']): Promise<HolderMessage> {
  for (;;) {
    const [message] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) =>
        Promise.reject(new Error(`the process ended with ${String(code)}`)),
      ),
    ])) as [HolderMessage];
    if (message.type === type) return message;
  }
}

function aborted(lease: Lease): Promise<unknown> {
  return new Promise((resolve) => {
    if (lease.signal.aborted) resolve(lease.signal.reason);
    lease.signal.addEventListener('abort', () => resolve(lease.signal.reason), { once: true });
  });
}

const write = (
  db: SqlDatabase,
  guard: typeof postgres.fenceGuard,
  key: string,
  fence: number,
): Promise<void> =>
  db.transaction(async (tx) => {
    await guard(tx, key, fence);
    await tx.query(`update protected set writer = 'next'`);
  });

describe.each([
  ['PostgreSQL', onPostgres.url, pg as SqlClient<unknown>, postgres.leaseRowBackend, postgres.fenceGuard],
  ['MySQL or MariaDB', onMysql.url, my as SqlClient<unknown>, mysql.leaseRowBackend, mysql.fenceGuard],
] as const)('a process that holds a lease row in %s', (_, url, { db }, backend, guard) => {
  const writer = async (): Promise<unknown> => (await db.query('select writer from protected')).rows[0];

  test('is killed: the next has the lock after its lease, with a higher fence', async () => {
    const child = await holder({ url, backend: 'leases', key: 'killed', leaseMs: 1_500 });
    const locks = locksOver(backend(db), { leaseMs: 1_500 });
    expect(await locks.tryAcquire('killed')).toBeUndefined();
    child.kill('SIGKILL');
    const lease = await locks.acquire('killed', { waitMs: 30_000 });
    expect(lease.fence).toBeGreaterThan(child.fence);
    expect(await lease.release()).toBe('released');
  });

  test('is frozen for longer than its lease: its late write changes nothing', async () => {
    const child = await holder({ url, backend: 'leases', key: 'frozen', leaseMs: 1_500 });
    child.kill('SIGSTOP');
    const locks = locksOver(backend(db), { leaseMs: 1_500 });
    const lease = await locks.acquire('frozen', { waitMs: 30_000 });
    await write(db, guard, 'frozen', lease.fence);
    child.send('write');
    child.kill('SIGCONT');
    expect(await next(child, 'wrote')).toEqual({ type: 'wrote', accepted: false, held: false });
    expect(await writer()).toEqual({ writer: 'next' });
    await lease.release();
    child.kill('SIGKILL');
  });

  test('has a clock that is hours off: only that of the server counts', async () => {
    const skewed = (byMs: number): typeof systemRuntime => ({
      ...systemRuntime,
      now: () => systemRuntime.now() + byMs,
    });
    const behind = locksOver(backend(db, { runtime: skewed(-7_200_000) }), { runtime: skewed(-7_200_000) });
    const ahead = locksOver(backend(db, { runtime: skewed(7_200_000) }), { runtime: skewed(7_200_000) });
    for (const [one, other] of [
      [behind, ahead],
      [ahead, behind],
    ] as const) {
      const lease = await one.acquire('skewed');
      expect(await other.tryAcquire('skewed')).toBeUndefined();
      expect(await lease.release()).toBe('released');
    }
  });
});

describe('session locks', () => {
  test.each([
    ['PostgreSQL', onPostgres.url, () => postgres.sessionLockBackend(pg.db)],
    ['MySQL or MariaDB', onMysql.url, () => mysql.namedLockBackend(my.db)],
  ] as const)('of a process that is killed are free at once, in %s', async (_, url, backend) => {
    const child = await holder({ url, backend: 'session', key: 'killed', leaseMs: 600_000 });
    const locks = locksOver(backend());
    expect(await locks.tryAcquire('killed')).toBeUndefined();
    child.kill('SIGKILL');
    const lease = await locks.acquire('killed', { waitMs: 30_000 });
    expect(await lease.release()).toBe('released');
  });

  test('of a connection that the server ends are lost, and said to be', async () => {
    const locks = locksOver(postgres.sessionLockBackend(pg.db));
    const leases = [await locks.acquire('ended'), await locks.acquire('ended too')] as const;
    await pg.db.query(
      `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()`,
    );
    for (const lease of leases)
      expect(await aborted(lease)).toMatchObject({ code: 'LOCK_LOST', reason: 'session' });
    expect(await leases[0].release()).toBe('lost');
    const again = await locks.acquire('ended');
    expect(again.fence).toBeGreaterThan(leases[0].fence);
    expect(await again.release()).toBe('released');
  });

  test('of a connection that is killed are lost, and said to be, in MySQL or MariaDB', async () => {
    const locks = locksOver(mysql.namedLockBackend(my.db));
    const lease = await locks.acquire('ended');
    const { rows } = await my.db.query<{ id: number }>(
      `select id from information_schema.processlist where db = database() and id <> connection_id()`,
    );
    for (const { id } of rows) await my.db.query(`kill ${String(id)}`).catch(() => undefined);
    expect(await aborted(lease)).toMatchObject({ code: 'LOCK_LOST', reason: 'session' });
    expect(await lease.release()).toBe('lost');
    expect(await (await locks.acquire('ended')).release()).toBe('released');
  });

  test('are refused behind a pooler that would lend one session to two clients', async () => {
    await using pooler = await isolated('pgbouncer', {
      settings: { upstream: onPostgres.url, default_pool_size: '2' },
    });
    const url = new URL(pooler.url);
    url.pathname = new URL(onPostgres.url).pathname;
    // What happens without a look: both clients have the lock.
    const [one, two] = [pgClient(url.href, 3), pgClient(url.href, 3)];
    const take = `select pg_try_advisory_lock(7) as taken`;
    expect((await one.db.query(take)).rows).toEqual([{ taken: true }]);
    expect((await two.db.query(take)).rows).toEqual([{ taken: true }]);
    await one.db.query('select pg_advisory_unlock_all()');
    for (const { db } of [one, two, one]) {
      const locks = locksOver(postgres.sessionLockBackend(db));
      await expect(locks.acquire('pooled')).rejects.toThrow(/PgBouncer/);
      await locks.close();
    }
    const { rows } = await pg.db.query(
      `select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    expect(rows).toEqual([]);
    // The others work there.
    const locks = locksOver(postgres.leaseRowBackend(two.db));
    expect(await (await locks.acquire('pooled')).release()).toBe('released');
    await locks.close();
    await one.db.transaction(async (tx) => {
      await postgres.transactionLock(tx, 'pooled');
      await two.db.transaction((other) =>
        expect(postgres.transactionLock(other, 'pooled', { waitMs: 0 })).rejects.toMatchObject({
          code: 'LOCK_TIMEOUT',
        }),
      );
    });
    await one.end();
    await two.end();
  });

  test('exclude this process too, however many other keys came and went meanwhile', async () => {
    const locks = locksOver(postgres.sessionLockBackend(pg.db));
    const kept = await locks.acquire('kept');
    for (let round = 0; round < 5; round++) {
      const keys = Array.from({ length: 500 }, (_, at) => `came and went/${String(round)}/${String(at)}`);
      await Promise.all(keys.map((key) => locks.using(key, () => undefined)));
      expect(await locks.tryAcquire('kept')).toBeUndefined();
    }
    expect(await kept.release()).toBe('released');
    expect(await (await locks.acquire('kept')).release()).toBe('released');
    const { rows } = await pg.db.query(
      `select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    expect(rows).toEqual([]);
    await locks.close();
  });

  test('need a pool', async () => {
    const single = pgClient(onPostgres.url, 1);
    const locks = locksOver(postgres.sessionLockBackend(single.db), { attempts: 1, leaseMs: 60_000 });
    await expect(locks.acquire('single')).rejects.toThrow(LockBackendError);
    await locks.close();
    await single.end();
  });
});

describe('a deadlock', () => {
  test('ends one transaction with DeadlockError, and none of its locks stays behind', async () => {
    const both = ['a', 'b'] as const;
    const session = locksOver(postgres.sessionLockBackend(pg.db));
    const beside = await session.acquire('beside');
    let entered = 0;
    let all: () => void = () => undefined;
    const met = new Promise<void>((resolve) => (all = resolve));
    const outcomes = await Promise.allSettled(
      [both, ['b', 'a'] as const].map((keys) =>
        pg.db.transaction(
          async (tx) => {
            await postgres.transactionLock(tx, keys[0]);
            if (++entered === 2) all();
            await met;
            await postgres.transactionLock(tx, keys[1]);
          },
          { retry: 0 },
        ),
      ),
    );
    const failed = outcomes.filter(({ status }) => status === 'rejected');
    expect(failed).toHaveLength(1);
    expect((failed[0] as PromiseRejectedResult).reason).toBeInstanceOf(DeadlockError);
    // What the process has on its session is its own, and is let go by its own release.
    expect(beside.held).toBe(true);
    expect(await beside.release()).toBe('released');
    const left = `select objid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`;
    expect((await pg.db.query(left)).rows).toEqual([]);
  });

  test.each([
    ['PostgreSQL', pg.db, postgres.withRowLock],
    ['MySQL or MariaDB', my.db, mysql.withRowLock],
  ] as const)(
    'of rows is a DeadlockError, and the transaction is run again if it may, in %s',
    async (_, db, lock) => {
      await db.query('create table pair (id int primary key)');
      await db.query('insert into pair values (1), (2)');
      let entered = 0;
      let all: () => void = () => undefined;
      const met = new Promise<void>((resolve) => (all = resolve));
      const deadlocks: unknown[] = [];
      const work = [
        [1, 2],
        [2, 1],
      ].map((ids) =>
        db.transaction(async (tx) => {
          await lock(tx, 'pair', { id: ids[0] }, {}, () => undefined);
          if (++entered >= 2) all();
          await met;
          await lock(tx, 'pair', { id: ids[1] }, {}, () => undefined).catch((error: unknown) => {
            deadlocks.push(error);
            throw error;
          });
        }),
      );
      await Promise.all(work);
      expect(deadlocks.length).toBeGreaterThan(0);
      for (const error of deadlocks) expect(error).toBeInstanceOf(DeadlockError);
    },
  );
});

test('a server that is killed and comes back: no two holders, no lower fence, no claim that waits for ever', async () => {
  await using server = await isolated('postgres');
  const clients = [pgClient(server.url), pgClient(server.url), pgClient(server.url)];
  const db = clients[0]?.db ?? pg.db;
  await migrateLocks(db);
  await db.query(
    'create table written (id bigint generated always as identity primary key, fence bigint not null)',
  );
  const history = new LockHistory();
  const locks = clients.map(({ db }) =>
    createLocks(history.backend(postgres.leaseRowBackend(db)), { leaseMs: 2_000, attempts: 1_000 }),
  );
  let held = 0;
  let stop = false;
  const work = locks.map(async (one, index) => {
    while (!stop) {
      const lease = await one.acquire('contended');
      held++;
      history.entered(lease);
      const left = aborted(lease).then(() => history.left(lease));
      await (clients[index]?.db ?? db)
        .transaction(async (tx) => {
          await postgres.fenceGuard(tx, 'contended', lease.fence);
          await tx.query('insert into written (fence) values ($1)', [lease.fence]);
        })
        // What an outage or a stale fence ends has written nothing.
        .catch(() => undefined);
      if (lease.signal.aborted) await left;
      else history.left(lease);
      await lease.release().catch(() => undefined);
    }
  });
  const until = async (count: number): Promise<void> => {
    while (held < count) await sleep(systemRuntime, 5);
  };
  for (let round = 1; round <= 2; round++) {
    await until(held + 20);
    await server.kill();
    await server.restart();
  }
  await until(held + 20);
  stop = true;
  await Promise.all(work);
  await Promise.all(locks.map((one) => one.close()));
  // A reply that was lost hides a place in the queue from the record: order is judged by the kit, without faults.
  expect(checkLockHistory(history.events, { fencing: 'durable', fifo: false })).toEqual([]);
  const { rows } = await db.query<{ fence: string }>('select fence from written order by id');
  const fences = rows.map(({ fence }) => Number(fence));
  expect(fences.length).toBeGreaterThan(10);
  expect(fences).toEqual([...fences].sort((a, b) => a - b));
  await Promise.all(clients.map((client) => client.end()));
});

test('lease rows work in the hour that the time zone of a MySQL session leaves out in spring', async () => {
  // Its own server: the time zone belongs to all of it.
  await using server = await isolated('mysql');
  const connection = await createConnection(server.url);
  const spring = Date.UTC(2026, 2, 29, 2) / 1000;
  for (const statement of [
    'insert into time_zone values (77, "N")',
    'insert into time_zone_name values ("Test/Spring", 77)',
    'insert into time_zone_transition_type values (77, 0, 0, 0, "STD"), (77, 1, 3600, 1, "DST")',
    `insert into time_zone_transition values (77, 0, 0), (77, ${String(spring)}, 1)`,
    'set time_zone = "Test/Spring"',
    // 02:30 of UTC, which no clock of that zone shows.
    `set timestamp = ${String(spring + 1_800)}`,
  ])
    await connection.query(statement);
  const db = mysqlDatabase(connection);
  const { rows } = await db.query('select cast(now() as char) as here, cast(utc_timestamp() as char) as utc');
  expect(rows).toEqual([{ here: '2026-03-29 03:30:00', utc: '2026-03-29 02:30:00' }]);
  await migrateLocks(db);
  const locks = locksOver(mysql.leaseRowBackend(db));
  const first = await locks.acquire('spring');
  expect(await first.release()).toBe('released');
  const second = await locks.acquire('spring');
  expect(second.fence).toBeGreaterThan(first.fence);
  await locks.close();
  await connection.end();
});
