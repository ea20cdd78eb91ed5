import type {
  ClaimRequest,
  ConvertResult,
  LockBackend,
  LockCapabilities,
  LockMode,
} from '@quorate/distributed-lock';

/**
 * One step in the life of locks, in the order in which one observer saw them.
 *
 * - `asked`: a claim was sent for the first time
 * - `queued`: it was first answered that it waits
 * - `granted`: with a fence
 * - `entered`, `left`: somebody believes to hold it from here to there
 * - `over`: its release was sent, or it was busy and left nothing behind
 * - `wrote`: what the lock protects accepted a write with that fence
 */
export interface LockHistoryEvent {
  readonly type: 'asked' | 'queued' | 'granted' | 'entered' | 'left' | 'over' | 'wrote';
  readonly key: string;
  readonly owner: string;
  readonly mode?: LockMode;
  readonly permits?: number;
  readonly total?: number;
  readonly fence?: number | undefined;
}

/** What of a lease a history needs. */
export interface Held {
  readonly key: string;
  readonly owner: string;
  readonly mode: LockMode;
}

/** Records what happened to locks, for {@link checkLockHistory}. */
export class LockHistory {
  readonly events: LockHistoryEvent[] = [];

  /** The same backend, recorded: what is asked of it and granted by it. */
  backend(inner: LockBackend): LockBackend {
    const asked = new Set<string>();
    const queued = new Set<string>();
    /** Whose release was sent: what they asked for before may still be answered, and means nothing any more. */
    const over = new Set<string>();
    const fences = new Map<string, number | undefined>();
    const granted = (request: ClaimRequest, fence: number | undefined): void => {
      if (fences.has(request.owner) && fences.get(request.owner) === fence) return;
      fences.set(request.owner, fence);
      const { key, owner, mode, permits, total } = request;
      this.events.push({ type: 'granted', key, owner, mode, permits, total, fence });
    };
    const follow = async <T extends ConvertResult>(request: ClaimRequest, answer: Promise<T>): Promise<T> => {
      const { key, owner } = request;
      if (!asked.has(owner)) this.events.push({ type: 'asked', key, owner });
      asked.add(owner);
      const result = await answer;
      if (result.state === 'granted') granted(request, result.fence);
      if (result.state === 'busy' && !fences.has(owner)) {
        // It has no place: if it asks again, that is a claim as new as any.
        asked.delete(owner);
        this.events.push({ type: 'over', key, owner });
      }
      if (result.state === 'waiting' && !queued.has(owner) && !over.has(owner)) {
        queued.add(owner);
        this.events.push({ type: 'queued', key, owner });
      }
      return result;
    };
    return {
      name: inner.name,
      capabilities: inner.capabilities,
      claim: (request, call) =>
        follow(
          request,
          inner.claim(request, {
            ...call,
            watch: {
              changed: (grant) => {
                if (grant !== undefined) granted(request, grant.fence);
                call.watch.changed(grant);
              },
              lost: (cause) => call.watch.lost(cause),
            },
          }),
        ),
      ...(inner.convert === undefined
        ? {}
        : {
            convert: (request, call) => {
              if (inner.convert === undefined) throw new Error('unreachable: convert was there');
              return follow(request, inner.convert(request, call));
            },
          }),
      renew: (claim, leaseMs, call) => inner.renew(claim, leaseMs, call),
      release: (claim, call) => {
        over.add(claim.owner);
        this.events.push({ type: 'over', key: claim.key, owner: claim.owner });
        return inner.release(claim, call);
      },
      ...(inner.inspect === undefined
        ? {}
        : {
            inspect: (key, call) => {
              if (inner.inspect === undefined) throw new Error('unreachable: inspect was there');
              return inner.inspect(key, call);
            },
          }),
      close: () => inner.close(),
    };
  }

  /** Somebody acts under a lock from now on, until {@link LockHistory.left}. */
  entered({ key, owner, mode }: Held, permits = 1, total = 1): void {
    this.events.push({ type: 'entered', key, owner, mode, permits, total });
  }

  /** Nobody acts under it any more. */
  left({ key, owner }: Held): void {
    this.events.push({ type: 'left', key, owner });
  }

  /** What the lock protects accepted a write. */
  wrote({ key, owner }: Held, fence: number): void {
    this.events.push({ type: 'wrote', key, owner, fence });
  }
}

