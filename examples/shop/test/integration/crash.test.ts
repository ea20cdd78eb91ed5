import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { deadline, systemRuntime } from '@quorate/runtime';
import { compiled } from '@quorate/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { auditDatabases } from '../../src/demo/run.js';
import { type ServiceName, SERVICES } from '../../src/lib/names.js';
import type { Order } from '../../src/services/orders.js';
import type { Moment } from './crash-at.js';
import { ended, insist, openShop, request, type TestShop } from './support.js';

let shop: TestShop;

beforeAll(async () => {
  // However long a killed service takes to be back, what has to be confirmed is.
  process.env['SHOP_ORDER_DEADLINE_MS'] = '200000';
  const preloaded = await compiled(join(import.meta.dirname, 'crash-at.ts'));
  shop = await openShop(['--import', pathToFileURL(preloaded).href]);
  const { payment, inventory } = shop.processes.addresses.http;
  await request(`${payment}/accounts/deposit`, { reference: 'd1', account: 'alice', amount: 10_000_000 });
  await request(`${payment}/accounts/deposit`, {
    reference: 'd2',
    account: 'blocked',
    amount: 10_000,
    bank: 'blocked',
  });
  await request(`${inventory}/stock`, { reference: 'r1', sku: 'kettle', quantity: 1_000 });
});
// A round that failed has no effect on the next one.
beforeEach(async () => {
  for (const name of SERVICES) {
    if (shop.processes.processOf(name) === undefined) await shop.processes.start(name);
    else await arm(name, undefined);
  }
});
afterAll(() => shop.stop());

/** Tells a service when to die; `undefined`: not at all. */
async function arm(name: ServiceName, crashAt: Moment | undefined): Promise<void> {
  const child = shop.processes.processOf(name);
  await new Promise<void>((resolve) => {
    child?.once('message', () => resolve());
    child?.send({ crashAt });
  });
}

/** Resolves when the service has died at its moment and is up again. */
async function comeBack(name: ServiceName): Promise<void> {
  using limit = deadline(systemRuntime, 60_000, { what: `the death of ${name}` });
  await shop.processes.exited(name, limit.signal);
  await shop.processes.start(name);
}

type Victim = readonly [ServiceName, Moment];

const barrier = (value: string, at: 'before commit' | 'after commit'): Moment => ({
  at,
  statement: 'insert into tx_barrier',
  value,
});
const around = (statement: string, at: 'before commit' | 'after commit' | 'before' | 'after'): Moment => ({
  at,
  statement,
});
const point = (name: string): Moment => ({ at: 'point', point: name });

/** Each round is one order, and who dies while it is seen through. */
const CONFIRMED: readonly (readonly Victim[])[] = [
  [
    ['order', around('insert into customer_order', 'before commit')],
    ['inventory', barrier('try', 'before commit')],
    ['notification', around('insert into notification', 'before commit')],
  ],
  [
    ['order', around('insert into customer_order', 'after commit')],
    ['inventory', barrier('try', 'after commit')],
    ['notification', around('insert into notification', 'after commit')],
  ],
  [
    ['order', point('invoking')],
    ['inventory', barrier('confirm', 'before commit')],
  ],
  [
    ['order', point('returned')],
    ['inventory', barrier('confirm', 'after commit')],
  ],
  [
    ['order', point('decided')],
    ['payment', barrier('try', 'before commit')],
  ],
  [
    ['order', around('insert into outbox_message', 'before commit')],
    ['payment', barrier('try', 'after commit')],
  ],
  [
    ['order', around('insert into outbox_message', 'after commit')],
    ['payment', barrier('confirm', 'before commit')],
  ],
  [
    ['order', around('delete from outbox_message', 'before')],
    ['payment', barrier('confirm', 'after commit')],
  ],
  [['order', around('delete from outbox_message', 'after')]],
];
const CANCELLED: readonly (readonly Victim[])[] = [
  [
    ['order', point('decided')],
    ['inventory', barrier('cancel', 'before commit')],
    ['payment', barrier('cancel', 'before commit')],
  ],
  [
    ['order', point('hooked')],
    ['inventory', barrier('cancel', 'after commit')],
    ['payment', barrier('cancel', 'after commit')],
  ],
];

function titleOf(victims: readonly Victim[]): string {
  return victims
    .map(([name, moment]) =>
      moment.at === 'point'
        ? `${name} ${moment.point}`
        : `${name} ${moment.at} of ${moment.value ?? moment.statement}`,
    )
    .join(', ');
}

describe('an order sees its end although SIGKILL hits', () => {
  it.each([
    ...CONFIRMED.map((victims) => ({
      victims,
      deaths: titleOf(victims),
      account: 'alice',
      state: 'confirmed',
    })),
    ...CANCELLED.map((victims) => ({
      victims,
      deaths: titleOf(victims),
      account: 'blocked',
      state: 'cancelled',
    })),
  ])(
    '$deaths: $state',
    async ({ victims, account, state }) => {
      await Promise.all(victims.map(([name, moment]) => arm(name, moment)));
      const back = Promise.all(victims.map(([name]) => comeBack(name)));
      const body = { account, email: 'a@example.org', lines: [{ sku: 'kettle', quantity: 1 }] };
      const headers = { 'idempotency-key': JSON.stringify([victims, state]).slice(0, 255) };
      const { http } = shop.processes.addresses;
      const placed = await insist<Order>(() => request(`${http.order}/orders`, body, headers));
      await back;
      expect(await ended(shop, placed.body.id)).toMatchObject({ state, account });
      const told = `${http.notification}/notifications?order=${placed.body.id}`;
      await expect
        .poll(async () => (await request<unknown[]>(told)).body.length, { timeout: 60_000 })
        .toBe(state === 'confirmed' ? 1 : 0);
    },
    240_000,
  );

  it('and in the end nothing is lost, doubled or left over', async () => {
    await expect
      .poll(async () => (await auditDatabases(shop.databases)).flatMap(({ problems }) => problems), {
        timeout: 60_000,
      })
      .toEqual([]);
  }, 120_000);
});
