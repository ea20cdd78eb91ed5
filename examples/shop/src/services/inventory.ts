import { migrate, type SqlDatabase, type SqlTransaction } from '@quorate/sql';
import { barrierMigrations } from '@quorate/tcc-saga';
import { Type } from 'typebox';
import { inventoryBranch } from '../lib/contracts.js';
import { Problem } from '../lib/http.js';
import { runService } from '../lib/service.js';
import { participate, type Refusal } from '../lib/tcc-participant.js';
import { sql } from '../sql.gen.js';

interface Line {
  readonly sku: string;
  readonly quantity: number;
}

/** Books goods that came in. False when that reference was booked before: then nothing changes. */
function receive(db: SqlDatabase, reference: string, { sku, quantity }: Line): Promise<boolean> {
  return db.transaction(async (tx) => {
    const { rowCount } = await tx.query(sql['inventory-receive'], [reference, sku, quantity]);
    if (rowCount === 0) return false;
    await tx.query('update stock set on_hand = on_hand + $2 where sku = $1', [sku, quantity]);
    return true;
  });
}

/** Promises all lines to the order, or none and says why. */
async function reserve(
  tx: SqlTransaction,
  order: string,
  lines: readonly Line[],
): Promise<Refusal | undefined> {
  const skus = lines.map(({ sku }) => sku);
  const { rows } = await tx.query<{ sku: string; free: number }>(sql['inventory-lock'], [skus]);
  const free = new Map(rows.map((row) => [row.sku, row.free]));
  for (const { sku, quantity } of lines) {
    const left = free.get(sku) ?? 0;
    if (left < quantity) {
      return { code: 'OUT_OF_STOCK', message: `${String(quantity)} × ${sku} wanted, ${String(left)} left` };
    }
  }
  await tx.query(sql['inventory-reserve'], [order, skus, lines.map(({ quantity }) => quantity)]);
  return undefined;
}

async function ship(tx: SqlTransaction, order: string): Promise<void> {
  await lockStockOf(tx, order);
  await tx.query(sql['inventory-ship'], [order]);
}

async function release(tx: SqlTransaction, order: string): Promise<void> {
  await lockStockOf(tx, order);
  await tx.query(sql['inventory-release'], [order]);
}

/** Every order takes its rows of stock in the same sequence, so that no two wait for each other. */
async function lockStockOf(tx: SqlTransaction, order: string): Promise<void> {
  const { rows } = await tx.query<{ sku: string }>('select sku from reservation where order_id = $1', [
    order,
  ]);
  await tx.query(sql['inventory-lock'], [rows.map(({ sku }) => sku)]);
}

await runService(
  'inventory',
  'What is in stock, and what is promised to whom.',
  async ({ db, http, transport }) => {
    await migrate(db, {
      name: 'inventory',
      migrations: [{ id: 1, name: 'stock', sql: { postgres: sql['inventory-schema'] } }],
    });
    await migrate(db, { name: 'quorate_barrier', migrations: barrierMigrations });

    participate(transport, db, inventoryBranch, {
      try: (tx, order, { lines }) => reserve(tx, order, lines),
      confirm: ship,
      cancel: release,
    });

    const Stock = Type.Object({ sku: Type.String(), onHand: Type.Integer(), reserved: Type.Integer() });
    http.get(
      '/stock',
      {
        schema: {
          summary: 'What is on hand, and how much of it is promised',
          response: { 200: Type.Array(Stock) },
        },
      },
      async () => {
        const text = 'select sku, on_hand as "onHand", reserved from stock order by sku';
        return [...(await db.query<{ sku: string; onHand: number; reserved: number }>(text)).rows];
      },
    );

    const Receipt = Type.Object(
      {
        reference: Type.String({
          minLength: 1,
          maxLength: 255,
          description: 'Yours; a repeated one counts once',
        }),
        sku: Type.String({ minLength: 1, maxLength: 255 }),
        quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
      },
      { additionalProperties: false },
    );
    http.post(
      '/stock',
      {
        schema: {
          summary: 'Receive goods',
          body: Receipt,
          response: { 200: Type.Object({ booked: Type.Boolean() }), 400: Problem },
        },
      },
      async ({ body: { reference, ...line } }) => ({ booked: await receive(db, reference, line) }),
    );
  },
);
