import { expect, it } from 'vitest';
import { coalesce } from '../src/coalesce.js';

/** Batches that are answered by hand. */
function batches(maxItems = 100) {
  const seen: { items: readonly number[]; answer: (answers: readonly number[]) => void; fail: () => void }[] =
    [];
  const call = coalesce<number, number>(
    (items) =>
      new Promise((resolve, reject) => {
        const fail = (): void => {
          reject(new Error('the database is away'));
        };
        seen.push({ items, answer: resolve, fail });
      }),
    maxItems,
  );
  return { seen, call };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('puts the calls of one turn into one batch, and those that come meanwhile into the next', async () => {
  const { seen, call } = batches();
  const first = [call(1), call(2)];
  await turn();
  const second = [call(3), call(4), call(5)];
  await turn();
  expect(seen.map((batch) => batch.items)).toEqual([[1, 2]]);
  seen[0]?.answer([10, 20]);
  expect(await Promise.all(first)).toEqual([10, 20]);
  await turn();
  expect(seen.map((batch) => batch.items)).toEqual([
    [1, 2],
    [3, 4, 5],
  ]);
  seen[1]?.answer([30, 40, 50]);
  expect(await Promise.all(second)).toEqual([30, 40, 50]);
});

it('fails the calls of a failed batch, and goes on with the next', async () => {
  const { seen, call } = batches(1);
  const calls = [call(1), call(2)];
  await turn();
  seen[0]?.fail();
  await expect(calls[0]).rejects.toThrow('away');
  await turn();
  seen[1]?.answer([20]);
  await expect(calls[1]).resolves.toBe(20);
});
