import { describe, expect, it } from 'vitest';
import {
  discardDead,
  listDead,
  type Message,
  redrive,
  relayFailed,
  type RelayFailedEvent,
  relaySettled,
  type RelaySettledEvent,
} from '@quorate/outbox-and-event-sync';
import { useRelays } from './relay-fixture.js';
import { Collector, gate } from './support.js';

const fixture = useRelays();
const { outbox, publish, relay, events, drained } = fixture;

describe('failures', () => {
  it('block their key only, and the key goes on in order when it is tried again', async () => {
    const arrived = new Collector<Message>();
    const othersDone = gate();
    let refusals = 0;
    const settled = events<RelaySettledEvent>(relaySettled, 'blocked');
    const failed = events<RelayFailedEvent>(relayFailed, 'blocked');
    await publish(
      ...['1', '2', '3'].flatMap((n) =>
        ['bad', 'good-1', 'good-2'].map((key) => ({ topic: 't', key, payload: n })),
      ),
    );
    const one = relay({
      owner: 'blocked',
      publish: {
        t: async (message) => {
          if (message.key === 'bad' && message.payload === '1' && refusals++ < 3) {
            if (refusals === 3) await othersDone.opened;
            throw new Error('refused');
          }
          arrived.add(message);
          if (arrived.items.length === 6) othersDone.open();
        },
      },
    });
    await one.start();
    await drained(settled);
    expect(arrived.items.slice(0, 6).some(({ key }) => key === 'bad')).toBe(false);
    for (const key of ['bad', 'good-1', 'good-2'])
      expect(arrived.items.filter((message) => message.key === key).map(({ payload }) => payload)).toEqual([
        '1',
        '2',
        '3',
      ]);
    expect(failed.items.map(({ attempts, key }) => [key, attempts])).toEqual([
      ['bad', 1],
      ['bad', 2],
      ['bad', 3],
    ]);
    expect(failed.items[0]?.error).toMatchObject({ message: 'refused' });
  });

  it('a poison message becomes a dead letter, its key waits, and a redrive delivers all in order', async () => {
    const arrived = new Collector<Message>();
    let poisonous = true;
    const failed = events<RelayFailedEvent>(relayFailed, 'poison');
    const settled = events<RelaySettledEvent>(relaySettled, 'poison');
    const [poison] = await publish(
      { topic: 't', key: 'k', payload: 1 },
      { topic: 't', key: 'k', payload: 2 },
      { topic: 't', key: 'other', payload: 3 },
    );
    const one = relay({
      owner: 'poison',
      maxAttempts: 3,
      publish: (messages) => {
        const stop = new Set<string>();
        return Promise.resolve(
          messages.map((message) => {
            if (stop.has(message.key)) return 'skipped';
            if (message.payload === 1 && poisonous) {
              stop.add(message.key);
              return { failed: new Error('cannot be read') };
            }
            arrived.add(message);
            return 'published';
          }),
        );
      },
    });
    await one.start();
    await failed.until((items) => items.some(({ retryAfterMs }) => retryAfterMs === undefined));
    await arrived.count(1);
    expect(await outbox.status(fixture.database.db)).toMatchObject({ pending: 1, dead: 1, blockedKeys: 1 });
    expect(await listDead(fixture.database.db)).toMatchObject([
      { id: poison, topic: 't', key: 'k', payload: 1, attempts: 3, reason: 'Error: cannot be read' },
    ]);
    expect(await listDead(fixture.database.db, { topic: 'u' })).toEqual([]);
    poisonous = false;
    expect(await redrive(fixture.database.db, [poison ?? ''])).toBe(1);
    expect(await redrive(fixture.database.db, [poison ?? ''])).toBe(0);
    await drained(settled);
    expect(arrived.items.map(({ payload }) => payload)).toEqual([3, 1, 2]);
    expect(await outbox.status(fixture.database.db)).toMatchObject({ pending: 0, dead: 0, blockedKeys: 0 });
  });

  it('a key goes on after a dead letter if asked, and after the dead letter was discarded', async () => {
    const arrived = new Collector<Message>();
    const refuseFirst = (message: Message): void => {
      if (message.payload === 1) throw new Error('never');
      arrived.add(message);
    };
    await publish(...[1, 2].map((payload) => ({ topic: 'go', key: 'k', payload })));
    const settled = events<RelaySettledEvent>(relaySettled, 'dead');
    const going = relay({
      owner: 'dead',
      maxAttempts: 1,
      afterDead: 'continue-key',
      publish: { go: refuseFirst },
    });
    await going.start();
    await drained(settled);
    expect(arrived.items.map(({ payload }) => payload)).toEqual([2]);
    await going.close();

    const [first] = await publish(...[1, 2].map((payload) => ({ topic: 'wait', key: 'k', payload })));
    const waiting = relay({ owner: 'dead', maxAttempts: 1, publish: { wait: refuseFirst } });
    const failed = events<RelayFailedEvent>(relayFailed, 'dead');
    await waiting.start();
    await failed.count(1);
    expect(await discardDead(fixture.database.db, [first ?? '', 'unknown'])).toBe(1);
    await drained(settled);
    expect(arrived.items.map(({ payload }) => payload)).toEqual([2, 2]);
  });

  it('one message that makes the publisher throw does not stop its neighbours', async () => {
    const arrived = new Collector<Message>();
    await publish(
      ...Array.from({ length: 50 }, (_, n) => ({ topic: 't', key: `k${String(n)}`, payload: n })),
    );
    const one = relay({
      maxAttempts: Infinity,
      publish: (messages) => {
        if (messages.some(({ payload }) => payload === 7)) throw new Error('a bug on number 7');
        arrived.add(...messages);
        return Promise.resolve(messages.map(() => 'published' as const));
      },
    });
    await one.start();
    await arrived.count(49);
    expect(arrived.items.some(({ payload }) => payload === 7)).toBe(false);
  });

  it.each([
    ['no array', undefined, /returned undefined for 1 messages/],
    ['too few outcomes', [], /returned 0 outcomes for 1 messages/],
    ['no outcome', ['sent'], /returned "sent" for a message/],
  ])('a publisher that returns %s has failed', async (_, returned, reason) => {
    const failed = events<RelayFailedEvent>(relayFailed, 'outcomes');
    await publish({ topic: 't', payload: 1 });
    const one = relay({ owner: 'outcomes', publish: () => Promise.resolve(returned as never) });
    await one.start();
    await failed.count(1);
    expect(failed.items[0]?.error).toMatchObject({
      code: 'INVALID_OUTCOME',
      message: expect.stringMatching(reason) as string,
    });
  });

  it('a topic without a handler fails by name', async () => {
    const failed = events<RelayFailedEvent>(relayFailed, 'handlers');
    await publish({ topic: 'toString', payload: 1 });
    await relay({ owner: 'handlers', publish: { 'order.placed': () => {} } }).start();
    await failed.count(1);
    expect(failed.items[0]?.error).toMatchObject({ code: 'NO_HANDLER' });
  });

  it('a publisher that hangs is given up after its time, and the others go on meanwhile', async () => {
    const arrived = new Collector<Message>();
    const failed = events<RelayFailedEvent>(relayFailed, 'hangs');
    await publish({ topic: 't', key: 'hangs', payload: 1 }, { topic: 't', key: 'runs', payload: 2 });
    let signalled: AbortSignal | undefined;
    const one = relay({
      owner: 'hangs',
      publishTimeoutMs: 50,
      publish: {
        t: (message, signal) => {
          arrived.add(message);
          if (message.key !== 'hangs') return;
          signalled ??= signal;
          return new Promise(() => {});
        },
      },
    });
    await one.start();
    await failed.count(1);
    expect(signalled?.reason).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(arrived.items.map(({ key }) => key)).toContain('runs');
    expect(failed.items[0]).toMatchObject({ key: 'hangs', attempts: 1 });
  });
});
