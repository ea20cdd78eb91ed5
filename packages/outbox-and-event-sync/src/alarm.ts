import type { Runtime, Timer } from '@quorate/runtime';

/** A wait that can be cut short. What comes while nobody waits is kept for the next wait. */
export class Alarm {
  readonly #runtime: Runtime;
  #rung = false;
  /** The latest moment at which the next wait may end. */
  #notAfter = Number.POSITIVE_INFINITY;
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
        this.#arm(Math.min(delayMs, this.#notAfter - this.#runtime.monotonic()));
      });
    }
    this.#rung = false;
    this.#notAfter = Number.POSITIVE_INFINITY;
    this.#wake = undefined;
    this.#timer?.cancel();
  }

  /** Ends the wait now. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Ends the wait within `delayMs` from now. */
  ringWithin(delayMs: number): void {
    const due = this.#runtime.monotonic() + delayMs;
    if (this.#wake === undefined) this.#notAfter = Math.min(this.#notAfter, due);
    else if (due < this.#dueAt) this.#arm(delayMs);
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
