import { describe, expect, it } from 'vitest';
import { randomId, seededRandom, systemRuntime } from '@quorate/runtime';

describe('seededRandom', () => {
  it('gives the same sequence on every machine', () => {
    const random = seededRandom(42);
    expect([random(), random(), random()].map((n) => Math.floor(n * 2 ** 32))).toMatchInlineSnapshot(`
      [
        3882964438,
        1177149777,
        1632668721,
      ]
    `);
  });

  it('tells neighbouring and negative seeds, and seeds above 32 bits apart', () => {
    const firsts = [0, 1, 2, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map((seed) => seededRandom(seed)());
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it('is uniform enough: 64 buckets pass a chi-square test at p = 0.001 for each of 50 seeds but few', () => {
    const draws = 64_000;
    let rejected = 0;
    for (let seed = 0; seed < 50; seed++) {
      const random = seededRandom(seed);
      const buckets = new Float64Array(64);
      for (let n = 0; n < draws; n++) {
        const bucket = Math.floor(random() * 64);
        buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      }
      const expected = draws / 64;
      const chi = buckets.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      if (chi > 103.4) rejected++;
    }
    expect(rejected).toBeLessThanOrEqual(1);
  });

  it.each([1.5, Number.NaN, 2 ** 53])('refuses the seed %s', (seed) => {
    expect(() => seededRandom(seed)).toThrow('seed must be an integer');
  });
});

it('randomId is 128 bits of hexadecimal digits', () => {
  const ids = new Set(Array.from({ length: 1000 }, () => randomId(systemRuntime)));
  expect(ids.size).toBe(1000);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
});
