import { abortable, deadline, type Runtime, type Timer } from '@quorate/runtime';
import type { TccOutcome } from './definition.js';
import { CoordinatorClosedError } from './errors.js';

/** Those who wait for the end of an instance, in this process. */
export class Waiters {
  readonly #runtime: Runtime;
  readonly #pollMs: number;
  /** Which of these have ended: one query for all that are waited for. Never rejects. */
  readonly #poll: (ids: readonly string[]) => Promise<readonly TccOutcome[]>;
  readonly #waiting = new Map<string, Set<Waiter>>();
  #timer: Timer | undefined;
  #polling = false;
  #closed = false;

  constructor(
    runtime: Runtime,
    pollMs: number,
    poll: (ids: readonly string[]) => Promise<readonly TccOutcome[]>,
  ) {
    this.#runtime = runtime;
    this.#pollMs = pollMs;
    this.#poll = poll;
  }

  /** Resolves when the instance has ended, as far as this process learns it or the poll finds it. */
  async wait(
    id: string,
    { timeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<TccOutcome> {
    const waiter = new Waiter();
    const waiters = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiters.add(waiter));
    const limit =
      timeoutMs === undefined
        ? undefined
        : deadline(this.#runtime, timeoutMs, { signal, what: `waiting for saga ${id}` });
    this.#schedule();
    try {
      return await abortable(waiter.outcome, limit?.signal ?? signal);
    } finally {
      limit?.[Symbol.dispose]();
      waiters.delete(waiter);
      if (waiters.size === 0 && this.#waiting.get(id) === waiters) this.#waiting.delete(id);
      if (this.#waiting.size === 0) {
        this.#timer?.cancel();
        this.#timer = undefined;
      }
    }
  }

  /** Tells those who wait for it that an instance has ended. */
  notify(outcome: TccOutcome): void {
    for (const waiter of this.#waiting.get(outcome.id) ?? []) waiter.resolve(outcome);
  }

  /** Ends the waits for an instance with an error. */
  fail(id: string, error: unknown): void {
    for (const waiter of this.#waiting.get(id) ?? []) waiter.reject(error);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const waiters of this.#waiting.values()) {
      for (const waiter of waiters) waiter.reject(new CoordinatorClosedError('the wait was given up'));
    }
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#polling || this.#closed || this.#waiting.size === 0) return;
    this.#timer = this.#runtime.setTimer(
      this.#pollMs,
      () => {
        this.#timer = undefined;
        void this.#pollOnce();
      },
      // Somebody waits, so the process stays.
      { keepAlive: true },
    );
  }

  async #pollOnce(): Promise<void> {
    this.#polling = true;
    for (const outcome of await this.#poll([...this.#waiting.keys()])) this.notify(outcome);
    this.#polling = false;
    this.#schedule();
  }
}

class Waiter {
  readonly outcome: Promise<TccOutcome>;
  resolve!: (outcome: TccOutcome) => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.outcome = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever gave the wait up is not there to hear of the close.
    this.outcome.catch(() => undefined);
  }
}
