import type { LockBackend } from '@quorate/distributed-lock';
import { type Runtime, sleep } from '@quorate/runtime';

/** What can go wrong between a client and its server. */
export interface Faults {
  /** The part of the calls whose request, and of those whose reply, is lost. */
  readonly loss: number;
  /** Each way takes up to so long. */
  readonly delayMs: number;
  /** The part of the pushes that are lost. */
  readonly pushLoss: number;
  /** Cuts the client off. */
  cut: boolean;
}

/**
 * A backend behind a network that loses and delays requests, replies and pushes, each by itself: order is not kept. What
 * arrives is seen when `process` runs.
 */
export function lossy(inner: LockBackend, runtime: Runtime, process: Runtime, faults: Faults): LockBackend {
  const way = async (what: string): Promise<void> => {
    await sleep(runtime, runtime.random() * faults.delayMs);
    if (!faults.cut && runtime.random() >= faults.loss) return;
    // Half of what is lost is known to be: a reset. The rest is silence.
    if (runtime.random() < 0.5) throw new Error(`${what} was lost`);
    await new Promise(() => undefined);
  };
  const call = async <T>(make: () => Promise<T>): Promise<T> => {
    await way('a request');
    const result = await make();
    await way('a reply');
    await sleep(process, 0);
    return result;
  };
  return {
    name: 'lossy',
    capabilities: inner.capabilities,
    claim: (request, { watch, ...rest }) =>
      call(() =>
        inner.claim(request, {
          ...rest,
          watch: {
            changed(grant) {
              if (faults.cut || runtime.random() < faults.pushLoss) return;
              runtime.setTimer(runtime.random() * faults.delayMs * 3, () => {
                process.setTimer(0, () => watch.changed(grant));
              });
            },
            lost: (cause) => watch.lost(cause),
          },
        }),
      ),
    renew: (claim, leaseMs, options) => call(() => inner.renew(claim, leaseMs, options)),
    release: (claim, options) => call(() => inner.release(claim, options)),
    close: () => inner.close(),
  };
}

/**
 * The clock of one process: it can stand still, as under SIGSTOP, while its monotonic clock goes on. Timers that fell
 * due meanwhile run when it wakes up.
 */
export function pausable(
  runtime: Runtime,
): Runtime & { readonly paused: boolean; pause(durationMs: number): void } {
  let awakeAtMs = 0;
  return {
    now: () => runtime.now(),
    monotonic: () => runtime.monotonic(),
    random: () => runtime.random(),
    randomBytes: (size) => runtime.randomBytes(size),
    setTimer(delayMs, run, options) {
      let timer = runtime.setTimer(delayMs, fire, options);
      function fire(): void {
        const left = awakeAtMs - runtime.monotonic();
        if (left > 0) timer = runtime.setTimer(left, fire, options);
        else run();
      }
      return { cancel: () => timer.cancel() };
    },
    get paused() {
      return awakeAtMs > runtime.monotonic();
    },
    pause(durationMs) {
      awakeAtMs = Math.max(awakeAtMs, runtime.monotonic() + durationMs);
    },
  };
}
