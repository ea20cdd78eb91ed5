import { migrate } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { isolated } from '@quorate/testing';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import {
  createRelay,
  LeaseLostError,
  type Message,
  outboxMigrations,
  type RelayErrorEvent,
  relayErrors,
  relayLeases,
  type RelayLeasesEvent,
  relaySettled,
  type RelaySettledEvent,
  RelayStateError,
} from '@quorate/outbox-and-event-sync';
import { useRelays } from './relay-fixture.js';
import { Collector, gate } from './support.js';

const fixture = useRelays();
const { outbox, publish, relay, events, drained, cleanup } = fixture;

describe('leases', () => {
  it('a relay whose fence was passed changes nothing any more, and its publisher is told', async () => {
    const settled = events<RelaySettledEvent>(relaySettled, 'stale');
    const handed = gate<AbortSignal>();
    const finish = gate();
    await publish({ topic: 't', key: 'k', payload: 1 });
    const stale = relay({
      owner: 'stale',
      leaseMs: 300,
      publish: async (messages, signal) => {
        handed.open(signal);
        await finish.opened;
        return messages.map(() => 'published' as const);
      },
    });
    await stale.start();
    const signal = await handed.opened;
    await fixture.database.pool.query(
      `update outbox_partition set owner = 'thief', fence = fence + 1, lease_until = now() + interval '1 hour'`,
    );
    // The next heartbeat notices. The publisher's late success must not delete what is the thief's to publish.
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    finish.open();
    await settled.count(1);
    expect(await outbox.status(fixture.database.db)).toMatchObject({ pending: 1 });
    expect(stale.status().partitions).toEqual([]);
  });

  it('an acknowledgement under an old fence deletes nothing, and a failure under it blocks nothing', async () => {
    const settled = events<RelaySettledEvent>(relaySettled, 'late');
    const handed = gate();
    const finish = gate();
    await publish({ topic: 't', key: 'a', payload: 1 }, { topic: 't', key: 'b', payload: 2 });
    const late = relay({
      owner: 'late',
      leaseMs: 60_000,
      publish: async (messages) => {
        handed.open();
        await finish.opened;
        return messages.map(({ key }) => (key === 'a' ? 'published' : { failed: 'x' }));
      },
    });
    await late.start();
    await handed.opened;
    await fixture.database.pool.query(
      `update outbox_partition set owner = 'thief', fence = fence + 1, lease_until = now() + interval '1 hour'`,
    );
    finish.open();
    await settled.count(1);
    expect(settled.items[0]).toMatchObject({ fenced: 2 });
    expect(await outbox.status(fixture.database.db)).toMatchObject({ pending: 2, blockedKeys: 0 });
  });

  it('two relays share the partitions fairly, and one takes all again when the other closes', async () => {
    const changes = new Collector<RelayLeasesEvent>();
    cleanup(relayLeases.subscribe((event) => changes.add(event)));
    const publisher = (messages: readonly Message[]) =>
      Promise.resolve(messages.map(() => 'published' as const));
    const a = relay({ leaseMs: 300, publish: publisher });
    const b = relay({ leaseMs: 300, publish: publisher });
    await a.start();
    expect(a.status().partitions).toHaveLength(8);
    await b.start();
    await changes.until(() => b.status().partitions.length === 4);
    expect(a.status().partitions).toHaveLength(4);
    expect(new Set([...a.status().partitions, ...b.status().partitions]).size).toBe(8);
    await a.close();
    await changes.until(() => b.status().partitions.length === 8);
    expect(await outbox.status(fixture.database.db)).toMatchObject({
      relays: [b.status().owner],
      leasedPartitions: 8,
    });
  });

  it('a partition is not given up while its messages are in flight', async () => {
    const changes = new Collector<RelayLeasesEvent>();
    cleanup(relayLeases.subscribe((event) => changes.add(event)));
    const handed = gate<number>();
    const finish = gate();
    const a = relay({
      leaseMs: 300,
      publish: async (messages) => {
        handed.open(messages[0]?.partition ?? -1);
        await finish.opened;
        return messages.map(() => 'published' as const);
      },
    });
    const taken: Message[] = [];
    const b = relay({ leaseMs: 300, publish: { t: (message) => taken.push(message) } });
    // Only some keys are in partitions that the second relay is to get; publish for all of them.
    await publish(
      ...Array.from({ length: 40 }, (_, n) => ({ topic: 't', key: `k${String(n)}`, payload: n })),
    );
    await a.start();
    await handed.opened;
    await b.start();
    await changes.until((items) => items.filter(({ owner }) => owner === a.status().owner).length > 0);
    expect(a.status().partitions).toHaveLength(8);
    finish.open();
    await changes.until(() => b.status().partitions.length === 4);
    expect(taken).toEqual([]);
  });
});

