import type {
  ClaimId,
  ClaimWatch,
  ConvertResult,
  LockBackend,
  LockCapabilities,
} from '@quorate/distributed-lock';
import { LockClosedError } from '@quorate/distributed-lock';
import { LockTable } from '@quorate/replicated-log/lock';
import { type Runtime, systemRuntime, type Timer } from '@quorate/runtime';

/** What the memory backend promises, to the clients of one space. */
export const memoryCapabilities: LockCapabilities = Object.freeze({
  fencing: 'volatile',
  fifo: true,
  waiting: 'push',
  releasedOnCrash: 'time',
  safety: 'single-node',
  modes: Object.freeze(['exclusive', 'shared', 'permits'] as const),
  upgrade: true,
  downgrade: true,
  leaseMs: Object.freeze({ min: 1, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

/** Where locks in memory are kept. Backends of one space lock each other out. */
export interface MemoryLockSpace {
  /** A client of this space. */
  backend(): LockBackend;
}

/** A new space of locks, inside this process. */
export function memoryLockSpace(options: { readonly runtime?: Runtime } = {}): MemoryLockSpace {
  const { runtime = systemRuntime } = options;
  const table = new LockTable();
  const watches = new Map<string, ClaimWatch>();
  let timer: Timer | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;

  /** Runs one operation, tells those whom it granted the lock, and sees to the next lease that ends. */
  const run = <T>(operation: (nowMs: number) => T): T => {
    const result = operation(runtime.monotonic());
    for (const { key, owner, grant } of table.takeHandOvers()) watches.get(id(key, owner))?.changed(grant);
    const next = table.nextExpiryMs();
    if (next !== undefined && next < timerAtMs) {
      timer?.cancel();
      timerAtMs = next;
      timer = runtime.setTimer(next - runtime.monotonic(), () => {
        timerAtMs = Number.POSITIVE_INFINITY;
        run((nowMs) => table.expire(nowMs));
      });
    }
    return result;
  };

  const backend = (): LockBackend => {
    let closed = false;
    const own = new Set<string>();
    const call = <T>(operation: (nowMs: number) => T): Promise<T> =>
      // eslint-disable-next-line @typescript-eslint/require-await -- a throw becomes a rejection
      (async () => {
        if (closed) throw new LockClosedError();
        return run(operation);
      })();
    const forget = (watch: string): void => {
      own.delete(watch);
      watches.delete(watch);
    };
    const watched = <T extends ConvertResult>(result: T, { key, owner }: ClaimId, watch: ClaimWatch): T => {
      if (result.state === 'waiting') {
        own.add(id(key, owner));
        watches.set(id(key, owner), watch);
      }
      return result;
    };
    return {
      name: 'memory',
      capabilities: memoryCapabilities,
      claim: (request, { watch }) => call((nowMs) => watched(table.claim(request, nowMs), request, watch)),
      convert: (request, { watch }) =>
        call((nowMs) => watched(table.convert(request, nowMs), request, watch)),
      renew: (claim, leaseMs) => call((nowMs) => table.renew(claim, leaseMs, nowMs)),
      release(claim) {
        forget(id(claim.key, claim.owner));
        return call((nowMs) => table.release(claim, nowMs));
      },
      inspect: (key) => call((nowMs) => table.inspect(key, nowMs)),
      close() {
        closed = true;
        for (const watch of [...own]) forget(watch);
        return Promise.resolve();
      },
    };
  };
  return { backend };
}

/** A backend of a space of its own: mutual exclusion among the callers of one `createLocks`, in this process. */
export function memoryBackend(options: { readonly runtime?: Runtime } = {}): LockBackend {
  return memoryLockSpace(options).backend();
}

function id(key: string, owner: string): string {
  return `${owner}\0${key}`;
}
