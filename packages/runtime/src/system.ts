import { randomBytes } from 'node:crypto';
// The global of that name is a getter, which a clock that is read for every message would pay for.
import { performance } from 'node:perf_hooks';
import type { Runtime, Timer } from './runtime.js';
import { numberOption } from './options.js';

/** Node's timers hold delays in 32 bits; a longer one would fire at once. */
const MAX_NATIVE_DELAY_MS = 2 ** 31 - 1;

/** The machine's own clocks, timers and randomness. The one place in the toolkit that touches them. */
export const systemRuntime: Runtime = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs: number, run: () => void, options: { readonly keepAlive?: boolean } = {}): Timer {
    numberOption('delayMs', delayMs, { min: Number.NEGATIVE_INFINITY });
    let handle: NodeJS.Timeout | undefined;
    const due = performance.now() + delayMs;
    const arm = (remainingMs: number): void => {
      // Node rounds a delay down to whole milliseconds and may then fire early against `monotonic`.
      const native = Math.min(Math.ceil(Math.max(remainingMs, 0)), MAX_NATIVE_DELAY_MS);
      handle = setTimeout(() => {
        const left = due - performance.now();
        if (left > 0) arm(left);
        else run();
      }, native);
      if (options.keepAlive !== true) handle.unref();
    };
    arm(delayMs);
    return {
      cancel() {
        clearTimeout(handle);
      },
    };
  },
  random: () => Math.random(),
  randomBytes: (size: number) => new Uint8Array(randomBytes(size)),
});
