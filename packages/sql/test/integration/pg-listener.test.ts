import { once } from 'node:events';
import { eventChannel } from '@quorate/runtime';
import { migrate } from '@quorate/sql';
import { type ListenerEvent, ListenUnavailableError, pgDatabase, pgListener } from '@quorate/sql/pg';
import { freshDatabase, isolated, service } from '@quorate/testing';
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';

const database = await freshDatabase('postgres');
/** A pool whose idle connections may be terminated by the server. */
function poolOf(connectionString: string): pg.Pool {
  const one = new pg.Pool({ connectionString, max: 8 });
  one.on('error', () => undefined);
  return one;
}
const pool = poolOf(database.url);
afterAll(async () => {
  await pool.end();
  await database.drop();
});
const QUICK = { minMs: 1, maxMs: 10 };

const notify = (channel: string, payload: string, through = pool) =>
  through.query('select pg_notify($1, $2)', [channel, payload]);

/** Collects what is heard, and waits for the next of it. */
function inbox() {
  const heard: string[] = [];
  let wake: () => void = () => undefined;
  return {
    heard,
    put(payload: string) {
      heard.push(payload);
      wake();
    },
    async until(count: number) {
      while (heard.length < count) await new Promise<void>((resolve) => (wake = resolve));
      return heard;
    },
  };
}

function nextState(state: ListenerEvent['state']): Promise<ListenerEvent> {
  return new Promise((resolve) => {
    const stop = eventChannel<ListenerEvent>('sql', 'listener').subscribe((event) => {
      if (event.state !== state) return;
      stop();
      resolve(event);
    });
  });
}

