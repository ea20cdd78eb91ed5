import { AsyncLocalStorage } from 'node:async_hooks';
import type { ReleaseResult } from './contract.js';
import type { Lease } from './lease.js';
import type { AcquireOptions } from './options.js';
import { runUnder, type Work } from './using.js';

/**
 * Locks that the code that runs inside a `using`, and all that it calls and awaits, may take again. The lock is given
 * back when the last of them gave it back.
 *
 * The owner is the asynchronous call tree of a `using`, by `AsyncLocalStorage`: branches that it runs side by side share
 * the lock, and do not exclude each other. `acquire` outside of a `using` is an ordinary one.
 */
export interface ReentrantLocks {
  /** As `Locks.using`; inside another on the same key it runs at once, under the same lease. */
  using<T>(key: string, work: Work<Lease, T>): Promise<T>;
  using<T>(key: string, options: AcquireOptions, work: Work<Lease, T>): Promise<T>;
  /** As `Locks.acquire`; inside a `using` on the same key it resolves at once, with a share of its lease. */
  acquire(key: string, options?: AcquireOptions): Promise<Lease>;
}

/** A lock that a call tree holds, and how many in it hold it. Zero: it is over, and nobody enters it again. */
interface Frame {
  readonly lease: Lease;
  holds: number;
}

type Frames = ReadonlyMap<string, Frame>;

/** See `Locks.reentrant`. */
export function createReentrant(locks: {
  acquire(key: string, options?: AcquireOptions): Promise<Lease>;
}): ReentrantLocks {
  const context = new AsyncLocalStorage<Frames>();
  const enter = (key: string): Lease | undefined => {
    const frame = context.getStore()?.get(key);
    return frame === undefined || frame.holds === 0 ? undefined : share(frame);
  };
  return {
    async using<T>(key: string, ...rest: [Work<Lease, T>] | [AcquireOptions, Work<Lease, T>]): Promise<T> {
      const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
      const entered = enter(key);
      if (entered !== undefined) {
        entered.assertHeld();
        return runUnder(entered, work);
      }
      const frame: Frame = { lease: await locks.acquire(key, options), holds: 0 };
      const frames = new Map(context.getStore() ?? []).set(key, frame);
      return runUnder(share(frame), (signal, lease) => context.run(frames, () => work(signal, lease)));
    },
    async acquire(key, options) {
      const entered = enter(key);
      if (entered === undefined) return locks.acquire(key, options);
      entered.assertHeld();
      return entered;
    },
  };
}

/** One hold of a lease that ends when the last hold does. */
function share(frame: Frame): Lease {
  const { lease } = frame;
  frame.holds++;
  let released: Promise<ReleaseResult> | undefined;
  const release = (): Promise<ReleaseResult> => {
    released ??=
      --frame.holds === 0 ? lease.release() : Promise.resolve(lease.held ? 'released' : ('lost' as const));
    return released;
  };
  return {
    key: lease.key,
    owner: lease.owner,
    mode: lease.mode,
    signal: lease.signal,
    get fence() {
      return lease.fence;
    },
    get held() {
      return released === undefined && lease.held;
    },
    remainingMs: () => (released === undefined ? lease.remainingMs() : 0),
    extend: (leaseMs) => lease.extend(leaseMs),
    assertHeld: () => lease.assertHeld(),
    release,
    async [Symbol.asyncDispose]() {
      await release().catch(() => undefined);
    },
  };
}
