import type { Runtime, Timer } from '@quorate/runtime';

/** What a {@link Ticker} drives. */
export interface TickerHost {
  tick(): void;
  /** A tick came late by its length or more: the process or the machine stood still, or time is short. */
  stalled(): void;
}

/**
 * Ticks that keep in step with the monotonic clock: a late one does not delay those behind it, so that the number of
 * ticks tells how much time has passed, to less than one tick. Where more was missed it is not made up for.
 */
export class Ticker {
  readonly #runtime: Runtime;
  readonly #tickMs: number;
  readonly #host: TickerHost;
  #dueMs: number;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(runtime: Runtime, tickMs: number, host: TickerHost) {
    this.#runtime = runtime;
    this.#tickMs = tickMs;
    this.#host = host;
    this.#dueMs = runtime.monotonic() + tickMs;
    this.#schedule(tickMs);
  }

  /** Ticks if it is time: before something is asked that rests on the number of ticks. */
  catchUp(): void {
    const lateMs = this.#runtime.monotonic() - this.#dueMs;
    if (lateMs < 0) return;
    if (lateMs >= this.#tickMs) {
      this.#host.stalled();
      this.#dueMs += lateMs;
    }
    this.#dueMs += this.#tickMs;
    this.#host.tick();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    const run = (): void => {
      this.catchUp();
      if (!this.#stopped) this.#schedule(Math.max(0, this.#dueMs - this.#runtime.monotonic()));
    };
    // A node serves its peers like a server that listens.
    this.#timer = this.#runtime.setTimer(delayMs, run, { keepAlive: true });
  }
}
