import type { Runtime, Timer } from '@quorate/runtime';

/** A wait that can be cut short. A ring that nobody waits for is kept for the next wait. */
export class Alarm {
  readonly #runtime: Runtime;
  #rung = false;
  #timer: Timer | undefined;
  #dueAt = 0;
  #wake: (() => void) | undefined;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Resolves after `delayMs`, or earlier when it rings. */
  async wait(delayMs: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#arm(delayMs);
      });
    }
    this.#rung = false;
    this.#wake = undefined;
    this.#timer?.cancel();
  }

  /** Ends the wait now. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Ends the wait within `delayMs`. Does nothing while nobody waits. */
  ringWithin(delayMs: number): void {
    if (this.#wake !== undefined && this.#runtime.monotonic() + delayMs < this.#dueAt) this.#arm(delayMs);
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#dueAt = this.#runtime.monotonic() + delayMs;
    this.#timer = this.#runtime.setTimer(
      delayMs,
      () => {
        this.#wake?.();
      },
      { keepAlive: true },
    );
  }
}
