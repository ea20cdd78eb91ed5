import { LockLostError } from './errors.js';
import type { Lease } from './lease.js';

/** What runs under a lock. It gets the signal that aborts when the lock is lost, and the lease. */
export type Work<L extends Lease, T> = (signal: AbortSignal, lease: L) => T | PromiseLike<T>;

/** Runs work under a lease and ends it; see `Locks.using` for what is thrown. */
export async function runUnder<L extends Lease, T>(lease: L, work: Work<L, T>): Promise<T> {
  let result: T;
  try {
    result = await work(lease.signal, lease);
  } catch (error) {
    await lease[Symbol.asyncDispose]();
    throw error;
  }
  let released: string;
  try {
    released = await lease.release();
  } catch {
    // The lock was held to the end of the work. It ends with its lease, and the failure is on its channel.
    return result;
  }
  if (released === 'lost') {
    throw lease.signal.reason instanceof Error ? lease.signal.reason : new LockLostError(lease.key, 'gone');
  }
  return result;
}
