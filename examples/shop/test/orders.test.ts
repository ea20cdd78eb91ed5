import { describe, expect, it } from 'vitest';
import { formatCents } from '../src/catalogue.js';
import { HttpProblem } from '../src/lib/http.js';
import { cancelReason, fingerprint, priceOf } from '../src/services/orders.js';

describe('the price of an order', () => {
  it('is the sum of its lines', () => {
    expect(priceOf([{ sku: 'kettle', quantity: 2 }])).toBe(10_950);
    expect(
      priceOf([
        { sku: 'kettle', quantity: 1 },
        { sku: 'espresso-cup', quantity: 4 },
      ]),
    ).toBe(5_475 + 4 * 1_250);
  });

  it.each([
    [[{ sku: 'kettel', quantity: 1 }], 'lines/0/sku is not in the catalogue: kettel'],
    [
      [
        { sku: 'kettle', quantity: 1 },
        { sku: 'kettle', quantity: 2 },
      ],
      'lines/1/sku names kettle again',
    ],
  ])('names the line that has none: %j', (lines, message) => {
    expect(() => priceOf(lines)).toThrow(HttpProblem);
    expect(() => priceOf(lines)).toThrow(message);
  });

  it('is written with two digits and thousands', () => {
    expect([0, 5, 1_250, 123_456_789].map(formatCents)).toEqual(['0.00', '0.05', '12.50', '1,234,567.89']);
  });
});

describe('the fingerprint of an order', () => {
  const order = { account: 'a', email: 'a@b', lines: [{ sku: 'kettle', quantity: 1 }] };

  it('does not depend on the sequence of fields', () => {
    expect(fingerprint({ lines: [{ quantity: 1, sku: 'kettle' }], email: 'a@b', account: 'a' })).toBe(
      fingerprint(order),
    );
  });

  it.each([
    { ...order, account: 'b' },
    { ...order, email: 'b@b' },
    { ...order, lines: [{ sku: 'kettle', quantity: 2 }] },
    { ...order, lines: [{ sku: 'scale', quantity: 1 }] },
  ])('tells apart %j', (other) => {
    expect(fingerprint(other)).not.toBe(fingerprint(order));
  });
});

describe('the reason of a cancelled order', () => {
  it('is what the branch said that refused, not what its refusal interrupted', () => {
    const errors = { inventory: 'ABORTED: interrupted', payment: 'BRANCH_REFUSED: NO_FUNDS: 3 cents left' };
    expect(cancelReason('refused', errors)).toBe('NO_FUNDS: 3 cents left');
  });

  it('names the branches that did not answer', () => {
    expect(cancelReason('deadline', { payment: 'TIMEOUT: no answer' })).toBe(
      'DEADLINE: not decided in time; payment: TIMEOUT: no answer',
    );
  });
});
