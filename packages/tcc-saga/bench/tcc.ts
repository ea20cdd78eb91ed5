/**
 * TCCs per second and statements per TCC, beside the limit: the same statements written by hand in plain pg, without
 * a coordinator: insert, decide, end for each of the same number of transactions at a time.
 *
 * Two branches that do nothing, so that what is measured is the coordination. A private PostgreSQL with fsync on.
 */
import { systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { createCoordinator, defineTcc, tccSagaMigrations } from '@quorate/tcc-saga';
import { isolated } from '@quorate/testing';
import { Pool } from 'pg';
import { sql } from '../src/sql.gen.js';

const CONNECTIONS = 10;
const server = await isolated('postgres', { settings: { fsync: 'on' } });
const pool = new Pool({ connectionString: server.url, max: CONNECTIONS });
const plain = pgDatabase(pool);
let statements = 0;
const db: SqlDatabase = {
  dialect: plain.dialect,
  query: (text, values) => {
    statements++;
    return plain.query(text, values);
  },
  transaction: (work, options) => {
    // begin, the one statement of the end, commit
    statements += 3;
    return plain.transaction(work, options);
  },
  session: (work, options) => plain.session(work, options),
};
await migrate(db, { name: 'quorate_tcc_saga', migrations: tccSagaMigrations });

const branch = { try: () => undefined, confirm: () => undefined, cancel: () => undefined };
const branches = { stock: branch, money: branch };
const bare = defineTcc({ name: 'bare', deadlineMs: 60_000, branches });
const hooked = defineTcc({ name: 'hooked', deadlineMs: 60_000, branches, onConfirmed: () => undefined });
const coordinator = createCoordinator({ db, definitions: [bare, hooked], concurrency: 256 });
coordinator.start();

/** Runs `total` of `one`, `width` at a time; how many per second. */
async function rate(total: number, width: number, one: () => Promise<unknown>): Promise<number> {
  let left = total;
  const start = systemRuntime.monotonic();
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await one();
    }),
  );
  return (total * 1000) / (systemRuntime.monotonic() - start);
}

const initial = JSON.stringify({
  stock: { try: 'pending', second: 'pending' },
  money: { try: 'pending', second: 'pending' },
});
const tried = JSON.stringify({
  stock: { try: 'succeeded', second: 'pending' },
  money: { try: 'succeeded', second: 'pending' },
});
const done = JSON.stringify({
  stock: { try: 'succeeded', second: 'done' },
  money: { try: 'succeeded', second: 'done' },
});
let ids = 0;

/** What one TCC costs at the least: three statements, each with a commit of its own. */
async function byHand(): Promise<void> {
  const id = `by hand ${String(ids++)}`;
  await pool.query(sql.begin, [[id], ['x'], [1], ['null'], [initial], [null], [60_000], [15_000], ['me']]);
  await pool.query(sql.store, [
    [id],
    [1],
    ['decision'],
    ['confirming'],
    [null],
    [tried],
    [null],
    [1],
    [15_000],
  ]);
  await pool.query(sql.store, [[id], [1], ['end'], ['confirmed'], [null], [done], [null], [1], [0]]);
}

async function tcc(definition: typeof bare): Promise<void> {
  const { id } = await coordinator.begin(definition, { input: null });
  await coordinator.wait(id);
}

const rows: Record<string, Record<string, string>> = {};
for (const [width, total] of [
  [1, 400],
  [16, 4000],
  [128, 8000],
] as const) {
  // Once unmeasured, so that neither pays for the first compilation and the first pages.
  await rate(total / 4, width, byHand);
  await rate(total / 4, width, () => tcc(bare));
  const limit = await rate(total, width, byHand);
  const report = (name: string, perSecond: number, perTcc: number): void => {
    rows[`${name}, ${String(width)} at a time`] = {
      'TCC/s': perSecond.toFixed(0),
      'of the limit': (perSecond / limit).toFixed(2),
      'statements/TCC': perTcc.toFixed(2),
    };
  };
  report('by hand in pg', limit, 3);
  for (const definition of [bare, hooked]) {
    statements = 0;
    const perSecond = await rate(total, width, () => tcc(definition));
    report(definition === bare ? 'tcc-saga' : 'tcc-saga with a hook', perSecond, statements / total);
  }
}
console.table(rows);
await coordinator.close();
await pool.end();
await server.stop();
