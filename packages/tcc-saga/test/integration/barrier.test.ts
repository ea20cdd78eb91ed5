import { InvalidOptionError, seededRandom } from '@quorate/runtime';
import { type IsolationLevel, migrate, type SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import {
  barrier,
  type BarrierCall,
  barrierMigrations,
  pruneBarrier,
  SuspendedError,
} from '@quorate/tcc-saga';
import { freshDatabase } from '@quorate/testing';
import { createPool } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deferred, testPool, uniqueId } from './support.js';

interface Server {
  readonly db: SqlDatabase;
  /** Asks how many statements wait for a lock; answers one row whose last column is the number. */
  readonly waiting: string;
  close(): Promise<void>;
}

async function postgres(): Promise<Server> {
  const fresh = await freshDatabase('postgres');
  const pool = testPool(fresh.url);
  return {
    db: pgDatabase(pool),
    waiting: `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`,
    async close() {
      await pool.end();
      await fresh.drop();
    },
  };
}

async function mysql(): Promise<Server> {
  const fresh = await freshDatabase('mysql');
  const pool = createPool({ uri: fresh.url, connectionLimit: 20 });
  return {
    db: mysqlDatabase(pool),
    // innodb_trx would be a cache that is not refreshed while it is being read.
    waiting: "show global status like 'innodb_row_lock_current_waits'",
    async close() {
      await pool.end();
      await fresh.drop();
    },
  };
}

const levels: readonly IsolationLevel[] = ['read committed', 'repeatable read', 'serializable'];

