import { expect, it } from 'vitest';
import { RowHeat } from '../src/core/heat.js';

const unlocked = (heat: RowHeat, updates: number): number =>
  Array.from({ length: updates }, () => heat.takeHot('row')).filter((locked) => !locked).length;

it('locks nothing that never lost', () => {
  expect(unlocked(new RowHeat(), 100)).toBe(100);
});

it('lets one update of many try without a lock on a hot row, however many come at once', () => {
  const heat = new RowHeat();
  heat.heat('row');
  expect(unlocked(heat, 64)).toBe(0);
  // None of these knows yet what became of the one that tries.
  expect(unlocked(heat, 64)).toBe(1);
  expect(unlocked(heat, 65 * 10)).toBe(10);
});

it('forgets a row when one that tried won at once, and gives it as many chances as at first', () => {
  const heat = new RowHeat();
  heat.heat('row');
  expect(heat.limit('row', 2)).toBe(1);
  heat.cool('row');
  expect(heat.limit('row', 2)).toBe(2);
  expect(heat.takeHot('row')).toBe(false);
});

it('remembers a bounded number of rows, and forgets the one that was hot longest ago', () => {
  const heat = new RowHeat();
  for (let row = 0; row <= 4_096; row++) heat.heat(String(row));
  expect(heat.takeHot('0')).toBe(false);
  expect(heat.takeHot('1')).toBe(true);
  expect(heat.takeHot('4096')).toBe(true);
});
