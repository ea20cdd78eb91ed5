import type { ReplicatedLog } from '@quorate/replicated-log';
import { InvalidOptionError, type Runtime, systemRuntime, type Timer } from '@quorate/runtime';
import { LeaseObserver } from './core/lease-observer.js';
import type { LockStatus } from './core/lock-claims.js';
import { encodeLockCommand, MAX_LAPSED } from './core/lock-format.js';
import type { LockMachine, LockQuery, LockResult } from './lock-machine.js';

/** What {@link keepLeases} stands on. */
export interface LeaseKeeperOptions {
  /** A node of the log that carries the locks: what `startNode` resolves with. */
  readonly log: Pick<
    ReplicatedLog<LockResult, LockQuery, LockStatus>,
    'id' | 'propose' | 'status' | 'stopped'
  >;
  /** The machine that this node was started with. */
  readonly machine: LockMachine;
  /**
   * The clock by which this node sees leases pass. Only how fast its monotonic clock runs matters.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Runtime;
}

/** Watches over the leases of a {@link LockMachine} at one node. */
export interface LeaseKeeper extends Disposable {
  /** Stops watching here; the other nodes go on. It also stops when the node does. Idempotent. */
  close(): void;
}

/** A proposal to end leases that is not answered so soon is given up. */
const MAX_CALL_MS = 10_000;
/** A proposal to end leases that came to nothing is made again after so long. */
const LAPSE_AGAIN_MS = 1_000;
/** The least time that the leader has for it, before another node does it. */
const MIN_GRACE_MS = 200;

/**
 * Ends the leases of a {@link LockMachine} that pass: the machine has no clock, so without this the locks of a client that
 * died stay. Have one on every node; the one that leads ends what it saw pass, and the others do if it does not.
 *
 * What holds: a lease ends only when some node has seen it pass by its own monotonic clock since it learned of the last
 * command that prolonged it. That is after the command was proposed, so a holder is safe until `leaseMs` after that,
 * whatever wall clocks say, under loss, delay, partitions, pauses and crashes of any nodes, while the monotonic clocks of
 * the holder's and that node's machine run at the same rate; the holder has to keep off the end what they may differ by
 * (R. Gray, D. Cheriton, "Leases", SOSP 1989, section 5). A lease may last longer: when the nodes that watched it have
 * restarted, it begins anew for them; and while no majority is there, nothing ends.
 */
export function keepLeases(options: LeaseKeeperOptions): LeaseKeeper {
  return new Keeper(options);
}

class Keeper implements LeaseKeeper {
  readonly #log: LeaseKeeperOptions['log'];
  readonly #runtime: Runtime;
  readonly #observer = new LeaseObserver();
  readonly #forget: () => void;
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor({ log, machine, runtime = systemRuntime }: LeaseKeeperOptions) {
    if (typeof (machine as Partial<LockMachine> | undefined)?.listen !== 'function')
      throw new InvalidOptionError('machine', machine, 'the LockMachine that the node was started with');
    if (typeof (log as Partial<LeaseKeeperOptions['log']> | undefined)?.propose !== 'function')
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
      ended: (claim) => this.#observer.ended(claim),
      replaced: begin,
    });
    begin();
    log.stopped.addEventListener('abort', () => this.close(), { once: true });
  }

  close(): void {
    this.#closed = true;
    this.#forget();
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #arm(): void {
    const nextMs = this.#observer.nextMs();
    if (nextMs === undefined || nextMs >= this.#timerAtMs || this.#closed) return;
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
    this.#log.propose(encodeLockCommand({ type: 'lapse', claims }), { timeoutMs: MAX_CALL_MS }).catch(() => {
      // It is due again in a while, here and elsewhere.
    });
  }
}
