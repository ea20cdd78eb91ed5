import { migrate, type SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { freshDatabase } from '@quorate/testing';
import { createPool } from 'mysql2/promise';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conformance } from '../../src/conformance.js';
import { createSqlLog, sqlLogMigrations } from '../../src/sql.js';

const postgres = await freshDatabase('postgres');
const mysql = await freshDatabase('mysql');
const pgPool = new pg.Pool({ connectionString: postgres.url, max: 4 });
const mysqlPool = createPool({ uri: mysql.url, connectionLimit: 4 });
const databases: Record<string, SqlDatabase> = {
  PostgreSQL: pgDatabase(pgPool),
  'MySQL or MariaDB': mysqlDatabase(mysqlPool),
};

beforeAll(async () => {
  for (const database of Object.values(databases)) {
    await migrate(database, { name: 'quorate_log', migrations: sqlLogMigrations });
  }
});

afterAll(async () => {
  await pgPool.end();
  await mysqlPool.end();
  await postgres.drop();
  await mysql.drop();
});

let logs = 0;
for (const [kind, database] of Object.entries(databases)) {
  conformance({
    name: `the log in ${kind}`,
    runner: { describe, it },
    crashImpossible: 'every write is a committed transaction: there is nothing unsynced to lose',
    setup() {
      const name = `log ${String(++logs)}`;
      return Promise.resolve({
        open: () => createSqlLog({ database, name }),
        teardown: () => Promise.resolve(),
      });
    },
  });

  it(`a writer in ${kind} that was overtaken is refused, and changes nothing`, async () => {
    const name = `log ${String(++logs)}`;
    const log = createSqlLog({ database, name });
    await log.load();
    // As if its session had been lost, and with it the lock.
    const set = database.dialect === 'postgres' ? '$1' : '?';
    await database.query(`update quorate_log set epoch = epoch + 1 where log_name = ${set}`, [name]);
    const entry = { index: 1, term: 1, kind: 'command' as const, data: Buffer.from('late') };
    await expect(log.write({ entries: [entry] }, { sync: true })).rejects.toMatchObject({
      code: 'STORAGE_LOCKED',
    });
    await log.close();
    const next = createSqlLog({ database, name });
    expect(await next.load()).toMatchObject({ last: 0 });
    await next.close();
  });
}

it.each(['postgres', 'mysql'] as const)('logs of one name in two databases of %s are two', async (kind) => {
  await using other = await freshDatabase(kind);
  const pool =
    kind === 'postgres'
      ? new pg.Pool({ connectionString: other.url, max: 2 })
      : createPool({ uri: other.url, connectionLimit: 2 });
  const there = pool instanceof pg.Pool ? pgDatabase(pool) : mysqlDatabase(pool);
  await migrate(there, { name: 'quorate_log', migrations: sqlLogMigrations });
  const here = kind === 'postgres' ? pgDatabase(pgPool) : mysqlDatabase(mysqlPool);
  const both = [here, there].map((database) => createSqlLog({ database, name: 'namesake' }));
  for (const log of both) await log.load();
  const third = createSqlLog({ database: here, name: 'namesake' });
  await expect(third.load()).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
  for (const log of both) await log.close();
  await pool.end();
});
