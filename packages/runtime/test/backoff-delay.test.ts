import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoff, backoffDelayMs, InvalidOptionError } from '../src/index.js';

describe('backoffDelayMs', () => {
  it('hands out what a running backoff would after as many attempts', () => {
    fc.assert(
      fc.property(
        fc.record({
          minMs: fc.nat(1000),
          factor: fc.double({ min: 1, max: 10, noNaN: true }),
        }),
        fc.integer({ min: 1, max: 2000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (options, attempts, chance) => {
          const runtime = { random: () => chance };
          const running = backoff(runtime, options);
          for (let attempt = 1; attempt < attempts; attempt++) running.nextMs();
          expect(backoffDelayMs(runtime, attempts, options)).toBe(running.nextMs());
        },
      ),
      { numRuns: 50 },
    );
  });

  it('doubles up to its cap', () => {
    const runtime = { random: () => 0 };
    const options = { minMs: 100, maxMs: 1000, jitter: 'none' } as const;
    expect([1, 2, 3, 4, 5, 5000].map((attempts) => backoffDelayMs(runtime, attempts, options))).toEqual([
      100, 200, 400, 800, 1000, 1000,
    ]);
  });

  it('refuses a count below one', () => {
    expect(() => backoffDelayMs({ random: () => 0 }, 0)).toThrow(InvalidOptionError);
  });
});
