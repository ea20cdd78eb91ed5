import type { Runtime } from '@quorate/runtime';

/** Counts what is under way, and waits for its end when closing. */
export class UnderWay {
  #count = 0;
  #stop: (() => void) | undefined;

  begin(): void {
    this.#count++;
  }

  end(): void {
    if (--this.#count === 0) this.#stop?.();
  }

  /**
   * Resolves when nothing is under way, or after `drainMs` milliseconds. The timer keeps the process alive: somebody
   * waits for it.
   */
  drain(runtime: Runtime, drainMs: number): Promise<void> {
    if (this.#count === 0 || drainMs === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = runtime.setTimer(drainMs, () => this.#stop?.(), { keepAlive: true });
      this.#stop = () => {
        this.#stop = undefined;
        timer.cancel();
        resolve();
      };
    });
  }

  /** Ends a drain that is going on, now: somebody has less patience than the one who began it. */
  hurry(): void {
    this.#stop?.();
  }
}
