import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SlotTable } from '../src/core/slots.js';

describe('the table of pending requests', () => {
  test('behaves as a Map does, with ids of its own, also around the wrap of 32 bits', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 2 ** 32 - 40, 2 ** 31 - 5),
        // A negative number removes the entry at that place of those which are left, the others add one.
        fc.array(fc.integer({ min: -200, max: 200 }), { maxLength: 600 }),
        (firstId, steps) => {
          const table = new SlotTable<{ id: number }>(firstId);
          const model = new Map<number, { id: number }>();
          for (const step of steps) {
            const ids = [...model.keys()];
            if (step < 0 && ids.length > 0) {
              const id = ids[-step % ids.length] ?? 0;
              table.delete(id);
              model.delete(id);
              expect(table.get(id)).toBeUndefined();
              table.delete(id);
            } else {
              const entry = { id: table.nextId() };
              expect(model.has(entry.id)).toBe(false);
              table.add(entry);
              model.set(entry.id, entry);
            }
            expect(table.size).toBe(model.size);
          }
          expect(new Set(table.values())).toEqual(new Set(model.values()));
          for (const [id, entry] of model) expect(table.get(id)).toBe(entry);
        },
      ),
    );
  });

  test('an id that is not in the table is not found, whatever slot it falls into', () => {
    const table = new SlotTable<{ id: number }>(0);
    table.add({ id: table.nextId() });
    for (let id = 2; id < 1_000; id++) expect(table.get(id)).toBeUndefined();
    expect(table.get(-1)).toBeUndefined();
  });

  test('a long-lived entry is passed over, and a burst leaves nothing behind', () => {
    const table = new SlotTable<{ id: number }>(2 ** 32 - 2);
    const old = { id: table.nextId() };
    table.add(old);
    for (let index = 0; index < 100_000; index++) {
      const entry = { id: table.nextId() };
      table.add(entry);
      table.delete(entry.id);
    }
    expect(table.get(old.id)).toBe(old);
    const burst = Array.from({ length: 5_000 }, () => {
      const entry = { id: table.nextId() };
      table.add(entry);
      return entry;
    });
    expect(table.values()).toHaveLength(5_001);
    for (const { id } of [old, ...burst]) table.delete(id);
    expect(table.size).toBe(0);
    expect(table.values()).toEqual([]);
  });
});