describe('a listener', () => {
  test('hears its channels and no others, until it stops, and gives its connection back', async () => {
    await using listener = pgListener(pool);
    const odd = 'My "odd" channel';
    const [a, b] = [inbox(), inbox()];
    const stopA = await listener.listen(odd, (payload) => {
      a.put(payload);
    });
    const stopB = await listener.listen('b', (payload) => {
      b.put(payload);
    });
    await notify(odd, '1');
    await notify('b', '2');
    await notify('c', '3');
    expect(await Promise.all([a.until(1), b.until(1)])).toEqual([['1'], ['2']]);
    await stopA();
    await notify(odd, '4');
    await notify('b', '5');
    expect([await b.until(2), a.heard]).toEqual([['2', '5'], ['1']]);
    await stopB();
    expect(pool.idleCount).toBe(pool.totalCount);
    const { rows } = await pool.query('select pg_listening_channels()');
    expect(rows).toEqual([]);
  });

  test('a notification that commits right after listen resolved is heard', async () => {
    await using listener = pgListener(pool);
    const all = inbox();
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const channel = `race_${String(index % 5)}`;
        await listener.listen(channel, () => {
          all.put(channel);
        });
      }),
    );
    await notify('race_3', '');
    expect(await all.until(4)).toEqual(Array<string>(4).fill('race_3'));
  });

  test('listens again after its connection was killed, and says that notifications may have been missed', async () => {
    await using listener = pgListener(pool, QUICK);
    const [heard, missed] = [inbox(), inbox()];
    await listener.listen(
      'again',
      (payload) => {
        heard.put(payload);
      },
      {
        missed: () => {
          missed.put('missed');
        },
      },
    );
    const lost = nextState('lost');
    await pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen %'`,
    );
    expect(await lost).toMatchObject({ channels: ['again'], error: { code: '57P01' } });
    await missed.until(1);
    await notify('again', 'after');
    expect([await heard.until(1), missed.heard]).toEqual([['after'], ['missed']]);
  });

  test('notices a server that does not answer, and listens again once it does', async () => {
    await using server = await isolated('postgres');
    const own = poolOf(server.url);
    const listener = pgListener(own, { ...QUICK, pingMs: 50 });
    const [heard, missed] = [inbox(), inbox()];
    await listener.listen(
      'slow',
      (payload) => {
        heard.put(payload);
      },
      {
        missed: () => {
          missed.put('missed');
        },
      },
    );
    const lost = nextState('lost');
    await server.pause();
    expect(await lost).toMatchObject({ error: { code: 'DEADLINE_EXCEEDED' } });
    await server.resume();
    await missed.until(1);
    await notify('slow', 'after', own);
    expect(await heard.until(1)).toEqual(['after']);
    await listener.close();
    await own.end();
  });

  test('waits for a server that is not there yet, unless told otherwise', async () => {
    await using server = await isolated('postgres');
    await server.kill();
    const own = poolOf(server.url);
    const listener = pgListener(own, QUICK);
    const controller = new AbortController();
    const aborted = listener.listen('early', () => undefined, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    const lost = nextState('lost');
    const listening = listener.listen('early', () => undefined);
    expect(await lost).toMatchObject({ error: { code: 'ECONNREFUSED' } });
    await server.restart();
    await listening;
    await listener.close();
    await own.end();
  });

  test('closing ends the waiting of those who listen, and later calls fail', async () => {
    const listener = pgListener(pool);
    const waiting = listener.listen('never', () => undefined);
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'LISTENER_CLOSED' });
    await listener.close();
    await listener.close();
    await outcome;
    await expect(listener.listen('never', () => undefined)).rejects.toMatchObject({
      code: 'LISTENER_CLOSED',
    });
    // A connection that was still being made comes back as soon as it is there.
    await expect.poll(() => pool.totalCount - pool.idleCount, { interval: 5 }).toBe(0);
  });

  test('an error in what was given to hear is uncaught and stops nobody else', async () => {
    await using listener = pgListener(pool);
    const all = inbox();
    const failure = new Error('mine');
    const others = process.rawListeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught = once(process, 'uncaughtException');
    try {
      await listener.listen('bad', () => {
        throw failure;
      });
      await listener.listen('bad', (payload) => {
        all.put(payload);
      });
      await notify('bad', '1');
      expect(await all.until(1)).toEqual(['1']);
      expect((await uncaught)[0]).toBe(failure);
    } finally {
      for (const other of others) process.on('uncaughtException', other as (error: Error) => void);
    }
  });

  test.each([
    ['', {}, 'INVALID_IDENTIFIER'],
    ['x'.repeat(64), {}, 'INVALID_IDENTIFIER'],
  ])('refuses the channel %o', async (channel, options, code) => {
    await expect(pgListener(pool, options).listen(channel, () => undefined)).rejects.toMatchObject({ code });
  });

  test('refuses options that make no sense', () => {
    expect(() => pgListener(pool, { pingMs: 0 })).toThrow('INVALID_OPTION: pingMs');
    expect(() => pgListener(pool, { selfTestMs: Number.NaN })).toThrow('INVALID_OPTION: selfTestMs');
  });
});

describe('behind a transaction pooler', () => {
  test('listening is refused, and transactions and migrations work', async () => {
    await using pooler = await isolated('pgbouncer', { settings: { upstream: await service('postgres') } });
    const url = new URL(pooler.url);
    url.pathname = `/${database.name}`;
    const pooled = poolOf(url.href);
    const listener = pgListener(pooled, { selfTestMs: 300 });
    await expect(listener.listen('any', () => undefined)).rejects.toBeInstanceOf(ListenUnavailableError);
    await listener.close();

    const db = pgDatabase(pooled);
    const migrations = [{ id: 1, name: 'pooled', sql: { postgres: 'create table pooled (n int)' } }];
    const results = await Promise.all(
      Array.from({ length: 4 }, () => migrate(db, { name: 'pooled', migrations, schema: 'pooled' })),
    );
    expect(results.flatMap(({ applied }) => applied)).toEqual([1]);
    await Promise.all(
      Array.from({ length: 6 }, () =>
        db.transaction(async (tx) => {
          await tx.query('select pg_advisory_xact_lock(7)');
          const { rows } = await tx.query<{ n: number }>('select count(*)::int as n from pooled.pooled');
          await tx.query('insert into pooled.pooled values ($1)', [rows[0]?.n]);
        }),
      ),
    );
    expect((await db.query('select n from pooled.pooled order by n')).rows).toEqual(
      [0, 1, 2, 3, 4, 5].map((n) => ({ n })),
    );
    await pooled.end();
  }, 120_000);
});
