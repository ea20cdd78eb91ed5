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
import { describeValue, InvalidOptionError, type Runtime, systemRuntime, type Timer } from '@quorate/runtime';
import { idOf, LeaseObserver } from './core/lease-observer.js';
import { encodeLockLogCommand, type LockLogCommand, MAX_LAPSED, MAX_LEASE_MS } from './core/log-format.js';
import type { LockLogQuery, LockLogResult, ReplicatedLockMachine } from './log-machine.js';

export {
  type LockLogListener,
  type LockLogQuery,
  type LockLogResult,
  ReplicatedLockMachine,
} from './log-machine.js';

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
  ReplicatedLog<LockLogResult, LockLogQuery, LockStatus>,
  'id' | 'propose' | 'read' | 'status' | 'stopped'
>;

/** What {@link replicatedLockSpace} stands on. */
export interface ReplicatedLockSpaceOptions {
  readonly log: LockLog;
  /** The machine that this node was started with. */
  readonly machine: ReplicatedLockMachine;
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
/** A proposal to end leases that came to nothing is made again after so long. */
const LAPSE_AGAIN_MS = 1_000;
/** The least time that the leader has for it, before another node does it. */
const MIN_GRACE_MS = 200;

/**
 * Makes locks of a node that was started with a {@link ReplicatedLockMachine}. Make one on every node, also on those
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
  readonly #runtime: Runtime;
  readonly #observer = new LeaseObserver();
  readonly #watches = new Map<string, ClaimWatch>();
  readonly #forget: () => void;
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #closed = false;
  #resting = false;

  constructor({ log, machine, runtime = systemRuntime }: ReplicatedLockSpaceOptions) {
    if (typeof (machine as Partial<ReplicatedLockMachine> | undefined)?.listen !== 'function')
      throw new InvalidOptionError(
        'machine',
        machine,
        'the ReplicatedLockMachine that the node was started with',
      );
    if (typeof (log as Partial<LockLog> | undefined)?.propose !== 'function')
      throw new InvalidOptionError('log', log, 'a node of a replicated log, from startNode');
    this.#log = log;
    this.#runtime = runtime;
    const begin = (): void => {
      this.#observer.clear();
      const nowMs = runtime.monotonic();
      for (const claim of machine.claims())
        this.#observer.prolonged(claim, claim.stamp, claim.leaseMs, nowMs);
      this.#arm();
    };
    this.#forget = machine.listen({
      prolonged: (claim, stamp, leaseMs) => {
        this.#observer.prolonged(claim, stamp, leaseMs, runtime.monotonic());
        this.#arm();
      },
      granted: ({ key, owner }, grant) => this.#watches.get(idOf(key, owner))?.changed(grant),
      ended: (claim) => {
        this.#observer.ended(claim);
        this.#watches.get(idOf(claim.key, claim.owner))?.changed();
      },
      replaced: () => {
        begin();
        for (const watch of this.#watches.values()) watch.changed();
      },
    });
    begin();
    log.stopped.addEventListener('abort', () => this.#rest(), { once: true });
  }

  backend(): LockBackend {
    const own = new Set<string>();
    let closed = false;
    let conversions = 0;
    const call = async (command: LockLogCommand, timeoutMs?: number): Promise<LockLogResult> => {
      if (closed || this.#closed) throw new LockClosedError();
      return this.#log.propose(encodeLockLogCommand(command), timeoutMs === undefined ? {} : { timeoutMs });
    };
    const watch = ({ key, owner, wait }: ClaimRequest, by: ClaimWatch): void => {
      if (!wait) return;
      own.add(idOf(key, owner));
      this.#watches.set(idOf(key, owner), by);
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
        forget(idOf(key, owner));
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
    this.#rest();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Watches over leases no more. */
  #rest(): void {
    this.#resting = true;
    this.#forget();
    this.#timer?.cancel();
  }

  #arm(): void {
    const nextMs = this.#observer.nextMs();
    if (nextMs === undefined || nextMs >= this.#timerAtMs || this.#resting) return;
    this.#timer?.cancel();
    this.#timerAtMs = nextMs;
    this.#timer = this.#runtime.setTimer(nextMs - this.#runtime.monotonic(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#endLapsed();
      this.#arm();
    });
  }

  /** The leader says so at once; the others give it time, and say it if it does not. */
  #endLapsed(): void {
    const leads = this.#log.status().leader === this.#log.id;
    const graceMs = (leaseMs: number): number =>
      leads ? 0 : Math.max(MIN_GRACE_MS, Math.min(leaseMs, MAX_CALL_MS) / 2) * (1 + this.#runtime.random());
    const claims = this.#observer.due(this.#runtime.monotonic(), MAX_LAPSED, graceMs, LAPSE_AGAIN_MS);
    if (claims.length === 0) return;
    this.#log
      .propose(encodeLockLogCommand({ type: 'lapse', claims }), { timeoutMs: MAX_CALL_MS })
      .catch(() => {
        // It is due again in a while, here and elsewhere.
      });
  }
}

function limitMs(leaseMs: number): number {
  return Math.max(1, Math.min(leaseMs / 3, MAX_CALL_MS));
}

function claimed(result: LockLogResult): ClaimResult {
  const { state } = result;
  return state === 'granted' || state === 'waiting' || state === 'busy'
    ? result
    : impossible('a claim', result);
}

function converted({ mode }: ClaimId & Pick<ClaimRequest, 'mode'>, result: LockLogResult): ConvertResult {
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
