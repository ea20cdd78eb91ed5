import { createHash } from 'node:crypto';
import { type SqlConnection, toSafeInteger } from '@quorate/sql';
import { type Static, Type } from 'typebox';
import { CATALOGUE } from '../catalogue.js';
import { OrderLine } from '../lib/contracts.js';
import { HttpProblem } from '../lib/http.js';
import { sql } from '../sql.gen.js';

/** What an order is: its shapes, its price, and how it is stored. */

export const NewOrder = Type.Object(
  {
    account: Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'Who pays: an account of the payment service',
    }),
    email: Type.String({ maxLength: 254, pattern: '^[^@\\s]+@[^@\\s]+$', description: 'Who is told' }),
    lines: Type.Array(OrderLine, { minItems: 1, maxItems: 20 }),
  },
  { additionalProperties: false },
);
export type NewOrder = Static<typeof NewOrder>;

export const OrderState = Type.Union([
  Type.Literal('pending'),
  Type.Literal('confirmed'),
  Type.Literal('cancelled'),
]);

export const Order = Type.Object({
  id: Type.String(),
  state: OrderState,
  reason: Type.Union([Type.String(), Type.Null()], { description: 'Why it was cancelled' }),
  account: Type.String(),
  email: Type.String(),
  lines: Type.Array(OrderLine),
  total: Type.Integer({ description: 'In cents' }),
  createdAt: Type.String({ format: 'date-time' }),
});
export type Order = Static<typeof Order>;

const PRICES: ReadonlyMap<string, number> = new Map(CATALOGUE.map(({ sku, price }) => [sku, price]));

/**
 * What the lines cost, in cents.
 * @throws {@link HttpProblem} 400 that names the line that cannot be priced
 */
export function priceOf(lines: NewOrder['lines']): number {
  const seen = new Set<string>();
  let total = 0;
  for (const [index, { sku, quantity }] of lines.entries()) {
    const price = PRICES.get(sku);
    if (price === undefined) throw unfit(index, `is not in the catalogue: ${sku}`);
    if (seen.has(sku)) throw unfit(index, `names ${sku} again; add its quantities up`);
    seen.add(sku);
    total += price * quantity;
  }
  return total;
}

function unfit(line: number, problem: string): HttpProblem {
  const field = `lines/${String(line)}/sku`;
  return new HttpProblem(400, 'INVALID_REQUEST', `body: ${field} ${problem}`, [{ field, problem }]);
}

/** Equal for two requests that ask for the same, whatever the sequence of their fields. */
export function fingerprint({ account, email, lines }: NewOrder): string {
  const canonical = JSON.stringify([account, email, lines.map(({ sku, quantity }) => [sku, quantity])]);
  return createHash('sha256').update(canonical).digest('hex');
}

/** Stores a pending order. False when the idempotency key is taken: then nothing changes. */
export async function insertOrder(
  tx: SqlConnection,
  id: string,
  idempotencyKey: string,
  order: NewOrder,
  total: number,
): Promise<boolean> {
  const { account, email, lines } = order;
  const values = [id, idempotencyKey, fingerprint(order), account, email, JSON.stringify(lines), total];
  return (await tx.query(sql['order-insert'], values)).rowCount > 0;
}

/** Ends a pending order, in the transaction that also ends its saga. */
export async function endOrder(
  tx: SqlConnection,
  id: string,
  state: 'confirmed' | 'cancelled',
  reason: string | null,
): Promise<void> {
  await tx.query(sql['order-end'], [id, state, reason]);
}

const REFUSED = 'BRANCH_REFUSED: ';

/** Why an order was cancelled, in a sentence that begins with a code: from what its branches answered. */
export function cancelReason(
  reason: 'refused' | 'deadline' | undefined,
  errors: Readonly<Record<string, string>>,
): string {
  const refusal = Object.values(errors).find((error) => error.startsWith(REFUSED));
  if (reason === 'refused' && refusal !== undefined) return refusal.slice(REFUSED.length);
  const waitedFor = Object.entries(errors).map(([branch, error]) => `${branch}: ${error}`);
  return `DEADLINE: not decided in time; ${waitedFor.join('; ')}`;
}

interface OrderRow extends Omit<Order, 'total' | 'createdAt'> {
  readonly total: string;
  readonly createdAt: Date;
  readonly requestHash: string;
}

/** The order with this id, or the one that was made with this idempotency key. */
export async function findOrder(
  db: SqlConnection,
  by: { readonly id: string } | { readonly idempotencyKey: string },
): Promise<{ readonly order: Order; readonly requestHash: string } | undefined> {
  const values = 'id' in by ? [by.id, null] : [null, by.idempotencyKey];
  const { rows } = await db.query<OrderRow>(sql['order-find'], values);
  return rows[0] && { order: toOrder(rows[0]), requestHash: rows[0].requestHash };
}

/** The latest orders first. */
export async function listOrders(
  db: SqlConnection,
  state: Order['state'] | undefined,
  limit: number,
): Promise<Order[]> {
  return (await db.query<OrderRow>(sql['order-list'], [state ?? null, limit])).rows.map(toOrder);
}

function toOrder({ total, createdAt, ...row }: OrderRow): Order {
  return { ...row, total: toSafeInteger(total), createdAt: createdAt.toISOString() };
}