describe('life cycle', () => {
  it('close waits for what is under way, acknowledges it and gives the leases up at once', async () => {
    const handed = gate();
    const finish = gate();
    await publish({ topic: 't', payload: 1 });
    const one = relay({
      leaseMs: 60_000,
      publish: async (messages) => {
        handed.open();
        await finish.opened;
        return messages.map(() => 'published' as const);
      },
    });
    await one.start();
    await handed.opened;
    const closing = one.close();
    expect(one.status().state).toBe('closing');
    finish.open();
    await closing;
    expect(one.status()).toMatchObject({ state: 'closed', inFlight: 0, partitions: [] });
    expect(await outbox.status(fixture.database.db)).toMatchObject({
      pending: 0,
      leasedPartitions: 0,
      relays: [],
    });
    await one.close();
    await expect(one.start()).rejects.toThrow(RelayStateError);
  });

  it('close gives up on a publisher that does not end, and leaves its messages to the next relay', async () => {
    const handed = gate<AbortSignal>();
    await publish({ topic: 't', payload: 1 });
    const one = relay({
      publish: (_, signal) => {
        handed.open(signal);
        return new Promise(() => {});
      },
    });
    await one.start();
    const signal = await handed.opened;
    await one.close({ drainMs: 10 });
    expect(signal.reason).toMatchObject({ code: 'RELAY_CLOSED' });
    expect(await outbox.status(fixture.database.db)).toMatchObject({
      pending: 1,
      leasedPartitions: 0,
      blockedKeys: 0,
    });
  });

  it('never has more in flight than allowed, however slow the publisher is', async () => {
    const most = { inFlight: 0 };
    await publish(
      ...Array.from({ length: 300 }, (_, n) => ({ topic: 't', key: `k${String(n)}`, payload: n })),
    );
    const settled = events<RelaySettledEvent>(relaySettled, 'bounded');
    const one = relay({
      owner: 'bounded',
      batchSize: 10,
      maxInFlight: 25,
      concurrency: 3,
      publish: (messages) => {
        expect(messages.length).toBeLessThanOrEqual(10);
        most.inFlight = Math.max(most.inFlight, one.status().inFlight);
        return Promise.resolve(messages.map(() => 'published' as const));
      },
    });
    await one.start();
    await drained(settled);
    expect(most.inFlight).toBeGreaterThan(0);
    expect(most.inFlight).toBeLessThanOrEqual(25);
    expect(settled.items.reduce((sum, { published }) => sum + published, 0)).toBe(300);
  });

  it('wakes up for a hint instead of waiting for the next look', async () => {
    const arrived = new Collector<Message>();
    const one = relay({ pollMs: 3_600_000, publish: { t: (message) => arrived.add(message) } });
    await one.start();
    // With growing delays the relay is soon asleep for good; every hint has to end the sleep of its time.
    for (let n = 1; n <= 3; n++) {
      await publish({ topic: 't', payload: n });
      one.wake();
      await arrived.count(n);
    }
  });

  it('wakes up for notifications of other processes', async () => {
    const arrived = new Collector<Message>();
    const listens = gate();
    const listening = new pg.Client({ connectionString: fixture.database.url });
    cleanup(() => listening.end());
    await listening.connect();
    const one = relay({
      pollMs: 3_600_000,
      publish: { t: (message) => arrived.add(message) },
      hints: async (wake) => {
        listening.on('notification', wake);
        await listening.query('listen outbox');
        listens.open();
        return async () => {
          await listening.query('unlisten outbox');
        };
      },
    });
    await one.start();
    await listens.opened;
    await publish({ topic: 't', payload: 1 });
    await fixture.database.pool.query('notify outbox');
    await arrived.count(1);
    await one.close();
  });

  it('runs without hints when they cannot be had, and says so', async () => {
    const errors = events<RelayErrorEvent>(relayErrors, 'deaf');
    const arrived = new Collector<Message>();
    const one = relay({
      owner: 'deaf',
      publish: { t: (message) => arrived.add(message) },
      hints: () => Promise.reject(new Error('no LISTEN through this pooler')),
    });
    await one.start();
    await publish({ topic: 't', payload: 1 });
    await arrived.count(1);
    await errors.count(1);
    expect(errors.items).toMatchObject([{ during: 'listen' }]);
  });

  it('goes on after the database was killed and started again', async () => {
    const server = await isolated('postgres');
    cleanup(() => server.stop());
    const pool = new pg.Pool({ connectionString: server.url });
    cleanup(() => pool.end());
    pool.on('error', () => {});
    const db = pgDatabase(pool);
    await migrate(db, { name: 'quorate_outbox', migrations: outboxMigrations });
    const errors = events<RelayErrorEvent>(relayErrors, 'restarted');
    const arrived = new Collector<Message>();
    const one = createRelay({
      db,
      owner: 'restarted',
      leaseMs: 1_000,
      publish: { t: (message) => arrived.add(message) },
    });
    cleanup(() => one.close({ drainMs: 0 }));
    await one.start();
    await db.transaction((tx) => outbox.publish(tx, { topic: 't', payload: 'before' }));
    await arrived.count(1);
    await server.kill();
    await errors.count(1);
    await server.restart();
    await db.transaction((tx) => outbox.publish(tx, { topic: 't', payload: 'after' }));
    await arrived.until((items) => items.some(({ payload }) => payload === 'after'));
  });
});
