import { abortable, InvalidOptionError, linkSignals, numberOption, sleep } from '@quorate/runtime';
import type { Shared } from './acquiring.js';
import type { LockStatus } from './contract.js';
import { LockClosedError, LockUnsupportedError } from './errors.js';
import type { Lease } from './lease.js';
import { type AcquireOptions, keyOption } from './options.js';

/** How an election is watched. */
export interface ElectionOptions {
  /**
   * How often `observe` asks who leads, in milliseconds.
   * @defaultValue a third of the lease
   */
  readonly observeEveryMs?: number;
}

/** Who leads at some time. */
export interface Leader {
  /** The `client` of the leader's `createLocks`; if it has none, the owner of its claim. */
  readonly client: string;
  readonly owner: string;
  /** The term: it rises with every leader. `undefined` where the backend has no fences. */
  readonly fence: number | undefined;
}

/**
 * A leader election on a lock: at most one leads at a time, as far as `capabilities.safety` goes and for as long as its
 * lease is held. What a leader writes carries its `fence`.
 */
export interface Election extends AsyncDisposable {
  /** The leadership of this election object, while it is held. */
  readonly leadership: Lease | undefined;
  /**
   * Waits to become the leader. The lease is the leadership: its signal aborts when it is lost. Campaigning while one
   * leads or campaigns throws `InvalidOptionError`.
   */
  campaign(options?: AcquireOptions): Promise<Lease>;
  /** Gives the leadership up, or the campaign. Resolves with `none` if there was neither. */
  resign(): Promise<'released' | 'lost' | 'none'>;
  /**
   * Who leads, now and whenever that changes; `undefined` for nobody. It sees states, and may miss a leader who led for
   * less than `observeEveryMs`. Ends with the signal, or when the locks are closed. Throws `LockUnsupportedError` where
   * the backend cannot tell.
   */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<Leader | undefined>;
}

/** What an election needs of locks. */
interface ElectionLocks {
  acquire(key: string, options: AcquireOptions): Promise<Lease>;
  inspect(key: string, options: { readonly signal?: AbortSignal }): Promise<LockStatus>;
}

/** See `Locks.election`. */
export function createElection(
  locks: ElectionLocks,
  { backend, settings, closing }: Shared,
  key: string,
  options: ElectionOptions,
): Election {
  keyOption(backend, key);
  const everyMs = numberOption('observeEveryMs', options.observeEveryMs ?? settings.leaseMs / 3, { min: 1 });
  let leadership: Lease | undefined;
  let campaign: { readonly stop: AbortController; readonly done: Promise<Lease> } | undefined;

  const current = (): Lease | undefined => (leadership?.held === true ? leadership : undefined);
  const resign = async (): Promise<'released' | 'lost' | 'none'> => {
    campaign?.stop.abort(new Error('resigned'));
    await campaign?.done.catch(() => undefined);
    const leading = leadership;
    leadership = undefined;
    return leading === undefined ? 'none' : leading.release();
  };

  async function* observe({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<
    Leader | undefined
  > {
    if (backend.inspect === undefined)
      throw new LockUnsupportedError(backend.name, 'inspect, so that nobody can observe');
    const linked = linkSignals(signal, closing.signal);
    let last: Leader | undefined;
    let first = true;
    try {
      while (!linked.signal.aborted) {
        const { holders } = await locks.inspect(key, { signal: linked.signal });
        const leader = leaderOf(holders);
        if (first || leader?.owner !== last?.owner) yield leader;
        first = false;
        last = leader;
        await sleep(settings.runtime, everyMs, { signal: linked.signal });
      }
    } catch (error) {
      if (!linked.signal.aborted) throw error;
    } finally {
      linked[Symbol.dispose]();
    }
  }

  return {
    get leadership() {
      return current();
    },
    async campaign(acquire = {}) {
      if (campaign !== undefined || current() !== undefined)
        throw new InvalidOptionError(
          'campaign',
          key,
          'one at a time: this election is campaigning or leading',
        );
      if (closing.stopped) throw new LockClosedError(key);
      const stop = new AbortController();
      const linked = linkSignals(acquire.signal, stop.signal);
      const done = locks.acquire(key, { ...acquire, signal: linked.signal });
      campaign = { stop, done };
      try {
        leadership = await done;
        return leadership;
      } finally {
        campaign = undefined;
        linked[Symbol.dispose]();
      }
    },
    resign,
    observe,
    async [Symbol.asyncDispose]() {
      await abortable(resign(), undefined).catch(() => undefined);
    },
  };
}

function leaderOf(holders: LockStatus['holders']): Leader | undefined {
  const [holder] = holders;
  if (holder === undefined) return undefined;
  const { owner, fence } = holder;
  const end = owner.lastIndexOf('~');
  return { client: end === -1 ? owner : owner.slice(0, end), owner, fence };
}
