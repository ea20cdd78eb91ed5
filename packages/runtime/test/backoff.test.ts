import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoff, InvalidOptionError, retry, seededRandom } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';

describe('backoff', () => {
  it('doubles up to its cap without jitter, and starts again after a reset', () => {
    const delays = backoff(createVirtualRuntime(), { minMs: 10, maxMs: 50, jitter: 'none' });
    expect([1, 2, 3, 4, 5].map(() => delays.nextMs())).toEqual([10, 20, 40, 50, 50]);
    expect(delays.attempts).toBe(5);
    delays.reset();
    expect(delays.attempts).toBe(0);
    expect(delays.nextMs()).toBe(10);
  });

  it('draws every delay between zero and min(maxMs, minMs * factor^n)', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 0, max: 1000 }),
        fc.integer({ min: 0, max: 100_000 }),
        fc.double({ min: 1, max: 4, noNaN: true }),
        (seed, minMs, above, factor) => {
          const random = seededRandom(seed);
          const maxMs = minMs + above;
          const delays = backoff({ random }, { minMs, maxMs, factor });
          for (let n = 0; n < 20; n++) {
            const delay = delays.nextMs();
            expect(delay).toBeGreaterThanOrEqual(0);
            expect(delay).toBeLessThanOrEqual(Math.min(maxMs, minMs * factor ** n) * (1 + 1e-9));
          }
        },
      ),
    );
  });

  it.each([{ minMs: -1 }, { minMs: 5, maxMs: 4 }, { factor: 0.5 }, { jitter: 'half' as 'full' }])(
    'refuses %j',
    (options) => {
      expect(() => backoff(createVirtualRuntime(), options)).toThrow(InvalidOptionError);
    },
  );
});

describe('retry', () => {
  it('repeats until success, and hands the attempt over', async () => {
    const runtime = createVirtualRuntime();
    const seen: number[] = [];
    const done = retry(runtime, (attempt) => {
      seen.push(attempt);
      if (attempt < 3) throw new Error('not yet');
      return 'done';
    });
    await runtime.advance(1_000);
    await expect(done).resolves.toBe('done');
    expect(seen).toEqual([1, 2, 3]);
  });

  it('throws the last error when the attempts are used up or it is not retryable', async () => {
    const runtime = createVirtualRuntime();
    const failing = (attempt: number): never => {
      throw new Error(`no ${attempt}`);
    };
    const all = expect(retry(runtime, failing, { attempts: 2 })).rejects.toThrow('no 2');
    await runtime.advance(1_000);
    await all;
    await expect(retry(runtime, failing, { retryable: () => false })).rejects.toThrow('no 1');
    expect(runtime.pendingTimers).toBe(0);
  });

  it('stops between attempts on abort', async () => {
    const runtime = createVirtualRuntime();
    const controller = new AbortController();
    const work = retry(
      runtime,
      () => {
        controller.abort(new Error('enough'));
        throw new Error('no');
      },
      { signal: controller.signal },
    );
    await expect(work).rejects.toThrow('enough');
    expect(runtime.pendingTimers).toBe(0);
  });
});
