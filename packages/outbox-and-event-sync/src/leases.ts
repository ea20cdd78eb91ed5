import { abortable, sleep, type Runtime, type Timer } from '@quorate/runtime';
import { planLeases } from './core/assignment.js';
import { relayErrors, relayLeases } from './events.js';
import type { Leases, RelayStore } from './relay-store.js';

/** What the keeper of the leases needs to know of, and tells, the rest of the relay. */
export interface LeaseKeeperHooks {
  /** Whether messages of the partition are in flight, so that it must not be given up yet. */
  busy(partition: number): boolean;
  /** There is something new to fetch from. */
  acquired(): void;
  /** These are not ours any more, or will not be in a moment. */
  lost(partitions: readonly number[]): void;
}

/**
 * Holds this relay's fair share of the partitions.
 *
 * A lease counts from the moment at which its renewal was sent, by the local monotonic clock; the database counts
 * from later on. So this side lets go first: at nine tenths of the lease, whatever became of the renewals.
 */
export class LeaseKeeper<T extends object> {
  readonly #store: RelayStore<T>;
  readonly #runtime: Runtime;
  readonly #owner: string;
  readonly #leaseMs: number;
  readonly #hooks: LeaseKeeperHooks;
  readonly #stop = new AbortController();
  readonly #held = new Map<number, string>();
  readonly #draining = new Set<number>();
  #watchdog: Timer | undefined;
  #loop: Promise<void> | undefined;

  constructor(
    store: RelayStore<T>,
    options: { readonly runtime: Runtime; readonly owner: string; readonly leaseMs: number },
    hooks: LeaseKeeperHooks,
  ) {
    this.#store = store;
    this.#runtime = options.runtime;
    this.#owner = options.owner;
    this.#leaseMs = options.leaseMs;
    this.#hooks = hooks;
  }

  /** The partitions held, with their fences. */
  get held(): Leases {
    return this.#held;
  }

  /** The partitions to fetch from: those that are held and not about to be given up. */
  usable(): number[] {
    return [...this.#held.keys()].filter((partition) => !this.#draining.has(partition));
  }

  /** Takes the first leases, then keeps them in the background. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    await abortable(this.#beat(), signal);
    this.#loop = this.#run();
  }

  /** Gives up what was being drained and is not busy any more. */
  async releaseDrained(): Promise<void> {
    const ready = [...this.#draining].filter((partition) => !this.#hooks.busy(partition));
    if (ready.length === 0) return;
    const leases = this.#forget(ready);
    // Forgotten first: a page that is being read must not be admitted any more. If this fails the lease runs out.
    await this.#store.release(leases);
    this.#announce('released', ready);
  }

  /** Ends the renewals and gives everything up. The caller has seen to it that nothing is in flight. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#watchdog?.cancel();
    const partitions = [...this.#held.keys()];
    await this.#store.leave(this.#forget(partitions));
    if (partitions.length > 0) this.#announce('released', partitions);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let delayMs = this.#leaseMs / 3;
    for (;;) {
      try {
        await sleep(this.#runtime, delayMs, { signal, keepAlive: true });
      } catch {
        return;
      }
      try {
        await this.#beat();
        delayMs = this.#leaseMs / 3;
      } catch (error) {
        delayMs = this.#leaseMs / 20;
        relayErrors.publish({ owner: this.#owner, during: 'heartbeat', error });
      }
    }
  }

  async #beat(): Promise<void> {
    const sentAt = this.#runtime.monotonic();
    const beat = await this.#store.heartbeat(this.#held);
    const renewed = new Set(beat.held);
    this.#lose([...this.#held.keys()].filter((partition) => !renewed.has(partition)));
    this.#watch(sentAt);

    const plan = planLeases({
      self: this.#owner,
      others: beat.relays,
      partitions: beat.partitions,
      held: [...this.#held.keys()],
      free: beat.free,
    });
    this.#draining.clear();
    for (const partition of plan.release) this.#draining.add(partition);
    await this.releaseDrained();
    if (plan.acquire === 0 || this.#stop.signal.aborted) return;
    const acquired = await this.#store.acquire(plan.acquire, this.#held);
    if (acquired.size === 0) return;
    for (const [partition, fence] of acquired) this.#held.set(partition, fence);
    this.#announce('acquired', [...acquired.keys()]);
    this.#hooks.acquired();
  }

  /** Everything is lost unless another renewal moves this on. */
  #watch(sentAt: number): void {
    this.#watchdog?.cancel();
    const left = sentAt + this.#leaseMs * 0.9 - this.#runtime.monotonic();
    this.#watchdog = this.#runtime.setTimer(left, () => {
      this.#lose([...this.#held.keys()]);
    });
  }

  #lose(partitions: readonly number[]): void {
    if (partitions.length === 0) return;
    this.#forget(partitions);
    this.#announce('lost', partitions);
    this.#hooks.lost(partitions);
  }

  #forget(partitions: readonly number[]): Map<number, string> {
    const leases = new Map<number, string>();
    for (const partition of partitions) {
      const fence = this.#held.get(partition);
      if (fence !== undefined) leases.set(partition, fence);
      this.#held.delete(partition);
      this.#draining.delete(partition);
    }
    return leases;
  }

  #announce(change: 'acquired' | 'released' | 'lost', partitions: readonly number[]): void {
    if (relayLeases.active)
      relayLeases.publish({ owner: this.#owner, change, partitions, held: this.#held.size });
  }
}