/**
 * What is wrong with a history, one sentence for each fault; empty if nothing is:
 *
 * - those who act under a key at one time fit each other
 * - no two grants of a key have one fence, and a claim that was asked for after another was granted has a higher one
 * - what a lock protects never accepts a lower fence after a higher one
 * - where the backend is FIFO, a claim that was queued before another was asked for is granted first, unless it ended
 * - every claim that was asked for was granted, or it ended
 */
export function checkLockHistory(
  events: readonly LockHistoryEvent[],
  { fencing, fifo }: Pick<LockCapabilities, 'fencing' | 'fifo'>,
): string[] {
  const faults: string[] = [];
  for (const key of new Set(events.map((event) => event.key))) {
    const own = events.filter((event) => event.key === key);
    const found = [
      ...holders(own),
      ...(fencing === 'none' ? [] : fences(own)),
      ...writes(own),
      ...(fifo ? order(own) : []),
      ...ends(own),
    ];
    faults.push(...found.map((fault) => `${JSON.stringify(key)}: ${fault}`));
  }
  return faults;
}

function holders(events: readonly LockHistoryEvent[]): string[] {
  const faults: string[] = [];
  const inside = new Map<string, LockHistoryEvent>();
  for (const event of events) {
    if (event.type === 'left') inside.delete(event.owner);
    if (event.type !== 'entered') continue;
    inside.delete(event.owner);
    let taken = event.permits ?? 1;
    for (const other of inside.values()) {
      taken += other.permits ?? 1;
      if (event.mode === 'exclusive' || other.mode !== event.mode)
        faults.push(
          `${event.owner} (${String(event.mode)}) entered beside ${other.owner} (${String(other.mode)})`,
        );
    }
    if (event.mode === 'permits' && taken > (event.total ?? 1))
      faults.push(`${event.owner} entered with ${String(taken)} of ${String(event.total)} permits taken`);
    inside.set(event.owner, event);
  }
  return faults;
}

function fences(events: readonly LockHistoryEvent[]): string[] {
  const faults: string[] = [];
  const floor = new Map<string, number>();
  const owners = new Map<number, string>();
  let highest = Number.NEGATIVE_INFINITY;
  for (const { type, owner, fence } of events) {
    if (type === 'asked') floor.set(owner, highest);
    if (type !== 'granted') continue;
    if (fence === undefined) {
      faults.push(`${owner} was granted without a fence`);
      continue;
    }
    const before = owners.get(fence);
    if (before !== undefined && before !== owner)
      faults.push(`${owner} was granted fence ${String(fence)}, which ${before} had`);
    owners.set(fence, owner);
    const least = floor.get(owner);
    if (least !== undefined && fence <= least)
      faults.push(`${owner} was granted fence ${String(fence)} after ${String(least)} had been granted`);
    highest = Math.max(highest, fence);
  }
  return faults;
}

function writes(events: readonly LockHistoryEvent[]): string[] {
  const faults: string[] = [];
  let highest = Number.NEGATIVE_INFINITY;
  for (const { type, owner, fence = Number.NaN } of events) {
    if (type !== 'wrote') continue;
    if (!(fence >= highest))
      faults.push(`${owner} wrote with fence ${String(fence)} after ${String(highest)}`);
    highest = Math.max(highest, fence);
  }
  return faults;
}

function order(events: readonly LockHistoryEvent[]): string[] {
  const faults: string[] = [];
  /** Who waits, and who of them waited before a claim was asked for. */
  const waiting = new Set<string>();
  const ahead = new Map<string, readonly string[]>();
  for (const { type, owner, mode } of events) {
    if (type === 'asked') ahead.set(owner, [...waiting]);
    if (type === 'queued') waiting.add(owner);
    if (type === 'granted' || type === 'over') waiting.delete(owner);
    if (type !== 'granted') continue;
    for (const other of ahead.get(owner) ?? []) {
      // Shared claims and permits are granted together; which of them hears of it first is chance.
      if (waiting.has(other) && mode === 'exclusive')
        faults.push(`${owner} was granted before ${other}, who had waited first`);
    }
  }
  return faults;
}

function ends(events: readonly LockHistoryEvent[]): string[] {
  const open = new Set<string>();
  for (const { type, owner } of events) {
    if (type === 'asked') open.add(owner);
    if (type === 'granted' || type === 'over') open.delete(owner);
  }
  return [...open].map((owner) => `${owner} still waits at the end`);
}
