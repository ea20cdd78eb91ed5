import { describe, expect, it } from 'vitest';
import { audit, type Check, type Facts } from '../src/demo/audit.js';
import { auditTable } from '../src/demo/report.js';
import { createPaint } from '../src/demo/terminal.js';

type Mutable<T> = { -readonly [K in keyof T]: Mutable<T[K]> };

const LINES = [
  { sku: 'kettle', quantity: 1 },
  { sku: 'espresso-cup', quantity: 1 },
];
const CONFIRMED = {
  ...{ id: 'o1', sagaId: 'o1', idempotencyKey: 'k1', total: 6_725, lines: LINES },
  ...{ state: 'confirmed' as const, saga: 'confirmed', reason: null },
};
const CANCELLED = {
  ...{ id: 'o2', sagaId: 'o2', idempotencyKey: 'k2', total: 6_725, lines: LINES },
  ...{ state: 'cancelled' as const, saga: 'cancelled', reason: 'NO_FUNDS: alice does not have 6725 cents' },
};

/** One confirmed and one cancelled order, as they are when all went well. */
const SOUND: Facts = {
  accounts: [{ id: 'alice', available: 3_275, frozen: 0, deposited: 10_000, captured: 6_725 }],
  stock: [
    { sku: 'espresso-cup', onHand: 4, reserved: 0, received: 5, shipped: 1 },
    { sku: 'kettle', onHand: 9, reserved: 0, received: 10, shipped: 1 },
  ],
  orders: [CONFIRMED, CANCELLED],
  captures: [{ order: 'o1', times: 1, amount: 6_725 }],
  shipments: [
    { order: 'o1', sku: 'espresso-cup', quantity: 1, times: 1 },
    { order: 'o1', sku: 'kettle', quantity: 1, times: 1 },
  ],
  notifications: [{ order: 'o1', times: 1 }],
  frozen: [],
  reserved: [],
  outbox: [],
};
const TOLD = [
  { idempotencyKey: 'k1', kind: 'fine' as const, id: 'o1', state: 'confirmed' },
  { idempotencyKey: 'k2', kind: 'no-funds' as const, id: 'o2', state: 'cancelled' },
];

const PAID = 'Confirmed orders are paid once, others never';
const SHIPPED = 'Confirmed orders are shipped once, others never';
const NOTIFIED = 'Confirmed orders are notified once, others never';
const HELD = 'Nothing is left frozen or reserved';
const ENDED = 'Every order and its checkout have ended alike';
const TRUTH = 'Clients were told the truth';

function broken(checks: readonly Check[]): Record<string, readonly string[]> {
  return Object.fromEntries(
    checks.filter(({ problems }) => problems.length > 0).map(({ name, problems }) => [name, problems]),
  );
}

