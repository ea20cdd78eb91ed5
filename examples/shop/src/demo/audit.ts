import { type SqlConnection, toSafeInteger } from '@quorate/sql';
import { formatCents, type Line } from '../catalogue.js';
import type { ServiceName } from '../lib/names.js';
import { sql } from '../sql.gen.js';
import type { Kind } from './plan.js';

/** What the four databases say, read by SQL. Amounts are in cents. */
export interface Facts {
  readonly accounts: readonly Account[];
  readonly stock: readonly Stock[];
  readonly orders: readonly AuditedOrder[];
  readonly captures: readonly { readonly order: string; readonly times: number; readonly amount: number }[];
  readonly shipments: readonly (Line & { readonly order: string; readonly times: number })[];
  readonly notifications: readonly { readonly order: string; readonly times: number }[];
  /** Money set aside and goods promised, for orders that may be over. */
  readonly frozen: readonly Held[];
  readonly reserved: readonly Held[];
  readonly outbox: readonly {
    readonly id: string;
    readonly order: string;
    readonly state: string;
    readonly reason: string | null;
  }[];
}

interface Account {
  readonly id: string;
  readonly available: number;
  readonly frozen: number;
  readonly deposited: number;
  readonly captured: number;
}

interface Stock {
  readonly sku: string;
  readonly onHand: number;
  readonly reserved: number;
  readonly received: number;
  readonly shipped: number;
}

/** An order, its TCC transaction, or both; one without the other is a finding. */
interface AuditedOrder {
  readonly id: string | null;
  readonly state: 'pending' | 'confirmed' | 'cancelled' | null;
  readonly reason: string | null;
  readonly total: number;
  readonly lines: readonly Line[] | null;
  readonly idempotencyKey: string | null;
  readonly sagaId: string | null;
  readonly saga: string | null;
}

interface Held {
  readonly order: string;
  readonly holder: string;
  readonly amount: number;
}

/** What a client was told about an order that it placed. */
export interface Promised {
  readonly idempotencyKey: string;
  readonly kind: Kind;
  readonly id: string;
  readonly state: string;
}

/** One thing that must hold. */
export interface Check {
  readonly name: string;
  /** The figures, whether it holds or not. */
  readonly figures: string;
  /** What is wrong, each with its ids and amounts; empty when it holds. */
  readonly problems: readonly string[];
}

/** Reads what the services' databases hold. Each is read in one statement per table, none is changed. */
export async function readFacts(databases: Readonly<Record<ServiceName, SqlConnection>>): Promise<Facts> {
  const { order, inventory, payment, notification } = databases;
  return {
    accounts: await read<Account>(payment, sql['audit-accounts']),
    stock: await read<Stock>(inventory, sql['audit-stock']),
    orders: await read<AuditedOrder>(order, sql['audit-orders']),
    captures: await read<Facts['captures'][number]>(payment, sql['audit-captures']),
    shipments: await read<Facts['shipments'][number]>(inventory, sql['audit-shipments']),
    notifications: await read<Facts['notifications'][number]>(notification, sql['audit-notifications']),
    frozen: await read<Held>(payment, sql['audit-held']),
    reserved: await read<Held>(inventory, sql['audit-reserved']),
    outbox: await read<Facts['outbox'][number]>(order, sql['audit-outbox']),
  };
}

const NUMBERS = new Set([
  ...['available', 'frozen', 'deposited', 'captured', 'received', 'shipped', 'onHand', 'reserved'],
  ...['total', 'times', 'amount', 'quantity'],
]);

/** PostgreSQL's sums and counts have more digits than a number is sure to hold: they arrive as text. */
async function read<Row>(db: SqlConnection, text: string): Promise<Row[]> {
  const { rows } = await db.query(text);
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name,
        NUMBERS.has(name) ? toSafeInteger((value as string | number | null) ?? 0) : value,
      ]),
    ),
  ) as Row[];
}

/** What must hold when all is done, whoever was killed in the meantime. */
export function audit(facts: Facts, promised: readonly Promised[] = []): readonly Check[] {
  return [
    money(facts),
    stock(facts),
    paidOnce(facts),
    shippedOnce(facts),
    toldOnce(facts),
    nothingHeld(facts),
    nothingUnfinished(facts),
    nothingUnsent(facts),
    ...(promised.length > 0 ? [asPromised(facts, promised)] : []),
  ];
}

