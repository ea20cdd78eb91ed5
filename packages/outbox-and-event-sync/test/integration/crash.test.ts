import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createOutbox } from '@quorate/outbox-and-event-sync';
import { compiled } from '@quorate/testing';
import { gate, type OutboxDatabase, outboxDatabase } from './support.js';

/** Relays and producers that are killed, each at a random point of its work. */
const CRASHES = 24;
const SCRIPT = fileURLToPath(new URL('crashing.ts', import.meta.url));

let database: OutboxDatabase;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  database = await outboxDatabase(4);
  await database.pool.query(`
    create table produced (key text primary key, n int not null);
    create table deliveries (id text not null);
    create table effects (at bigserial primary key, key text not null, n int not null)`);
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await database[Symbol.asyncDispose]();
});

it('loses nothing, reorders nothing and doubles no effect, whichever process is killed at whatever point', async () => {
  const program = await compiled(SCRIPT);
  const done = gate();
  let seed = 1;
  let crashes = 0;
  let producersDone = false;
  let checking = false;
  let asked = false;

  const start = (role: 'relay' | 'producer'): void => {
    const mayCrash = crashes < CRASHES;
    const child = fork(program, [role, database.url, String(seed++), mayCrash ? 'crash' : 'live'], {
      execArgv: ['--enable-source-maps'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    children.add(child);
    child.on('message', () => {
      void check();
    });
    child.on('exit', (_, signal) => {
      children.delete(child);
      if (signal === 'SIGKILL') crashes++;
      if (role === 'relay' || signal === 'SIGKILL' || crashes < CRASHES) start(role);
      else producersDone = true;
      void check();
    });
  };
  const check = async (): Promise<void> => {
    asked = true;
    if (!producersDone || checking) return;
    checking = true;
    // What was settled while the question was under way may be missing in its answer, and be the last.
    while (asked) {
      asked = false;
      const { pending, dead } = await createOutbox().status(database.db);
      if (pending + dead > 0) continue;
      done.open();
      return;
    }
    checking = false;
  };
  start('relay');
  start('relay');
  start('producer');
  await done.opened;

  const { rows: produced } = await database.pool.query<{ key: string; n: number }>(
    'select key, n from produced order by key',
  );
  const { rows: effects } = await database.pool.query<{ key: string; ns: number[] }>(
    'select key, array_agg(n order by at) as ns from effects group by key order by key',
  );
  expect(effects).toEqual(
    produced.map(({ key, n }) => ({ key, ns: Array.from({ length: n }, (_, index) => index + 1) })),
  );
  const { rows: counts } = await database.pool.query<{ deliveries: number; effects: number }>(
    'select (select count(*) from deliveries)::int as deliveries, (select count(*) from effects)::int as effects',
  );
  expect(crashes).toBeGreaterThanOrEqual(CRASHES);
  expect(counts[0]?.effects).toBeGreaterThan(500);
  // Without a single duplicate the crashes would have missed the moments that matter.
  expect(counts[0]?.deliveries).toBeGreaterThan(counts[0]?.effects ?? 0);
}, 300_000);
