import type {
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ClaimWatch,
  ConvertResult,
  LockBackend,
  LockCapabilities,
  LockStatus,
} from '@quorate/distributed-lock';
import { LockClosedError } from '@quorate/distributed-lock';
import type { ReplicatedLog } from '@quorate/replicated-log';
import {
  claimKey,
  encodeLockCommand,
  keepLeases,
  type LeaseKeeper,
  type LockCommand,
  type LockMachine,
  type LockQuery,
  type LockResult,
  MAX_LEASE_MS,
} from '@quorate/replicated-log/lock';
import { describeValue, InvalidOptionError, type Runtime } from '@quorate/runtime';

/** What locks on a replicated log promise, while a majority of its nodes works. */
export const replicatedLogCapabilities: LockCapabilities = Object.freeze({
  fencing: 'durable',
  fifo: true,
  waiting: 'push',
  releasedOnCrash: 'time',
  safety: 'consensus',
  modes: Object.freeze(['exclusive', 'shared', 'permits'] as const),
  upgrade: true,
  downgrade: true,
  leaseMs: Object.freeze({ min: 1, max: MAX_LEASE_MS }),
  maxKeyBytes: 255,
});

/** A node of the log that carries the locks: what `startNode` of `@quorate/replicated-log` resolves with. */
export type LockLog = Pick<
  ReplicatedLog<LockResult, LockQuery, LockStatus>,
  'id' | 'propose' | 'read' | 'status' | 'stopped'
>;

/** What {@link replicatedLockSpace} stands on. */
export interface ReplicatedLockSpaceOptions {
  readonly log: LockLog;
  /** The machine that this node was started with. */
  readonly machine: LockMachine;
  /**
   * The clock by which this node sees leases pass. Only how fast its monotonic clock runs matters.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Runtime;
}

/** The locks of a replicated log, at one of its nodes. */
export interface ReplicatedLockSpace extends AsyncDisposable {
  /** A client of these locks. They lock each other out, and those of the other nodes. */
  backend(): LockBackend;
  /**
   * Stops watching over leases here; the other nodes go on. Backends made here answer `LockClosedError` from then on. The
   * node is not closed. Idempotent.
   */
  close(): Promise<void>;
}

/** A call that is not answered so soon is given up, as the core does. */
const MAX_CALL_MS = 10_000;

/**
 * Makes locks of a node that was started with a {@link LockMachine}. Make one on every node, also on those
 * whose process takes no locks: each watches over the leases, and the one that leads ends those that it saw pass. Without
 * it the locks of a client that died stay.
 *
 * What holds: nobody is granted what conflicts with a lock until it was released, or some node has seen its lease pass
 * by its own monotonic clock since it learned of the last renewal. That is after the renewal was sent, so a lock is safe
 * until its `validMs` are over whatever wall clocks say, under loss, delay, partitions, pauses and crashes of any nodes,
 * while the monotonic clocks of the client's and that node's machine run at rates that differ by less than `driftRatio`
 * (R. Gray, D. Cheriton, "Leases", SOSP 1989, section 5). A lease may last longer: when the nodes that watched it have
 * restarted, it begins anew for them; and while no majority is there, nothing ends and nothing is granted.
 */
export function replicatedLockSpace(options: ReplicatedLockSpaceOptions): ReplicatedLockSpace {
  return new LockSpace(options);
}

class LockSpace implements ReplicatedLockSpace {
  readonly #log: LockLog;
  readonly #keeper: LeaseKeeper;
  readonly #watches = new Map<string, ClaimWatch>();
  readonly #forget: () => void;
  #closed = false;

  constructor(options: ReplicatedLockSpaceOptions) {
    this.#log = options.log;
    this.#keeper = keepLeases(options);
    this.#forget = options.machine.listen({
      granted: ({ key, owner }, grant) => this.#watches.get(claimKey(key, owner))?.changed(grant),
      ended: ({ key, owner }) => this.#watches.get(claimKey(key, owner))?.changed(),
      replaced: () => {
        for (const watch of this.#watches.values()) watch.changed();
      },
    });
    options.log.stopped.addEventListener('abort', this.#forget, { once: true });
  }

  backend(): LockBackend {
    const own = new Set<string>();
    let closed = false;
    let conversions = 0;
    const call = async (command: LockCommand, timeoutMs?: number): Promise<LockResult> => {
      if (closed || this.#closed) throw new LockClosedError();
      return this.#log.propose(encodeLockCommand(command), timeoutMs === undefined ? {} : { timeoutMs });
    };
    const watch = ({ key, owner, wait }: ClaimRequest, by: ClaimWatch): void => {
      if (!wait) return;
      own.add(claimKey(key, owner));
      this.#watches.set(claimKey(key, owner), by);
    };
    const forget = (id: string): void => {
      own.delete(id);
      this.#watches.delete(id);
    };
    return {
      name: 'replicated-log',
      capabilities: replicatedLogCapabilities,
      claim: async (request, { watch: by }) => {
        watch(request, by);
        return claimed(await call({ type: 'claim', request }, limitMs(request.leaseMs)));
      },
      convert: async (request, { watch: by }) => {
        watch(request, by);
        const order = ++conversions;
        return converted(request, await call({ type: 'convert', request, order }, limitMs(request.leaseMs)));
      },
      renew: async ({ key, owner }, leaseMs) => {
        const result = await call({ type: 'renew', claim: { key, owner }, leaseMs }, limitMs(leaseMs));
        return result.state === 'held' || result.state === 'lost' ? result : impossible('a renewal', result);
      },
      release: async ({ key, owner }) => {
        forget(claimKey(key, owner));
        const { state } = await call({ type: 'release', claim: { key, owner } });
        return state === 'released' || state === 'lost' ? state : impossible('a release', { state });
      },
      inspect: async (key, { signal }) => {
        if (closed || this.#closed) throw new LockClosedError();
        return this.#log.read({ key }, 'linearizable', { signal });
      },
      close: () => {
        closed = true;
        for (const id of [...own]) forget(id);
        return Promise.resolve();
      },
    };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#keeper.close();
    this.#forget();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function limitMs(leaseMs: number): number {
  return Math.max(1, Math.min(leaseMs / 3, MAX_CALL_MS));
}

function claimed(result: LockResult): ClaimResult {
  const { state } = result;
  return state === 'granted' || state === 'waiting' || state === 'busy'
    ? result
    : impossible('a claim', result);
}

function converted({ mode }: ClaimId & Pick<ClaimRequest, 'mode'>, result: LockResult): ConvertResult {
  if (result.state === 'unfit')
    throw new InvalidOptionError('mode', mode, 'exclusive or shared, and so what it is converted from');
  const { state } = result;
  return state === 'granted' ||
    state === 'waiting' ||
    state === 'busy' ||
    state === 'deadlock' ||
    state === 'lost'
    ? result
    : impossible('a conversion', result);
}

/** Another machine than ours answered. */
function impossible(what: string, result: { readonly state: string }): never {
  throw new InvalidOptionError(
    'log',
    result.state,
    `the node of the machine: it answered ${what} with ${describeValue(result.state)}`,
  );
}