function money({ accounts }: Facts): Check {
  const sum = (of: (account: Account) => number): string => formatCents(total(accounts, of));
  return {
    name: 'Money in = balances + money out',
    figures: `${sum((a) => a.deposited)} = ${sum((a) => a.available + a.frozen)} + ${sum((a) => a.captured)}`,
    problems: accounts
      .map((a) => ({ ...a, off: a.available + a.frozen + a.captured - a.deposited }))
      .filter(({ off }) => off !== 0)
      .map((a) => {
        const [deposited, captured] = [formatCents(a.deposited), formatCents(a.captured)];
        const there = formatCents(a.available + a.frozen);
        return `${a.id}: ${deposited} paid in, ${captured} taken, ${there} there: ${surplus(formatCents, a.off)}`;
      }),
  };
}

function stock({ stock: items }: Facts): Check {
  const sum = (of: (item: Stock) => number): string => String(total(items, of));
  return {
    name: 'Goods in = on hand + goods out',
    figures: `${sum((s) => s.received)} = ${sum((s) => s.onHand)} + ${sum((s) => s.shipped)}`,
    problems: items
      .map((s) => ({ ...s, off: s.onHand + s.shipped - s.received }))
      .filter(({ off }) => off !== 0)
      .map(
        ({ sku, received, shipped, onHand, off }) =>
          `${sku}: ${String(received)} received, ${String(shipped)} shipped, ${String(onHand)} on hand: ${surplus(String, off)}`,
      ),
  };
}

function paidOnce({ orders, captures }: Facts): Check {
  const byOrder = new Map(captures.map((capture) => [capture.order, capture]));
  const problems: string[] = [];
  for (const { id, state, total: due } of known(orders)) {
    const { times = 0, amount = 0 } = byOrder.get(id) ?? {};
    byOrder.delete(id);
    const [wantedTimes, wanted] = state === 'confirmed' ? [1, due] : [0, 0];
    if (times === wantedTimes && amount === wanted) continue;
    problems.push(
      `${id} is ${state}: ${formatCents(amount)} taken in ${count(times, 'capture')}, not ${formatCents(wanted)} in ${String(wantedTimes)}`,
    );
  }
  for (const { order, amount } of byOrder.values()) {
    problems.push(`${order} does not exist: ${formatCents(amount)} taken for it`);
  }
  const taken = total(captures, ({ amount }) => amount);
  return {
    name: 'Confirmed orders are paid once, others never',
    figures: `${String(confirmed(orders))} confirmed, ${count(
      total(captures, ({ times }) => times),
      'capture',
    )}, ${formatCents(taken)}`,
    problems,
  };
}

function shippedOnce({ orders, shipments }: Facts): Check {
  const keyOf = (order: string, sku: string): string => `${order} ${sku}`;
  const byLine = new Map(shipments.map((shipment) => [keyOf(shipment.order, shipment.sku), shipment]));
  const problems: string[] = [];
  for (const { id, state, lines } of known(orders)) {
    for (const { sku, quantity } of lines ?? []) {
      const shipped = byLine.get(keyOf(id, sku));
      byLine.delete(keyOf(id, sku));
      const [wantedTimes, wanted] = state === 'confirmed' ? [1, quantity] : [0, 0];
      const [times, left] = [shipped?.times ?? 0, shipped?.quantity ?? 0];
      if (times === wantedTimes && left === wanted) continue;
      problems.push(
        `${id} is ${state}: ${String(left)} × ${sku} left in ${count(times, 'shipment')}, not ${String(wanted)} in ${String(wantedTimes)}`,
      );
    }
  }
  for (const { order, sku, quantity } of byLine.values()) {
    problems.push(`${order} has no such line: ${String(quantity)} × ${sku} left for it`);
  }
  return {
    name: 'Confirmed orders are shipped once, others never',
    figures: `${String(confirmed(orders))} confirmed, ${count(
      total(shipments, ({ times }) => times),
      'shipment',
    )}, ${String(total(shipments, ({ quantity }) => quantity))} items`,
    problems,
  };
}

function toldOnce({ orders, notifications }: Facts): Check {
  const byOrder = new Map(notifications.map(({ order, times }) => [order, times]));
  const problems: string[] = [];
  for (const { id, state } of known(orders)) {
    const times = byOrder.get(id) ?? 0;
    byOrder.delete(id);
    const wanted = state === 'confirmed' ? 1 : 0;
    if (times !== wanted)
      problems.push(`${id} is ${state}: ${count(times, 'notification')}, not ${String(wanted)}`);
  }
  for (const [order, times] of byOrder)
    problems.push(`${order} does not exist: ${count(times, 'notification')}`);
  return {
    name: 'Confirmed orders are notified once, others never',
    figures: `${String(confirmed(orders))} confirmed, ${count(
      total(notifications, ({ times }) => times),
      'notification',
    )}`,
    problems,
  };
}

