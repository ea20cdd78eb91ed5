/**
 * Locks in SQL beside the statements that they come down to.
 *
 * - acquire and release, one after the other and with 64 keys at once, beside plain lock and unlock statements, sent one
 *   by one on one connection and over a pool of ten, and beside the npm package advisory-lock
 * - read, change and write one of many rows, or one hot row, with 16 at once: compare-and-set, row locks, and the one that
 *   turns to the other
 *
 * Rounds are interleaved, and the ratios are medians of ratios within a round. Private servers that wait for the disk.
 */
import { createLocks, type LockBackend } from '@quorate/distributed-lock';
import * as mysql from '@quorate/distributed-lock/mysql';
import { updateWithVersion } from '@quorate/distributed-lock/optimistic';
import * as postgres from '@quorate/distributed-lock/postgres';
import { systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { isolated } from '@quorate/testing';
import advisoryLock from 'advisory-lock';
import { createPool } from 'mysql2/promise';
import { Client, Pool } from 'pg';

const ROUNDS = Number(process.env['ROUNDS'] ?? 7);
const SLICE_MS = Number(process.env['SLICE_MS'] ?? 500);
const AT_ONCE = 64;

/** Does one thing, for the how-manieth worker. */
type Work = (worker: number) => Promise<unknown>;

interface Slice {
  readonly perSecond: number;
  readonly cpuUs: number;
}

/** Runs for a slice of time with so many workers. */
async function slice(work: Work, workers: number): Promise<Slice> {
  const from = systemRuntime.monotonic();
  const cpu = process.cpuUsage();
  let done = 0;
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      while (systemRuntime.monotonic() - from < SLICE_MS) {
        await work(worker);
        done++;
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: (done * 1_000) / (systemRuntime.monotonic() - from), cpuUs: (user + system) / done };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** Measures contenders in turns, the first of which is the limit. */
async function compare(
  title: string,
  workers: number,
  contenders: Readonly<Record<string, Work>>,
): Promise<void> {
  const slices = new Map<string, Slice[]>();
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, work] of Object.entries(contenders)) {
      const measured = await slice(work, workers);
      if (round >= 0) slices.set(name, [...(slices.get(name) ?? []), measured]);
    }
  }
  const [limit = []] = slices.values();
  console.log(`\n${title}, ${String(workers)} at once`);
  const rows = [...slices].map(([name, own]) => [
    name,
    {
      'per second': Math.round(median(own.map(({ perSecond }) => perSecond))),
      'of the first': median(
        own.map(({ perSecond }, round) => perSecond / (limit[round]?.perSecond ?? Number.NaN)),
      ).toFixed(2),
      'CPU µs': Math.round(median(own.map(({ cpuUs }) => cpuUs))),
    },
  ]);
  console.table(Object.fromEntries(rows));
}

const keys = Array.from({ length: AT_ONCE }, (_, worker) => `bench/${String(worker)}`);
const ended: (() => Promise<unknown>)[] = [];

function locking(backend: LockBackend): Work {
  const locks = createLocks(backend);
  ended.unshift(() => locks.close());
  return async (worker) => {
    await (await locks.acquire(keys[worker] ?? '')).release();
  };
}

async function tables(db: SqlDatabase): Promise<void> {
  await migrate(db, { name: 'quorate_lock', migrations: postgres.lockMigrations });
  await db.query('create table account (id int primary key, cents int not null, version int not null)');
  for (let id = 0; id < 1_000; id++) await db.query(`insert into account values (${String(id)}, 0, 1)`);
}

/** Updates of one of many rows, or of one, with 16 at once. */
async function updates(
  title: string,
  db: SqlDatabase,
  withRowLock: typeof postgres.withRowLock,
): Promise<void> {
  const place = db.dialect === 'postgres' ? '$1' : '?';
  const locked =
    (row: () => number): Work =>
    () =>
      db.transaction(async (tx) => {
        const id = row();
        await withRowLock(tx, 'account', { id }, {}, () =>
          tx.query(`update account set cents = cents + 1, version = version + 1 where id = ${place}`, [id]),
        );
      });
  const versioned =
    (row: () => number, pessimisticAfter?: number): Work =>
    () =>
      updateWithVersion<{ cents: number }>(db, 'account', row(), ({ cents }) => ({ cents: cents + 1 }), {
        retries: 10_000,
        ...(pessimisticAfter === undefined ? {} : { pessimisticAfter }),
      });
  const spread = (): number => Math.floor(systemRuntime.random() * 1_000);
  const hot = (): number => 7;
  for (const [what, row] of [
    ['spread rows', spread],
    ['one hot row', hot],
  ] as const) {
    await compare(`${title}: ${what}`, 16, {
      'row locks': locked(row),
      optimistic: versioned(row, Number.POSITIVE_INFINITY),
      adaptive: versioned(row),
    });
  }
}

const pgServer = await isolated('postgres', { settings: { fsync: 'on' } });
const pool = new Pool({ connectionString: pgServer.url, max: 20 });
const ten = new Pool({ connectionString: pgServer.url, max: 10 });
const one = new Client({ connectionString: pgServer.url });
await one.connect();
const pg = pgDatabase(pool);
await tables(pg);
const ids = keys.map((key) => postgres.advisoryId(key));
const createMutex = advisoryLock.default(pgServer.url);
const mutexes = keys.map((key) => createMutex(key));
const onPostgres = {
  'raw, one connection': async (worker: number) => {
    await one.query('select pg_advisory_lock($1)', [ids[worker]]);
    await one.query('select pg_advisory_unlock($1)', [ids[worker]]);
  },
  'raw, ten connections': async (worker: number) => {
    const client = await ten.connect();
    await client.query('select pg_advisory_lock($1)', [ids[worker]]);
    await client.query('select pg_advisory_unlock($1)', [ids[worker]]);
    client.release();
  },
  'session locks': locking(postgres.sessionLockBackend(pg)),
  'locks of a transaction': (worker: number) =>
    pg.transaction((tx) => postgres.transactionLock(tx, keys[worker] ?? '')),
  'lease rows': locking(postgres.leaseRowBackend(pg)),
  'advisory-lock (npm)': async (worker: number) => {
    const unlock = await mutexes[worker]?.lock();
    await unlock?.();
  },
};
const myServer = await isolated('mysql', { settings: { 'innodb-flush-log-at-trx-commit': '1' } });
const myPool = createPool({ uri: myServer.url, connectionLimit: 20 });
const my = mysqlDatabase(myPool);
await tables(my);
const single = await myPool.getConnection();
const onMysql = {
  'raw, one connection': async (worker: number) => {
    await single.query(`select get_lock('raw/${String(worker)}', 10)`);
    await single.query(`select release_lock('raw/${String(worker)}')`);
  },
  'raw, pool': async (worker: number) => {
    const connection = await myPool.getConnection();
    await connection.query(`select get_lock('raw/${String(worker)}', 10)`);
    await connection.query(`select release_lock('raw/${String(worker)}')`);
    connection.release();
  },
  'named locks': locking(mysql.namedLockBackend(my)),
  'lease rows': locking(mysql.leaseRowBackend(my)),
};

for (const workers of [1, AT_ONCE]) {
  await compare('PostgreSQL: acquire and release', workers, onPostgres);
  await compare('MariaDB: acquire and release', workers, onMysql);
}
await updates('PostgreSQL', pg, postgres.withRowLock);
await updates('MariaDB', my, mysql.withRowLock);

for (const end of ended) await end();
single.release();
await Promise.all([pool.end(), ten.end(), one.end(), myPool.end()]);
await pgServer.stop();
await myServer.stop();