describe('the audit', () => {
  it('finds nothing wrong where nothing is', () => {
    expect(broken(audit(SOUND, TOLD))).toEqual({});
  });

  it.each<[string, Partial<Facts>, Record<string, string[]>]>([
    [
      'money that vanished',
      { accounts: [{ id: 'alice', available: 3_175, frozen: 0, deposited: 10_000, captured: 6_725 }] },
      {
        'Money in = balances + money out': ['alice: 100.00 paid in, 67.25 taken, 31.75 there: 1.00 missing'],
      },
    ],
    [
      'money from nowhere',
      { accounts: [{ id: 'alice', available: 3_276, frozen: 0, deposited: 10_000, captured: 6_725 }] },
      {
        'Money in = balances + money out': ['alice: 100.00 paid in, 67.25 taken, 32.76 there: 0.01 too much'],
      },
    ],
    [
      'goods that vanished',
      { stock: [{ sku: 'kettle', onHand: 7, reserved: 0, received: 10, shipped: 1 }] },
      { 'Goods in = on hand + goods out': ['kettle: 10 received, 1 shipped, 7 on hand: 2 missing'] },
    ],
    [
      'an order that was paid twice',
      { captures: [{ order: 'o1', times: 2, amount: 13_450 }] },
      { [PAID]: ['o1 is confirmed: 134.50 taken in 2 captures, not 67.25 in 1'] },
    ],
    [
      'an order that was paid and cancelled',
      { captures: [...SOUND.captures, { order: 'o2', times: 1, amount: 6_725 }] },
      { [PAID]: ['o2 is cancelled: 67.25 taken in 1 capture, not 0.00 in 0'] },
    ],
    [
      'a payment for nothing',
      { captures: [...SOUND.captures, { order: 'o9', times: 1, amount: 1 }] },
      { [PAID]: ['o9 does not exist: 0.01 taken for it'] },
    ],
    [
      'a line that was never shipped',
      { shipments: SOUND.shipments.slice(0, 1) },
      { [SHIPPED]: ['o1 is confirmed: 0 × kettle left in 0 shipments, not 1 in 1'] },
    ],
    [
      'goods that nobody ordered',
      { shipments: [...SOUND.shipments, { order: 'o1', sku: 'scale', quantity: 3, times: 1 }] },
      { [SHIPPED]: ['o1 has no such line: 3 × scale left for it'] },
    ],
    [
      'a customer who was not told',
      { notifications: [] },
      { [NOTIFIED]: ['o1 is confirmed: 0 notifications, not 1'] },
    ],
    [
      'a customer who was told twice',
      { notifications: [{ order: 'o1', times: 2 }] },
      { [NOTIFIED]: ['o1 is confirmed: 2 notifications, not 1'] },
    ],
    [
      'a customer who was told of a cancelled order',
      { notifications: [...SOUND.notifications, { order: 'o2', times: 1 }] },
      { [NOTIFIED]: ['o2 is cancelled: 1 notification, not 0'] },
    ],
    [
      'frozen money',
      {
        accounts: [{ id: 'alice', available: 2_775, frozen: 500, deposited: 10_000, captured: 6_725 }],
        frozen: [{ order: 'o2', holder: 'alice', amount: 500 }],
      },
      { [HELD]: ['o2: 5.00 of alice still frozen', 'alice: 5.00 frozen on the account'] },
    ],
    [
      'reserved goods',
      {
        stock: [{ sku: 'kettle', onHand: 9, reserved: 1, received: 10, shipped: 1 }],
        reserved: [{ order: 'o2', holder: 'kettle', amount: 1 }],
      },
      { [HELD]: ['o2: 1 × kettle still reserved', 'kettle: 1 reserved in stock'] },
    ],
    [
      'an order that ended otherwise than its checkout',
      { orders: [CONFIRMED, { ...CANCELLED, saga: 'confirmed' }] },
      { [ENDED]: ['o2 is cancelled, its checkout is confirmed'] },
    ],
    [
      'a checkout without an order',
      {
        orders: [
          ...SOUND.orders,
          { ...CANCELLED, id: null, state: null, idempotencyKey: null, sagaId: 'o3', saga: 'trying' },
        ],
      },
      { [ENDED]: ['o3 is a checkout without an order'] },
    ],
    [
      'an order without a checkout',
      { orders: [CONFIRMED, { ...CANCELLED, sagaId: null, saga: null }] },
      { [ENDED]: ['o2 is cancelled and has no checkout'] },
    ],
    [
      'an event that waits',
      { outbox: [{ id: 'm1', order: 'o1', state: 'waiting', reason: null }] },
      { 'Every event has arrived': ['event m1 of o1 is waiting: not tried yet'] },
    ],
    [
      'a dead letter',
      { outbox: [{ id: 'm1', order: 'o1', state: 'dead', reason: 'TIMEOUT' }] },
      { 'Every event has arrived': ['event m1 of o1 is dead: TIMEOUT'] },
    ],
    [
      'an order that a client was promised and that is gone',
      { orders: [CONFIRMED] },
      { [TRUTH]: ['o2 was promised for k2 and is not there'] },
    ],
    [
      'a second order for one request',
      { orders: [...SOUND.orders, { ...CANCELLED, id: 'o3', sagaId: 'o3', idempotencyKey: 'k3' }] },
      { [TRUTH]: ['o3 was never asked for: k3'] },
    ],
  ])('finds %s', (_, corruption, expected) => {
    expect(broken(audit({ ...SOUND, ...corruption }, TOLD))).toEqual(expected);
  });

  it('finds an order that is still pending', () => {
    const orders = [CONFIRMED, { ...CANCELLED, state: 'pending' as const, saga: 'cancelling' }];
    expect(broken(audit({ ...SOUND, orders }))).toEqual({
      [ENDED]: ['o2 is still pending, its checkout is cancelling'],
    });
  });

  it('finds orders that ended otherwise than they had to', () => {
    const [first, second] = TOLD.map((one) => ({ ...one })) as [
      Mutable<(typeof TOLD)[0]>,
      Mutable<(typeof TOLD)[1]>,
    ];
    const told = [
      { ...first, kind: 'refused' as const },
      { ...second, kind: 'fine' as const },
    ];
    expect(broken(audit(SOUND, told))).toEqual({
      [TRUTH]: [
        'o1 was confirmed: refused',
        'o2 was cancelled though nothing was wrong with it: NO_FUNDS: alice does not have 6725 cents',
      ],
    });
  });

  it('excuses an order that was fine and took too long', () => {
    const orders = [CONFIRMED, { ...CANCELLED, reason: 'DEADLINE: payment was away' }];
    const told = TOLD.map((one) => ({ ...one, kind: 'fine' as const }));
    expect(broken(audit({ ...SOUND, orders }, told))).toEqual({});
  });

  it('is shown as a table, with what broke below it, and without escape codes where there is no colour', () => {
    const checks = audit({ ...SOUND, notifications: [] }, TOLD);
    const lines = auditTable(checks, createPaint(false));
    expect(lines[0]).toMatch(/^ {2}Audit +Result +Figures$/);
    expect(lines.slice(-2)).toEqual([`✗ ${NOTIFIED}`, '    o1 is confirmed: 0 notifications, not 1']);
    expect(lines.join('\n')).not.toContain('\x1b');
    expect(auditTable(checks, createPaint(true)).join('\n')).toContain('\x1b[31m');
  });
});
