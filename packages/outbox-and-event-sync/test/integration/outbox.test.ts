import { migrate, MigrationError } from '@quorate/sql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createOutbox,
  createRelay,
  InvalidMessageError,
  type Message,
  outboxMigrationsWith,
  OutboxNotMigratedError,
} from '@quorate/outbox-and-event-sync';
import { Collector, gate, type OutboxDatabase, outboxDatabase } from './support.js';

let database: OutboxDatabase;
beforeAll(async () => {
  database = await outboxDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

/** Publishes what is there with a relay of its own, until `count` messages came. */
async function drain(count: number): Promise<readonly Message[]> {
  const got = new Collector<Message>();
  await using relay = createRelay({
    db: database.db,
    publish: (messages) => {
      got.add(...messages);
      return Promise.resolve(messages.map(() => 'published' as const));
    },
  });
  await relay.start();
  return await got.count(count);
}

/** Resolves when some session waits for an advisory lock. */
async function untilSomebodyWaitsForAKey(): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query(
      `select from pg_locks l join pg_database d on d.oid = l.database
       where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`,
    );
    if (rows.length > 0) return;
  }
}

describe('publishing in a transaction', () => {
  const outbox = createOutbox();

  it('delivers what was committed, as it was published, and nothing of what was rolled back', async () => {
    const payload = { amount: 12.5, text: 'żółć \u0000 "', nested: [null, true, { a: 1 }], big: 2 ** 53 - 1 };
    const refused = database.db.transaction(async (tx) => {
      await outbox.publish(tx, { topic: 'order.placed', key: 'o-1', payload: 'never' });
      throw new Error('business says no');
    });
    await expect(refused).rejects.toThrow('business says no');
    const ids = await database.db.transaction((tx) =>
      outbox.publish(tx, [
        { topic: 'order.placed', key: 'o-1', payload, headers: { traceparent: '00-ab-cd-01' }, id: 'mine' },
        { topic: 'order.paid', payload: null },
      ]),
    );
    expect(ids[0]).toBe('mine');
    expect(ids[1]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const got = await drain(2);
    expect(got).toHaveLength(2);
    expect(got.find(({ topic }) => topic === 'order.placed')).toMatchObject({
      id: 'mine',
      key: 'o-1',
      payload,
      headers: { traceparent: '00-ab-cd-01' },
      attempts: 0,
    });
    expect(got.find(({ topic }) => topic === 'order.paid')).toMatchObject({ key: ids[1], payload: null });
    expect(await outbox.status(database.db)).toMatchObject({
      pending: 0,
      dead: 0,
      partitions: 8,
      relays: [],
    });
  });

  it('a transaction that began first and locked the key second is delivered second', async () => {
    const begun = gate();
    const otherPublished = gate();
    const mayCommit = gate();
    const first = database.db.transaction(async (tx) => {
      await tx.query('select now()');
      begun.open();
      await otherPublished.opened;
      await outbox.publish(tx, { topic: 't', key: 'k', payload: 'began first' });
    });
    await begun.opened;
    const second = database.db.transaction(async (tx) => {
      await outbox.publish(tx, { topic: 't', key: 'k', payload: 'locked first' });
      otherPublished.open();
      await mayCommit.opened;
    });
    await untilSomebodyWaitsForAKey();
    mayCommit.open();
    await Promise.all([first, second]);
    expect((await drain(2)).map(({ payload }) => payload)).toEqual(['locked first', 'began first']);
  });

  it('a message with a lower number that is committed late is not lost', async () => {
    await using single = await outboxDatabase(1);
    const mayCommit = gate();
    const inserted = gate();
    const slow = single.db.transaction(async (tx) => {
      await outbox.publish(tx, { topic: 't', key: 'b', payload: 'late' });
      inserted.open();
      await mayCommit.opened;
    });
    await inserted.opened;
    await single.db.transaction((tx) => outbox.publish(tx, { topic: 't', key: 'a', payload: 'early' }));
    const got = new Collector<Message>();
    await using relay = createRelay({
      db: single.db,
      publish: (messages) => {
        got.add(...messages);
        return Promise.resolve(messages.map(() => 'published' as const));
      },
    });
    await relay.start();
    await got.count(1);
    expect(got.items.map(({ payload }) => payload)).toEqual(['early']);
    mayCommit.open();
    await slow;
    await got.count(2);
    const [one, two] = got.items;
    expect(two?.payload).toBe('late');
    expect(two?.seq).toBeLessThan(one?.seq ?? 0);
  });

  it('keeps the order of a key within a call and across concurrent transactions', async () => {
    await database.pool.query('create table counter (key text primary key, n int not null)');
    await database.pool.query(`insert into counter values ('x', 0), ('y', 0)`);
    await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        database.db.transaction(async (tx) => {
          const key = index % 2 === 0 ? 'x' : 'y';
          const { rows } = await tx.query<{ n: number }>(
            'update counter set n = n + 2 where key = $1 returning n',
            [key],
          );
          const n = rows[0]?.n ?? 0;
          await outbox.publish(tx, [
            { topic: 'count', key, payload: n - 1 },
            { topic: 'count', key, payload: n },
          ]);
        }),
      ),
    );
    const got = await drain(120);
    for (const key of ['x', 'y'])
      expect(got.filter((one) => one.key === key).map(({ payload }) => payload)).toEqual(
        Array.from({ length: 60 }, (_, index) => index + 1),
      );
  });

  it('publishes ten thousand messages of as many keys in one statement, with a bounded number of locks', async () => {
    await database.db
      .transaction(async (tx) => {
        await outbox.publish(
          tx,
          Array.from({ length: 10_000 }, (_, n) => ({ topic: 't', key: `key-${String(n)}`, payload: n })),
        );
        const { rows } = await tx.query<{ locks: number }>(
          `select count(*)::int as locks from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
        );
        expect(rows[0]?.locks).toBeLessThanOrEqual(4_096);
        throw new Error('enough');
      })
      .catch((error: unknown) => {
        expect(error).toMatchObject({ message: 'enough' });
      });
  });

  it('takes no lock for order "insert"', async () => {
    const mayCommit = gate();
    const relaxed = createOutbox({ order: 'insert' });
    const published = gate();
    const holder = database.db.transaction(async (tx) => {
      await outbox.publish(tx, { topic: 't', key: 'k', payload: 1 });
      published.open();
      await mayCommit.opened;
    });
    await published.opened;
    await database.db.transaction((tx) => relaxed.publish(tx, { topic: 't', key: 'k', payload: 2 }));
    mayCommit.open();
    await holder;
    await drain(2);
  });
});

describe('bad input', () => {
  const outbox = createOutbox({ maxPayloadBytes: 100 });
  const publish = (message: unknown): Promise<string[]> =>
    database.db.transaction((tx) => outbox.publish(tx, message as { topic: string; payload: unknown }));

  it.each([
    ['no topic', { payload: 1 }, 'message.topic'],
    ['an empty topic', { topic: '', payload: 1 }, 'message.topic'],
    ['a key with a control character', { topic: 't', key: 'a\u0000', payload: 1 }, 'message.key'],
    ['a key of 256 bytes', { topic: 't', key: 'ż'.repeat(128), payload: 1 }, 'message.key'],
    ['an id that is no string', { topic: 't', id: 7, payload: 1 }, 'message.id'],
    ['headers that are no strings', { topic: 't', payload: 1, headers: { a: 1 } }, 'message.headers["a"]'],
    ['no message', null, 'message'],
  ])('%s is refused by name', async (_, message, option) => {
    await expect(publish(message)).rejects.toMatchObject({ code: 'INVALID_OPTION', option });
  });

  it('names the message of many', async () => {
    const bad = [{ topic: 't', payload: 1 }, { topic: 't' }];
    await expect(publish(bad)).rejects.toThrow('messages[1].payload cannot be written as JSON');
  });

  it('refuses payloads that are no JSON, or too large', async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    await expect(publish({ topic: 't', payload: circle })).rejects.toThrow(InvalidMessageError);
    await expect(publish({ topic: 't', payload: 1n })).rejects.toMatchObject({ code: 'PAYLOAD_NOT_JSON' });
    await expect(publish({ topic: 't', payload: 'x'.repeat(99) })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
  });

  it('refuses a database in the place of a transaction', async () => {
    // @ts-expect-error the declaration refuses it, too
    await expect(outbox.publish(database.db, { topic: 't', payload: 1 })).rejects.toMatchObject({
      option: 'tx',
    });
  });
});

describe('without its tables', () => {
  it('says that the migration is missing', async () => {
    await using bare = await outboxDatabase();
    await bare.pool.query('drop table outbox_message cascade');
    const publish = bare.db.transaction((tx) => createOutbox().publish(tx, { topic: 't', payload: 1 }));
    await expect(publish).rejects.toThrow(OutboxNotMigratedError);
    const relay = createRelay({ db: bare.db, publish: { t: () => {} } });
    await expect(relay.start()).rejects.toThrow(OutboxNotMigratedError);
    await relay.close();
  });
});

it('another number of partitions is refused once the tables are there', async () => {
  await using single = await outboxDatabase(1);
  const again = (partitions: number) =>
    migrate(single.db, { name: 'quorate_outbox', migrations: outboxMigrationsWith({ partitions }) });
  expect(await again(1)).toEqual({ applied: [] });
  await expect(again(2)).rejects.toThrow(MigrationError);
});
