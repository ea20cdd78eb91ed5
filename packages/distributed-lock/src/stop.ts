import { DeadlineError, type Runtime } from '@quorate/runtime';

/**
 * What `AbortController` is, for the inside: it costs next to nothing until somebody asks for its signal. Taking a lock
 * needs several, and most backends look at none of them.
 */
export class Stop {
  #reason: Error | undefined;
  #listeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;

  get stopped(): boolean {
    return this.#reason !== undefined;
  }

  /** Why it stopped. */
  get reason(): Error {
    return this.#reason ?? new Error('it has not stopped');
  }

  /** A signal that aborts when this stops. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Stops once; later reasons are ignored. */
  stop(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners !== undefined) for (const listen of listeners) listen();
  }

  /** Calls `listen` when it stops, at once if it has, until the returned function is called. */
  onStop(listen: () => void): () => void {
    if (this.#reason !== undefined) {
      listen();
      return () => undefined;
    }
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listen);
    return () => {
      listeners.delete(listen);
    };
  }
}

/**
 * One call, given up after `limitMs` with `DeadlineError`, or when `outer` stops, with its reason. The stop that `make`
 * gets says so to whoever makes the call; what it comes to afterwards is ignored.
 */
export function bounded<T>(
  runtime: Runtime,
  limitMs: number,
  outer: Stop | undefined,
  what: string,
  make: (stop: Stop) => Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (outer?.stopped === true) {
      reject(outer.reason);
      return;
    }
    const stop = new Stop();
    const giveUp = (reason: Error): void => {
      finish();
      stop.stop(reason);
      reject(reason);
    };
    const timer =
      limitMs === Number.POSITIVE_INFINITY
        ? undefined
        : runtime.setTimer(limitMs, () => giveUp(new DeadlineError(limitMs, what)));
    const forget = outer?.onStop(() => giveUp(outer.reason));
    const finish = (): void => {
      timer?.cancel();
      forget?.();
    };
    make(stop).then(
      (value) => {
        finish();
        resolve(value);
      },
      (error: unknown) => {
        finish();
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
        reject(error);
      },
    );
  });
}