function nothingHeld({ accounts, stock: items, frozen, reserved }: Facts): Check {
  const problems = [
    ...frozen.map(
      ({ order, holder, amount }) => `${order}: ${formatCents(amount)} of ${holder} still frozen`,
    ),
    ...reserved.map(({ order, holder, amount }) => `${order}: ${String(amount)} × ${holder} still reserved`),
    // What the sums say, should they disagree with the rows.
    ...accounts
      .filter((a) => a.frozen !== 0)
      .map((a) => `${a.id}: ${formatCents(a.frozen)} frozen on the account`),
    ...items.filter((s) => s.reserved !== 0).map((s) => `${s.sku}: ${String(s.reserved)} reserved in stock`),
  ];
  const [money, goods] = [total(accounts, (a) => a.frozen), total(items, (s) => s.reserved)];
  return {
    name: 'Nothing is left frozen or reserved',
    figures: `${formatCents(money)} frozen, ${String(goods)} items reserved`,
    problems,
  };
}

function nothingUnfinished({ orders }: Facts): Check {
  const problems: string[] = [];
  for (const { id, state, sagaId, saga } of orders) {
    if (id === null) problems.push(`${sagaId ?? 'nothing'} is a checkout without an order`);
    else if (saga === null) problems.push(`${id} is ${state ?? 'nowhere'} and has no checkout`);
    else if (state === 'pending') problems.push(`${id} is still pending, its checkout is ${saga}`);
    else if (state !== saga) problems.push(`${id} is ${state ?? 'nowhere'}, its checkout is ${saga}`);
  }
  const pending = orders.filter(({ state }) => state === 'pending').length;
  return {
    name: 'Every order and its checkout have ended alike',
    figures: `${count(orders.length, 'order')}, ${String(pending)} pending`,
    problems,
  };
}

function nothingUnsent({ outbox }: Facts): Check {
  const dead = outbox.filter(({ state }) => state === 'dead').length;
  return {
    name: 'Every event has arrived',
    figures: `${String(outbox.length - dead)} waiting, ${String(dead)} dead`,
    problems: outbox.map(
      ({ id, order, state, reason }) => `event ${id} of ${order} is ${state}: ${reason ?? 'not tried yet'}`,
    ),
  };
}

/** What clients were told is what is stored, and orders that had to fail did. */
function asPromised({ orders }: Facts, promised: readonly Promised[]): Check {
  const byKey = new Map(known(orders).map((order) => [order.idempotencyKey, order]));
  const problems: string[] = [];
  for (const { idempotencyKey, kind, id, state } of promised) {
    const order = byKey.get(idempotencyKey);
    byKey.delete(idempotencyKey);
    if (order === undefined) problems.push(`${id} was promised for ${idempotencyKey} and is not there`);
    else if (order.id !== id) problems.push(`${idempotencyKey} was promised ${id} and is ${order.id}`);
    else if (order.state !== state) problems.push(`${id} was reported as ${state} and is ${order.state}`);
    else if (kind !== 'fine' && state === 'confirmed') problems.push(`${id} was confirmed: ${kind}`);
    // There was enough for every order that is fine: only a service that was away too long excuses it.
    else if (kind === 'fine' && state === 'cancelled' && order.reason?.startsWith('DEADLINE') !== true) {
      problems.push(`${id} was cancelled though nothing was wrong with it: ${order.reason ?? 'no reason'}`);
    }
  }
  for (const [key, { id }] of byKey) problems.push(`${id} was never asked for: ${key ?? 'no key'}`);
  return {
    name: 'Clients were told the truth',
    figures: `${count(promised.length, 'answer')}, ${count(known(orders).length, 'order')}`,
    problems,
  };
}

type KnownOrder = AuditedOrder & { readonly id: string; readonly state: string };

function known(orders: readonly AuditedOrder[]): KnownOrder[] {
  return orders.filter((order): order is KnownOrder => order.id !== null);
}

function confirmed(orders: readonly AuditedOrder[]): number {
  return orders.filter(({ state }) => state === 'confirmed').length;
}

function total<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0);
}

function count(number: number, what: string): string {
  return `${String(number)} ${what}${number === 1 ? '' : 's'}`;
}

function surplus(format: (amount: number) => string, off: number): string {
  return off > 0 ? `${format(off)} too much` : `${format(-off)} missing`;
}
