import { DeadlineError } from './errors.js';
import { numberOption } from './options.js';
import type { Runtime } from './runtime.js';

/**
 * Settles as `promise` does, or rejects with `signal.reason` as soon as the signal aborts. The abort only ends
 * the wait: what `promise` stands for goes on, and its later rejection is swallowed.
 */
export function abortable<T>(promise: PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(promise);
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      reject(reasonOf(signal));
    };
    if (signal.aborted) {
      abort();
      promise.then(undefined, () => undefined);
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort);
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
        reject(error);
      },
    );
  });
}

/** A signal that must be let go of, so that it does not stay attached to longer-lived ones. */
export interface LinkedSignal extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts this signal, and none of those it is linked to. */
  abort(reason?: unknown): void;
}

/**
 * A signal that aborts when any of `sources` does, with the same reason. Disposing it detaches it from them:
 * unlike `AbortSignal.any`, nothing depends on the garbage collector.
 */
export function linkSignals(...sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const detach: (() => void)[] = [];
  const dispose = (): void => {
    for (const one of detach.splice(0)) one();
  };
  for (const source of sources) {
    if (source === undefined) continue;
    if (source.aborted) {
      controller.abort(source.reason);
      break;
    }
    const follow = (): void => {
      controller.abort(source.reason);
      dispose();
    };
    source.addEventListener('abort', follow, { once: true });
    detach.push(() => {
      source.removeEventListener('abort', follow);
    });
  }
  if (controller.signal.aborted) dispose();
  return {
    signal: controller.signal,
    abort(reason) {
      controller.abort(reason);
      dispose();
    },
    [Symbol.dispose]: dispose,
  };
}

/** A point in time at which a signal aborts. Dispose it when the work is done. */
export interface Deadline extends LinkedSignal {
  /** Milliseconds until the deadline; zero once it has passed. */
  remainingMs(): number;
}

/**
 * A signal that aborts with {@link DeadlineError} after `timeoutMs`, or with the reason of `options.signal` when
 * that aborts earlier. Its timer does not keep the process alive.
 */
export function deadline(
  runtime: Runtime,
  timeoutMs: number,
  options: { readonly signal?: AbortSignal | undefined; readonly what?: string } = {},
): Deadline {
  numberOption('timeoutMs', timeoutMs);
  const linked = linkSignals(options.signal);
  const due = runtime.monotonic() + timeoutMs;
  const timer = linked.signal.aborted
    ? undefined
    : runtime.setTimer(timeoutMs, () => {
        linked.abort(new DeadlineError(timeoutMs, options.what));
      });
  return {
    signal: linked.signal,
    remainingMs: () => Math.max(0, due - runtime.monotonic()),
    abort(reason) {
      timer?.cancel();
      linked.abort(reason);
    },
    [Symbol.dispose]() {
      timer?.cancel();
      linked[Symbol.dispose]();
    },
  };
}

/**
 * Resolves after `delayMs`. Rejects with `signal.reason` when the signal aborts. A sleeping caller is somebody
 * who waits, so the timer keeps the process alive unless `keepAlive` is false.
 */
export function sleep(
  runtime: Runtime,
  delayMs: number,
  options: { readonly signal?: AbortSignal | undefined; readonly keepAlive?: boolean } = {},
): Promise<void> {
  const { signal, keepAlive = true } = options;
  return new Promise<void>((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(reasonOf(signal));
      return;
    }
    const abort = (): void => {
      timer.cancel();
      reject(reasonOf(signal));
    };
    const timer = runtime.setTimer(
      delayMs,
      () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      },
      { keepAlive },
    );
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** The reason of an aborted signal, as an error even where the caller aborted with something else. */
function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException(String(reason), 'AbortError');
}