describe.each([
  ['PostgreSQL', postgres],
  ['MySQL or MariaDB', mysql],
] as const)('the barrier on %s', (_, connect) => {
  let server: Server;
  let db: SqlDatabase;

  beforeAll(async () => {
    server = await connect();
    ({ db } = server);
    await migrate(db, { name: 'quorate_barrier', migrations: barrierMigrations });
    await db.query('create table effect (gid varchar(255) not null, op varchar(16) not null)');
  });

  afterAll(async () => {
    await server.close();
  });

  const at = (n: number): string => (db.dialect === 'postgres' ? `$${String(n)}` : '?');

  /** A guarded call whose work writes an effect, in a transaction of its own. */
  function call(
    gid: string,
    op: BarrierCall['op'],
    options: { isolation?: IsolationLevel; seq?: number; before?: () => Promise<void> } = {},
  ) {
    const { isolation = 'read committed', seq = 0, before } = options;
    return db.transaction(
      async (tx) => {
        const result = await barrier(tx, { gid, branch: 'b', op, seq }, async () => {
          await tx.query(`insert into effect values (${at(1)}, ${at(2)})`, [gid, op]);
          return { did: op };
        });
        await before?.();
        return result;
      },
      { isolation, retry: { retries: 50, minMs: 1, maxMs: 20 } },
    );
  }

  async function effectsOf(gid: string): Promise<string[]> {
    const { rows } = await db.query<{ op: string }>(`select op from effect where gid = ${at(1)}`, [gid]);
    return rows.map((row) => row.op).sort();
  }

  async function untilOneWaits(): Promise<void> {
    for (;;) {
      const { rows } = await db.query(server.waiting);
      if (Number(Object.values(rows[0] ?? {}).at(-1)) > 0) return;
    }
  }

  /** Runs `first` up to before its commit, starts `second`, and lets `first` commit, or roll back, once `second` waits. */
  async function race<T>(
    gid: string,
    op: BarrierCall['op'],
    isolation: IsolationLevel,
    second: () => Promise<T>,
    rollBack = false,
  ): Promise<PromiseSettledResult<T>> {
    const entered = deferred();
    const release = deferred();
    let once = false;
    const first = call(gid, op, {
      isolation,
      async before() {
        if (once) return;
        once = true;
        entered.resolve();
        await release.promise;
        if (rollBack) throw new Error('rolled back on purpose');
      },
    });
    await entered.promise;
    const outcome = second();
    await untilOneWaits();
    release.resolve();
    const [firstEnd, secondEnd] = await Promise.allSettled([first, outcome]);
    expect(firstEnd.status).toBe(rollBack ? 'rejected' : 'fulfilled');
    return secondEnd;
  }

  it('runs a call once, and answers its repetition with the first result', async () => {
    const gid = uniqueId('repeat');
    for (const op of ['try', 'confirm'] as const) {
      expect(await call(gid, op)).toEqual({ outcome: 'executed', result: { did: op } });
      expect(await call(gid, op)).toEqual({ outcome: 'duplicate', result: { did: op } });
    }
    expect(await effectsOf(gid)).toEqual(['confirm', 'try']);
  });

  it('lets a cancel undo its try once', async () => {
    const gid = uniqueId('undo');
    await call(gid, 'try');
    expect(await call(gid, 'cancel')).toEqual({ outcome: 'executed', result: { did: 'cancel' } });
    expect(await call(gid, 'cancel')).toEqual({ outcome: 'duplicate', result: { did: 'cancel' } });
    expect(await effectsOf(gid)).toEqual(['cancel', 'try']);
    // The try repeated after all that did run once: it is a duplicate.
    expect((await call(gid, 'try')).outcome).toBe('duplicate');
  });

  it('does nothing for a cancel without a try, and suspends the try that comes later', async () => {
    const gid = uniqueId('empty');
    expect(await call(gid, 'cancel')).toEqual({ outcome: 'empty', result: undefined });
    expect(await call(gid, 'cancel')).toEqual({ outcome: 'duplicate', result: undefined });
    await expect(call(gid, 'try')).rejects.toThrow(SuspendedError);
    await expect(call(gid, 'try')).rejects.toMatchObject({ code: 'BARRIER_SUSPENDED', gid, branch: 'b' });
    expect(await effectsOf(gid)).toEqual([]);
  });

  it('keeps sequence numbers apart', async () => {
    const gid = uniqueId('seq');
    await call(gid, 'try', { seq: 1 });
    expect((await call(gid, 'try', { seq: 2 })).outcome).toBe('executed');
    expect((await call(gid, 'cancel', { seq: 3 })).outcome).toBe('empty');
    expect((await call(gid, 'cancel', { seq: 1 })).outcome).toBe('executed');
  });

  it('tells identifiers apart byte by byte', async () => {
    const gid = uniqueId('Bytes');
    await call(gid, 'try');
    for (const other of [`${gid} `, gid.toUpperCase(), gid.toLowerCase(), `${gid}é`, `${gid}e`]) {
      expect((await call(other, 'try')).outcome, other).toBe('executed');
    }
  });

  it('keeps results as JSON, and nothing where there is none', async () => {
    const results = [{ text: '\0 \' " \\ \u2028 😀', list: [null, -0.5] }, null, 0, '', false, undefined];
    for (const [n, result] of results.entries()) {
      const run = () =>
        db.transaction((tx) => barrier(tx, { gid: 'results', branch: String(n), op: 'try' }, () => result));
      expect(await run()).toEqual({ outcome: 'executed', result });
      expect(await run()).toEqual({ outcome: 'duplicate', result });
    }
  });

  it('leaves nothing behind when the work throws, even if the caller commits all the same', async () => {
    const gid = uniqueId('throws');
    await db.transaction(async (tx) => {
      const work = barrier(tx, { gid, branch: 'b', op: 'try' }, () => {
        throw new Error('no');
      });
      await expect(work).rejects.toThrow('no');
    });
    expect((await call(gid, 'try')).outcome).toBe('executed');
  });

  it('refuses a call that it cannot name, before any statement', async () => {
    for (const bad of [
      { gid: '' },
      { gid: 'x'.repeat(256) },
      { branch: 'a\0' },
      { op: 'undo' },
      { seq: -1 },
      { seq: 2 ** 31 },
    ]) {
      const key = { gid: 'g', branch: 'b', op: 'try', ...bad } as BarrierCall;
      await expect(barrier(db, key, () => undefined)).rejects.toThrow(InvalidOptionError);
    }
  });

  it('prunes what is old enough', async () => {
    await call(uniqueId('old'), 'try');
    expect(await pruneBarrier(db, { olderThanMs: 3_600_000 })).toBe(0);
    expect(await pruneBarrier(db, { olderThanMs: 0, limit: 1 })).toBe(1);
  });

  describe.each(levels)('under %s', (isolation) => {
    it('a try that races its twin waits for it and is a duplicate', async () => {
      const gid = uniqueId('twins');
      const second = await race(gid, 'try', isolation, () => call(gid, 'try', { isolation }));
      expect(second).toMatchObject({ value: { outcome: 'duplicate', result: { did: 'try' } } });
      expect(await effectsOf(gid)).toEqual(['try']);
    });

    it('a try that races a twin that rolls back runs itself', async () => {
      const gid = uniqueId('rollback');
      const second = await race(gid, 'try', isolation, () => call(gid, 'try', { isolation }), true);
      expect(second).toMatchObject({ value: { outcome: 'executed' } });
      expect(await effectsOf(gid)).toEqual(['try']);
    });

    it('a cancel that races its try waits for it and undoes it', async () => {
      const gid = uniqueId('chase');
      const second = await race(gid, 'try', isolation, () => call(gid, 'cancel', { isolation }));
      expect(second).toMatchObject({ value: { outcome: 'executed' } });
      expect(await effectsOf(gid)).toEqual(['cancel', 'try']);
    });

    it('a cancel that races a try that rolls back is empty, and suspends the next try', async () => {
      const gid = uniqueId('chase-rollback');
      const second = await race(gid, 'try', isolation, () => call(gid, 'cancel', { isolation }), true);
      expect(second).toMatchObject({ value: { outcome: 'empty' } });
      await expect(call(gid, 'try', { isolation })).rejects.toThrow(SuspendedError);
      expect(await effectsOf(gid)).toEqual([]);
    });

    it('a try that races an empty cancel is suspended', async () => {
      const gid = uniqueId('late-try');
      const second = await race(gid, 'cancel', isolation, () => call(gid, 'try', { isolation }));
      expect(second).toMatchObject({ reason: { code: 'BARRIER_SUSPENDED' } });
      expect(await effectsOf(gid)).toEqual([]);
    });

    it('whole crowds of calls at once leave each saga done, undone or untouched', async () => {
      const random = seededRandom(7);
      const gids = Array.from({ length: 40 }, () => uniqueId('crowd'));
      await Promise.all(
        gids.flatMap((gid) => {
          const ops = (['try', 'try', 'cancel', 'cancel'] as const).toSorted(() => random() - 0.5);
          return ops.map(async (op) => {
            try {
              await call(gid, op, { isolation });
            } catch (error) {
              if (!(error instanceof SuspendedError)) throw error;
            }
          });
        }),
      );
      const { rows } = await db.query<{ gid: string; op: string }>(
        "select gid, op from effect where gid like 'crowd%'",
      );
      for (const gid of gids) {
        const effects = rows
          .filter((row) => row.gid === gid)
          .map((row) => row.op)
          .sort()
          .join();
        expect(['', 'cancel,try']).toContain(effects);
      }
    });
  });
});
