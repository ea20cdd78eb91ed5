// What query() and transaction() cost on top of pg itself, on one server in one run. Bare pg is the limit: it is
// what these functions are made of.
import { systemRuntime } from '@quorate/runtime';
import { pgDatabase } from '@quorate/sql/pg';
import { freshDatabase } from '@quorate/testing';
import pg from 'pg';

const ROUNDS = 15;
const ROUND_MS = 400;

const database = await freshDatabase('postgres');
const pool = new pg.Pool({ connectionString: database.url, max: 8 });
await pool.query('create table counter (id int primary key, n int not null)');
await pool.query('insert into counter select id, 0 from generate_series(1, 1000) id');
const db = pgDatabase(pool);
const UPDATE = 'update counter set n = n + 1 where id = $1';
let id = 0;
const nextId = (): number => (id = (id % 1000) + 1);

async function bareTransaction(savepoint: boolean): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    if (savepoint) await client.query('savepoint s');
    await client.query(UPDATE, [nextId()]);
    if (savepoint) await client.query('release savepoint s');
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

const cases: Record<string, { bare: () => Promise<unknown>; ours: () => Promise<unknown> }> = {
  'query()': {
    bare: () => pool.query('select $1::int as n', [1]),
    ours: () => db.query('select $1::int as n', [1]),
  },
  'transaction()': {
    bare: () => bareTransaction(false),
    ours: () => db.transaction((tx) => tx.query(UPDATE, [nextId()])),
  },
  'transaction() with savepoint()': {
    bare: () => bareTransaction(true),
    ours: () => db.transaction((tx) => tx.savepoint((inner) => inner.query(UPDATE, [nextId()]))),
  },
};

/** Runs `work` with so many at a time for one round and returns how many came to an end per second. */
async function rate(work: () => Promise<unknown>, atOnce: number): Promise<number> {
  const start = systemRuntime.monotonic();
  let done = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (systemRuntime.monotonic() - start < ROUND_MS) {
        await work();
        done++;
      }
    }),
  );
  return (done * 1000) / (systemRuntime.monotonic() - start);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const rows: Record<string, string>[] = [];
for (const [name, { bare, ours }] of Object.entries(cases)) {
  for (const atOnce of [1, 8]) {
    const rates: { bare: number[]; ours: number[]; ratio: number[] } = { bare: [], ours: [], ratio: [] };
    for (let round = 0; round < ROUNDS; round++) {
      // Side by side, and in turns first: what else the machine does falls on both.
      const first = round % 2 === 0;
      const a = await rate(first ? bare : ours, atOnce);
      const b = await rate(first ? ours : bare, atOnce);
      if (round === 0) continue;
      rates.bare.push(first ? a : b);
      rates.ours.push(first ? b : a);
      rates.ratio.push(first ? b / a : a / b);
    }
    rows.push({
      case: name,
      'at once': String(atOnce),
      'pg /s': median(rates.bare).toFixed(0),
      'quorate /s': median(rates.ours).toFixed(0),
      'ratio (median)': median(rates.ratio).toFixed(3),
    });
  }
}
console.table(rows);
await pool.end();
await database.drop();
