import { mysqlDatabase } from '@quorate/sql/mysql2';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { freshDatabase } from '@quorate/testing';
import { createPool } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createInbox, inboxMigrations } from '@quorate/outbox-and-event-sync';
import { gate, outboxDatabase } from './support.js';

interface Opened extends AsyncDisposable {
  readonly db: SqlDatabase;
}

async function openMysql(): Promise<Opened> {
  const database = await freshDatabase('mysql');
  const pool = createPool({ uri: database.url, connectionLimit: 10 });
  const db = mysqlDatabase(pool);
  await migrate(db, { name: 'quorate_inbox', migrations: inboxMigrations });
  return {
    db,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database.drop();
    },
  };
}

describe.each([
  ['PostgreSQL', () => outboxDatabase(1)],
  ['MySQL or MariaDB', openMysql],
] as const)('an inbox on %s', (_, open) => {
  let opened: Opened;
  let db: SqlDatabase;
  const inbox = createInbox({ consumer: 'mailer' });

  beforeAll(async () => {
    opened = await open();
    ({ db } = opened);
    await db.query('create table effect (n int not null)');
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });

  const effects = async (): Promise<number> => {
    const { rows } = await db.query<{ n: number | string }>('select count(*) as n from effect');
    return Number(rows[0]?.n);
  };
  const insert = (n: number): string => `insert into effect (n) values (${String(n)})`;

  it('runs the work once per message and consumer, and returns what it returned the first time', async () => {
    const take = (consumer: string) =>
      db.transaction((tx) =>
        createInbox({ consumer }).once(tx, 'm-1', async () => {
          await tx.query(insert(1));
          return { mail: 17 };
        }),
      );
    const before = await effects();
    expect(await take('mailer')).toEqual({ outcome: 'executed', result: { mail: 17 } });
    expect(await take('mailer')).toEqual({ outcome: 'duplicate', result: { mail: 17 } });
    expect(await take('mailer ')).toEqual({ outcome: 'executed', result: { mail: 17 } });
    expect(await take('Mailer')).toEqual({ outcome: 'executed', result: { mail: 17 } });
    expect(await effects()).toBe(before + 3);
  });

  it('leaves no mark when the transaction is rolled back', async () => {
    const rolledBack = db.transaction(async (tx) => {
      await inbox.once(tx, 'm-2', () => tx.query(insert(2)).then(() => undefined));
      throw new Error('later');
    });
    await expect(rolledBack).rejects.toThrow('later');
    expect(await db.transaction((tx) => inbox.once(tx, 'm-2', () => undefined))).toEqual({
      outcome: 'executed',
      result: undefined,
    });
  });

  it('leaves neither mark nor effect of work that threw, also if the caller goes on and commits', async () => {
    const before = await effects();
    await db.transaction(async (tx) => {
      const work = inbox.once(tx, 'm-3', async () => {
        await tx.query(insert(3));
        throw new Error('half done');
      });
      await expect(work).rejects.toThrow('half done');
    });
    expect(await effects()).toBe(before);
    expect(await db.transaction((tx) => inbox.once(tx, 'm-3', () => 'again'))).toMatchObject({
      outcome: 'executed',
    });
  });

  it('of concurrent duplicates one runs, and the others wait for it', async () => {
    const before = await effects();
    const entered = gate();
    const finish = gate();
    let runs = 0;
    const take = () =>
      db.transaction((tx) =>
        inbox.once(tx, 'm-4', async () => {
          runs++;
          entered.open();
          await finish.opened;
          await tx.query(insert(4));
          return runs;
        }),
      );
    const first = take();
    await entered.opened;
    const others = Array.from({ length: 4 }, take);
    finish.open();
    const results = await Promise.all([first, ...others]);
    expect(results.map(({ outcome }) => outcome).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'duplicate'),
      'executed',
    ]);
    expect(results.every(({ result }) => result === 1)).toBe(true);
    expect(await effects()).toBe(before + 1);
  });

  it('holds under REPEATABLE READ, with the retry of the database', async () => {
    const take = () =>
      db.transaction((tx) => inbox.once(tx, 'm-5', () => tx.query(insert(5)).then(() => 5)), {
        isolation: 'repeatable read',
      });
    const before = await effects();
    const results = await Promise.all(Array.from({ length: 5 }, take));
    expect(results.filter(({ outcome }) => outcome === 'executed')).toHaveLength(1);
    expect(results.every(({ result }) => result === 5)).toBe(true);
    expect(await effects()).toBe(before + 1);
  });

  it('works inside the work of another message', async () => {
    const nested = () =>
      db.transaction((tx) =>
        inbox.once(tx, 'outer', async () => {
          const inner = inbox.once(tx, 'inner', () => {
            throw new Error('inner fails');
          });
          await expect(inner).rejects.toThrow('inner fails');
          return (await inbox.once(tx, 'inner', () => 'second try')).result;
        }),
      );
    expect(await nested()).toEqual({ outcome: 'executed', result: 'second try' });
    expect(await nested()).toEqual({ outcome: 'duplicate', result: 'second try' });
  });

  it('prunes its own old marks in batches, and none that is young', async () => {
    const consumer = createInbox({ consumer: 'pruned' });
    for (let n = 0; n < 25; n++)
      await db.transaction((tx) => consumer.once(tx, `p-${String(n)}`, () => undefined));
    expect(await consumer.prune(db, { olderThanMs: 3_600_000 })).toBe(0);
    const old =
      db.dialect === 'postgres'
        ? `update inbox_seen set seen_at = seen_at - interval '1 day' where consumer = 'pruned'`
        : `update inbox_seen set seen_at = seen_at - interval 1 day where consumer = 'pruned'`;
    await db.query(old);
    const controller = new AbortController();
    controller.abort(new Error('stop'));
    const stopped = consumer.prune(db, { olderThanMs: 3_600_000, signal: controller.signal });
    await expect(stopped).rejects.toThrow('stop');
    expect(await consumer.prune(db, { olderThanMs: 3_600_000, batchSize: 10 })).toBe(25);
    expect(await db.transaction((tx) => inbox.once(tx, 'm-1', () => undefined))).toMatchObject({
      outcome: 'duplicate',
    });
  });

  it('refuses identifiers that do not fit and results that JSON cannot hold', async () => {
    const take = (id: unknown, result: unknown) =>
      db.transaction((tx) => inbox.once(tx, id as string, () => result));
    await expect(take('', 1)).rejects.toMatchObject({ option: 'messageId' });
    await expect(take(7, 1)).rejects.toMatchObject({ option: 'messageId' });
    await expect(take('m-6', () => {})).rejects.toMatchObject({ option: 'result' });
    // @ts-expect-error a database is no transaction
    await expect(inbox.once(db, 'm-7', () => 1)).rejects.toMatchObject({ option: 'tx' });
  });
});
