import { randomBytes } from 'node:crypto';
// The global of that name is a getter, which a clock that is read for every message would pay for.
import { performance } from 'node:perf_hooks';
import type { Runtime, Timer } from './runtime.js';
import { numberOption } from './options.js';

/** Node's timers hold delays in 32 bits; a longer one would fire at once. */
const MAX_NATIVE_DELAY_MS = 2 ** 31 - 1;

class SystemTimer implements Timer {
  readonly #due: number;
  readonly #run: () => void;
  readonly #keepAlive: boolean;
  #handle: NodeJS.Timeout | undefined;

  constructor(delayMs: number, run: () => void, keepAlive: boolean) {
    this.#due = performance.now() + delayMs;
    this.#run = run;
    this.#keepAlive = keepAlive;
    this.#arm(delayMs);
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  #arm(remainingMs: number): void {
    // Node rounds a delay down to whole milliseconds and may then fire early against `monotonic`.
    const native = Math.min(Math.ceil(Math.max(remainingMs, 0)), MAX_NATIVE_DELAY_MS);
    this.#handle = setTimeout(() => {
      const left = this.#due - performance.now();
      if (left > 0) this.#arm(left);
      else this.#run();
    }, native);
    if (!this.#keepAlive) this.#handle.unref();
  }
}

/** The machine's own clocks, timers and randomness. The one place in the toolkit that touches them. */
export const systemRuntime: Runtime = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs: number, run: () => void, options: { readonly keepAlive?: boolean } = {}): Timer {
    numberOption('delayMs', delayMs, { min: Number.NEGATIVE_INFINITY });
    return new SystemTimer(delayMs, run, options.keepAlive === true);
  },
  random: () => Math.random(),
  randomBytes: (size: number) => new Uint8Array(randomBytes(size)),
});
