import { sleep } from './abort.js';
import { choiceOption, functionOption, integerOption, numberOption } from './options.js';
import type { Runtime } from './runtime.js';

/** How delays between attempts grow. */
export interface BackoffOptions {
  /**
   * The bound of the first delay, in milliseconds.
   * @defaultValue 50
   */
  readonly minMs?: number;
  /**
   * No delay is longer, in milliseconds.
   * @defaultValue 10_000
   */
  readonly maxMs?: number;
  /**
   * By how much the bound grows with each attempt.
   * @defaultValue 2
   */
  readonly factor?: number;
  /**
   * `full` draws each delay uniformly between zero and its bound, so that clients that failed together do not
   * come back together; `none` waits for exactly the bound.
   * @defaultValue 'full'
   */
  readonly jitter?: 'full' | 'none';
}

/** A growing sequence of delays. */
export interface Backoff {
  /** How many delays were handed out since the last reset. */
  readonly attempts: number;
  /** The next delay, in milliseconds. */
  nextMs(): number;
  /** Starts again from the first delay: call it after a success. */
  reset(): void;
}

/**
 * Capped exponential backoff with full jitter.
 *
 * The delay before attempt n is uniform in [0, min(maxMs, minMs * factor^n)], after M. Brooker, "Exponential
 * Backoff And Jitter" (AWS Architecture Blog, 2015).
 */
export function backoff(runtime: Pick<Runtime, 'random'>, options: BackoffOptions = {}): Backoff {
  const growth = growthOf(options);
  let attempts = 0;
  return {
    get attempts() {
      return attempts;
    },
    nextMs: () => delayOf(runtime, growth, attempts++),
    reset() {
      attempts = 0;
    },
  };
}

/**
 * The delay after `attempts` failed ones, in milliseconds: what {@link backoff} hands out then, for callers whose
 * count of attempts outlives the process.
 */
export function backoffDelayMs(
  runtime: Pick<Runtime, 'random'>,
  attempts: number,
  options: BackoffOptions = {},
): number {
  return delayOf(runtime, growthOf(options), integerOption('attempts', attempts, { min: 1 }) - 1);
}

function growthOf(options: BackoffOptions): Required<BackoffOptions> {
  const minMs = numberOption('minMs', options.minMs ?? 50);
  return {
    minMs,
    maxMs: numberOption('maxMs', options.maxMs ?? Math.max(10_000, minMs), { min: minMs }),
    factor: numberOption('factor', options.factor ?? 2, { min: 1 }),
    jitter: choiceOption('jitter', options.jitter ?? 'full', ['full', 'none']),
  };
}

function delayOf(
  runtime: Pick<Runtime, 'random'>,
  growth: Required<BackoffOptions>,
  handedOut: number,
): number {
  // A bound of zero stays zero, also where the factor has grown to infinity.
  const bound = growth.minMs === 0 ? 0 : Math.min(growth.maxMs, growth.minMs * growth.factor ** handedOut);
  return growth.jitter === 'full' ? runtime.random() * bound : bound;
}

/** When and how often to try again. */
export interface RetryOptions extends BackoffOptions {
  /**
   * Attempts in all, the first included.
   * @defaultValue 5
   */
  readonly attempts?: number;
  /**
   * Whether an error may pass on its own. An error for which this is false is thrown at once.
   * @defaultValue every error is retried
   */
  readonly retryable?: (error: unknown, attempt: number) => boolean;
  /** Ends the waiting between attempts; it is also handed to the work. */
  readonly signal?: AbortSignal;
}

/**
 * Runs `work` until it succeeds, an error is not retryable, or the attempts are used up; then throws the last
 * error. Whether repeating the work is safe is for the caller to know: an attempt that failed may still have
 * had its effect.
 */
export async function retry<T>(
  runtime: Runtime,
  work: (attempt: number, signal: AbortSignal | undefined) => T | PromiseLike<T>,
  options: RetryOptions = {},
): Promise<T> {
  const attempts = integerOption('attempts', options.attempts ?? 5, { min: 1 });
  const retryable = functionOption('retryable', options.retryable ?? (() => true));
  const delays = backoff(runtime, options);
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await work(attempt, options.signal);
    } catch (error) {
      if (attempt >= attempts || !retryable(error, attempt)) throw error;
    }
    await sleep(runtime, delays.nextMs(), { signal: options.signal });
  }
}
