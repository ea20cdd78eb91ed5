import { pgConnection } from '@quorate/sql/pg';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit, readFacts } from '../../src/demo/audit.js';
import { eachService } from '../../src/demo/databases.js';
import { auditDatabases } from '../../src/demo/run.js';
import { SERVICES, type ServiceName } from '../../src/lib/names.js';
import type { Order } from '../../src/services/orders.js';
import { ended, openShop, request, type TestShop } from './support.js';

interface Problem {
  readonly code: string;
  readonly message: string;
  readonly fields?: readonly { readonly field: string; readonly problem: string }[];
}

let shop: TestShop;
let http: Readonly<Record<ServiceName, string>>;
let keys = 0;

beforeAll(async () => {
  shop = await openShop();
  http = shop.processes.addresses.http;
  const deposit = (account: string, amount: number, bank?: string): Promise<unknown> =>
    request(`${http.payment}/accounts/deposit`, { reference: `d-${account}`, account, amount, bank });
  await Promise.all([
    deposit('alice', 1_000_000),
    deposit('poor', 1),
    deposit('blocked', 100_000, 'blocked'),
    deposit('silent', 100_000, 'silent'),
    request(`${http.inventory}/stock`, { reference: 'r1', sku: 'kettle', quantity: 10 }),
  ]);
});
afterAll(() => shop.stop());

const anOrder = { account: 'alice', email: 'alice@example.org', lines: [{ sku: 'kettle', quantity: 1 }] };

function place<T = Order>(
  body: unknown,
  wait = 10_000,
  key = `key-${String(++keys)}`,
): ReturnType<typeof request<T>> {
  return request<T>(`${http.order}/orders?wait=${String(wait)}`, body, { 'idempotency-key': key });
}

describe('an order', () => {
  it('is accepted at once, found where its location says, and confirmed', async () => {
    const { status, location, body } = await place(anOrder, 0);
    expect(status).toBe(202);
    expect(body).toMatchObject({ state: 'pending', total: 5_475, reason: null });
    expect(location).toBe(`/orders/${body.id}`);
    expect(await ended(shop, body.id)).toMatchObject({ state: 'confirmed', id: body.id });
  });

  it('is answered with its end to those who wait', async () => {
    expect(await place(anOrder)).toMatchObject({ status: 201, body: { state: 'confirmed' } });
  });

  it('is placed once, however often and how simultaneously its key is sent', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => place(anOrder, 0, 'same')));
    answers.push(await place(anOrder, 10_000, 'same'));
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  });

  it('is not mistaken for another one with the same key', async () => {
    await place(anOrder, 0, 'reused');
    const other = { ...anOrder, lines: [{ sku: 'kettle', quantity: 2 }] };
    expect(await place<Problem>(other, 0, 'reused')).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_KEY_REUSED' },
    });
  });

  it.each([
    [
      'there is not enough in stock',
      { lines: [{ sku: 'moon-rock-mug', quantity: 1 }] },
      /^OUT_OF_STOCK: 1 × moon/,
    ],
    ['the account has not enough', { account: 'poor' }, /^NO_FUNDS: /],
    ['the bank refuses', { account: 'blocked' }, /^CARD_BLOCKED: /],
    ['there is no such account', { account: 'nobody' }, /^UNKNOWN_ACCOUNT: /],
  ])('is cancelled when %s', async (_, change, reason) => {
    const { body } = await place({ ...anOrder, ...change });
    expect(body).toMatchObject({ state: 'cancelled' });
    expect(body.reason).toMatch(reason);
  });

  it('is cancelled by its deadline when the payment never answers, and the money is given back', async () => {
    const { body } = await place({ ...anOrder, account: 'silent' }, 20_000);
    expect(body).toMatchObject({ state: 'cancelled' });
    expect(body.reason).toMatch(/^DEADLINE: not decided in time; payment: /);
    const { body: accounts } = await request<{ id: string }[]>(`${http.payment}/accounts`);
    expect(accounts.find(({ id }) => id === 'silent')).toMatchObject({ available: 100_000, frozen: 0 });
  });

  it('is listed', async () => {
    const { body: all } = await request<Order[]>(`${http.order}/orders?limit=1000`);
    const { body: cancelled } = await request<Order[]>(`${http.order}/orders?state=cancelled`);
    expect(cancelled.length).toBeGreaterThan(0);
    expect(cancelled).toEqual(all.filter(({ state }) => state === 'cancelled'));
  });
});

