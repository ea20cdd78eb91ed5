import { InvalidOptionError, linkSignals } from '@quorate/runtime';
import type { Shared } from './acquiring.js';
import type { ReleaseResult } from './contract.js';
import type { Lease } from './lease.js';
import { type AcquireOptions, acquireOptions, keyOption } from './options.js';

/** Several locks that are held together. Disposing it releases all of them and never throws. */
export interface LeaseSet extends AsyncDisposable {
  /** In the order in which they were taken. */
  readonly leases: ReadonlyMap<string, Lease>;
  /** Aborts when one of them is lost. */
  readonly signal: AbortSignal;
  /** Of the one that ends first. */
  remainingMs(): number;
  /** Throws `LockLostError` unless all are held. */
  assertHeld(): void;
  /** Releases all, the last first. `lost` if one of them was. Rejects with the first error, after all were tried. */
  release(): Promise<ReleaseResult>;
}

/** See `Locks.acquireAll`. */
export async function acquireMany(
  locks: { acquire(key: string, options: AcquireOptions): Promise<Lease> },
  { backend, settings }: Shared,
  keys: Iterable<string>,
  options: AcquireOptions,
): Promise<LeaseSet> {
  if (typeof keys === 'string') throw new InvalidOptionError('keys', keys, 'several keys, such as an array');
  const { waitMs } = acquireOptions(backend, settings, options);
  // The order of code units is the same on every machine, whatever its locale.
  const ordered = [...new Set(Array.from(keys, (key) => keyOption(backend, key)))].sort((a, b) =>
    a < b ? -1 : 1,
  );
  if (ordered.length === 0) throw new InvalidOptionError('keys', ordered, 'at least one key');
  const { runtime } = settings;
  const until = runtime.monotonic() + waitMs;
  const leases = new Map<string, Lease>();
  const signals = (): AbortSignal[] => [...leases.values()].map(({ signal }) => signal);
  try {
    for (const key of ordered) {
      const linked = linkSignals(options.signal, ...signals());
      try {
        const leftMs =
          waitMs === Number.POSITIVE_INFINITY ? waitMs : Math.max(0, until - runtime.monotonic());
        leases.set(key, await locks.acquire(key, { ...options, waitMs: leftMs, signal: linked.signal }));
      } catch (error) {
        for (const lease of leases.values()) lease.assertHeld();
        throw error;
      } finally {
        linked[Symbol.dispose]();
      }
    }
    for (const lease of leases.values()) lease.assertHeld();
  } catch (error) {
    await releaseAll(leases).catch(() => undefined);
    throw error;
  }
  const linked = linkSignals(...signals());
  let released: Promise<ReleaseResult> | undefined;
  const release = (): Promise<ReleaseResult> => {
    linked[Symbol.dispose]();
    return (released ??= releaseAll(leases));
  };
  return {
    leases,
    signal: linked.signal,
    remainingMs: () => Math.min(...[...leases.values()].map((lease) => lease.remainingMs())),
    assertHeld() {
      for (const lease of leases.values()) lease.assertHeld();
    },
    release,
    async [Symbol.asyncDispose]() {
      await release().catch(() => undefined);
    },
  };
}

async function releaseAll(leases: ReadonlyMap<string, Lease>): Promise<ReleaseResult> {
  let result: ReleaseResult = 'released';
  const failures: unknown[] = [];
  for (const lease of [...leases.values()].reverse()) {
    try {
      if ((await lease.release()) === 'lost') result = 'lost';
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return result;
}
