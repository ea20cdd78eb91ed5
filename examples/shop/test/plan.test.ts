import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CATALOGUE } from '../src/catalogue.js';
import { KINDS, makePlan } from '../src/demo/plan.js';

const PRICE = new Map<string, number>(CATALOGUE.map(({ sku, price }) => [sku, price]));
const anyPlan = fc.record({ count: fc.integer({ min: 1, max: 300 }), seed: fc.nat() });

describe('the plan of the demo', () => {
  it('is decided by its seed', () => {
    expect(makePlan(50, 7)).toEqual(makePlan(50, 7));
    expect(makePlan(50, 7)).not.toEqual(makePlan(50, 8));
  });

  it('holds every way to fail as soon as there is room, and mostly orders that are fine', () => {
    const kindsOf = (count: number): Set<string> =>
      new Set(makePlan(count, 3).orders.map(({ kind }) => kind));
    expect(kindsOf(1)).toEqual(new Set(['fine']));
    expect(kindsOf(KINDS.length)).toEqual(new Set(KINDS));
    expect(makePlan(200, 3).orders.filter(({ kind }) => kind === 'fine').length).toBeGreaterThan(120);
  });

  it('places as many orders as asked for, each with a key of its own', () => {
    fc.assert(
      fc.property(anyPlan, ({ count, seed }) => {
        const keys = makePlan(count, seed).orders.map(({ idempotencyKey }) => idempotencyKey);
        expect(new Set(keys).size).toBe(count);
      }),
      { numRuns: 50 },
    );
  });

  it('brings in enough money and goods for every order that is fine, whatever the others hold meanwhile', () => {
    fc.assert(
      fc.property(anyPlan, ({ count, seed }) => {
        const { orders, deposits, receipts } = makePlan(count, seed);
        const wanted = new Map<string, number>();
        const add = (key: string, amount: number): void =>
          void wanted.set(key, (wanted.get(key) ?? 0) + amount);
        for (const { kind, body } of orders) {
          if (kind === 'out-of-stock') continue;
          for (const { sku, quantity } of body.lines) {
            add(sku, quantity);
            if (kind !== 'no-funds') add(body.account, quantity * (PRICE.get(sku) ?? 0));
          }
        }
        for (const { account, amount } of deposits) add(account, -amount);
        for (const { sku, quantity } of receipts) add(sku, -quantity);
        expect([...wanted].filter(([, missing]) => missing > 0)).toEqual([]);
        // The services take nothing that is less than one.
        expect(deposits.every(({ amount }) => amount >= 1)).toBe(true);
        expect(receipts.every(({ quantity }) => quantity >= 1)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('leaves those without funds unable to pay for anything', () => {
    const { orders, deposits } = makePlan(100, 5);
    const poor = deposits.filter(({ account }) => account === 'account-no-funds');
    const there = poor.reduce((sum, { amount }) => sum + amount, 0);
    const costs = orders
      .filter(({ kind }) => kind === 'no-funds')
      .map(({ body }) =>
        body.lines.reduce((sum, { sku, quantity }) => sum + quantity * (PRICE.get(sku) ?? 0), 0),
      );
    expect(costs.length).toBeGreaterThan(0);
    expect(Math.min(...costs)).toBeGreaterThan(there);
  });
});