describe('a request that does not fit', () => {
  it.each<[string, unknown, Record<string, string>, string, string]>([
    ['order /orders', { ...anOrder, account: undefined }, { k: '1' }, 'account', 'is missing'],
    ['order /orders', { ...anOrder, account: 5 }, { k: '1' }, 'account', 'must be string'],
    ['order /orders', { ...anOrder, email: 'nobody' }, { k: '1' }, 'email', 'must match pattern'],
    ['order /orders', { ...anOrder, lines: [] }, { k: '1' }, 'lines', 'must NOT have fewer than 1 items'],
    [
      'order /orders',
      { ...anOrder, lines: [{ sku: 'kettle' }] },
      { k: '1' },
      'lines/0/quantity',
      'is missing',
    ],
    [
      'order /orders',
      { ...anOrder, lines: [{ sku: 'kettle', quantity: '2' }] },
      { k: '1' },
      'lines/0/quantity',
      'must be integer',
    ],
    [
      'order /orders',
      { ...anOrder, lines: [{ sku: 'kettle', quantity: 0 }] },
      { k: '1' },
      'lines/0/quantity',
      'must be >= 1',
    ],
    [
      'order /orders',
      { ...anOrder, lines: [{ sku: 'kettel', quantity: 1 }] },
      { k: '1' },
      'lines/0/sku',
      'is not in the catalogue',
    ],
    ['order /orders', { ...anOrder, coupon: 'x' }, { k: '1' }, 'coupon', 'is not a known field'],
    ['order /orders', anOrder, {}, 'idempotency-key', 'is missing'],
    ['order /orders?wait=soon', anOrder, { k: '1' }, 'wait', 'must be integer'],
    ['inventory /stock', { reference: 'r', sku: 'kettle', quantity: -1 }, {}, 'quantity', 'must be >= 1'],
    ['payment /accounts/deposit', { reference: 'r', account: 'a' }, {}, 'amount', 'is missing'],
    [
      'payment /accounts/deposit',
      { reference: 'r', account: 'a', amount: 1.5 },
      {},
      'amount',
      'must be integer',
    ],
  ])('%s %j %j is told that %s %s', async (where, body, { k: key }, field, problem) => {
    const [name, path] = where.split(' ') as [ServiceName, string];
    const answer = await request<Problem>(
      `${http[name]}${path}`,
      body,
      key === undefined ? {} : { 'idempotency-key': key },
    );
    expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } });
    expect(answer.body.fields).toContainEqual({ field, problem: expect.stringContaining(problem) as string });
    expect(answer.body.message).toContain(field);
  });

  it('is told when it is not JSON, too large, or for nothing that exists', async () => {
    const headers = { 'idempotency-key': 'k' };
    expect(await request(`${http.order}/orders`, '{"account":', headers)).toMatchObject({ status: 400 });
    expect(await request(`${http.order}/orders`, `"${'x'.repeat(70_000)}"`, headers)).toMatchObject({
      status: 413,
    });
    expect(await request(`${http.order}/orders/none`)).toMatchObject({
      status: 404,
      body: { code: 'NOT_FOUND' },
    });
    expect(await request(`${http.order}/nothing`)).toMatchObject({
      status: 404,
      body: { code: 'NOT_FOUND' },
    });
  });
});

describe('every service', () => {
  it.each(SERVICES)('%s is healthy and describes its API', async (name) => {
    expect(await request(`${http[name]}/health`)).toMatchObject({ status: 200, body: { status: 'ok' } });
    const { body } = await request<{ info: { title: string } }>(`${http[name]}/docs/json`);
    expect(body.info.title).toBe(`${name} service`);
    expect(await (await fetch(`${http[name]}/docs/`)).text()).toContain('swagger-ui');
  });

  it('books a deposit and a receipt once for each reference', async () => {
    const deposit = { reference: 'twice', account: 'twice', amount: 7 };
    const booked = await Promise.all(
      [1, 2, 3].map(() => request<{ booked: boolean }>(`${http.payment}/accounts/deposit`, deposit)),
    );
    expect(booked.filter(({ body }) => body.booked)).toHaveLength(1);
    const receipt = { reference: 'twice', sku: 'scale', quantity: 3 };
    for (const expected of [true, false]) {
      expect((await request(`${http.inventory}/stock`, receipt)).body).toEqual({ booked: expected });
    }
    const { body: accounts } = await request<{ id: string }[]>(`${http.payment}/accounts`);
    const { body: stock } = await request<{ sku: string }[]>(`${http.inventory}/stock`);
    expect(accounts.find(({ id }) => id === 'twice')).toMatchObject({ available: 7 });
    expect(stock.find(({ sku }) => sku === 'scale')).toMatchObject({ onHand: 3, reserved: 0 });
  });
});

describe('the audit of what these tests left', () => {
  it('passes', async () => {
    const confirmed = (await request<Order[]>(`${http.order}/orders?state=confirmed`)).body;
    for (const { id } of confirmed) {
      await expect
        .poll(async () => (await request<unknown[]>(`${http.notification}/notifications?order=${id}`)).body)
        .toHaveLength(1);
    }
    const problems = (await auditDatabases(shop.databases)).flatMap((check) => check.problems);
    expect(problems).toEqual([]);
  });

  // Each corrupts one thing, in a transaction that is rolled back.
  it.each<[string, ServiceName, string, RegExp]>([
    [
      'a balance',
      'payment',
      `update account set available = available + 1 where id = 'alice'`,
      /alice: .* 0\.01 too much/,
    ],
    [
      'a capture',
      'payment',
      'delete from capture where id = (select min(id) from capture)',
      /missing|0 captures, not|in 0 captures/,
    ],
    [
      'a second capture',
      'payment',
      'insert into capture (order_id, account_id, amount) select order_id, account_id, amount from capture limit 1',
      /in 2 captures/,
    ],
    [
      'a forgotten freeze',
      'payment',
      `update payment set state = 'frozen' where order_id = (select min(order_id) from payment)`,
      /still frozen/,
    ],
    [
      'a reservation',
      'inventory',
      `update reservation set state = 'reserved' where order_id = (select min(order_id) from reservation)`,
      /still reserved/,
    ],
    [
      'a lost shipment',
      'inventory',
      'delete from shipment where id = (select min(id) from shipment)',
      /in 0 shipments, not 1 in 1/,
    ],
    [
      'stock from nowhere',
      'inventory',
      `update stock set on_hand = on_hand + 2 where sku = 'kettle'`,
      /kettle: .* 2 too much/,
    ],
    [
      'a lost notification',
      'notification',
      'delete from notification where id = (select min(id) from notification)',
      /0 notifications, not 1/,
    ],
    [
      'a second notification',
      'notification',
      'insert into notification (order_id, message_id, recipient, text) select order_id, message_id, recipient, text from notification limit 1',
      /2 notifications, not 1/,
    ],
    [
      'a pending order',
      'order',
      `update customer_order set state = 'pending' where state = 'cancelled'`,
      /still pending/,
    ],
    [
      'a lost order',
      'order',
      `delete from customer_order where state = 'confirmed'`,
      /is a checkout without an order/,
    ],
  ])('finds %s', async (_, name, corruption, expected) => {
    const clients = eachService((each) => new pg.Client({ connectionString: shop.databases.urls[each] }));
    await Promise.all(SERVICES.map((each) => clients[each].connect()));
    try {
      await clients[name].query('begin');
      expect((await clients[name].query(corruption)).rowCount).toBeGreaterThan(0);
      const checks = audit(await readFacts(eachService((each) => pgConnection(clients[each]))));
      expect(checks.flatMap(({ problems }) => problems).join('\n')).toMatch(expected);
      await clients[name].query('rollback');
    } finally {
      await Promise.all(SERVICES.map((each) => clients[each].end()));
    }
  });
});
