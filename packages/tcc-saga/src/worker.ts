import { backoffDelayMs, type Runtime, sleep, type Timer } from '@quorate/runtime';
import type { SqlDatabase } from '@quorate/sql';
import type { TccDefinition, TccOutcome } from './definition.js';
import { CoordinatorClosedError } from './errors.js';
import { type CoordinatorErrorEvent, tccSagaEvents } from './events.js';
import { Run } from './run.js';
import type { ClaimedInstance, Store } from './store.js';

/** What a worker is made of; all of it checked. */
export interface WorkerOptions {
  readonly db: SqlDatabase;
  readonly store: Store;
  readonly runtime: Runtime;
  readonly owner: string;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly concurrency: number;
  readonly stuckAfter: number;
  readonly definitionOf: (name: string, version: number) => TccDefinition | undefined;
  readonly definitions: readonly TccDefinition[];
  readonly onEnded: (outcome: TccOutcome) => void;
}

/** How soon after an enlisted begin the worker looks for the commit, at first; the interval doubles up to the poll's. */
const EXPECT_MS = 10;

/**
 * Claims instances that are due, holds their leases and runs them.
 *
 * One poll is under way at a time. It claims as many as there is room for, and looks again at once while claims
 * come back full. Between polls it sleeps until the next known moment: the poll interval, the retry of an instance
 * that it gave up, or a hint.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #runs = new Map<string, Run>();
  /** Inserts under way that come with a lease: each will be a run. */
  #reserved = 0;
  #state: 'new' | 'started' | 'closing' | 'closed' = 'new';
  #polling: Promise<void> | undefined;
  #pollTimer: Timer | undefined;
  #pollAt = Number.POSITIVE_INFINITY;
  #expectMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #renewTimer: Timer | undefined;
  #renewing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'started';
    this.#scheduleRenewal();
    this.pollWithin(0);
  }

  /** Whether this process works on the instance. */
  holds(id: string): boolean {
    return this.#runs.has(id);
  }

  /** Keeps room for an instance that is being inserted with a lease; false when there is none. */
  reserve(): boolean {
    if (this.#state !== 'started' || this.#room() <= 0) return false;
    this.#reserved++;
    return true;
  }

  /** Gives reserved room back: to the instance itself, when it was inserted. `sentAt` is from before the insert. */
  async unreserve(instance: ClaimedInstance | undefined, sentAt: number): Promise<void> {
    this.#reserved--;
    if (instance === undefined) this.#roomMade();
    else if (this.#state === 'closed') await this.#giveBack([instance]);
    else this.#adopt(instance, sentAt);
  }

  /** An instance was inserted in a transaction that may commit at any time: look again soon, then less and less. */
  expect(): void {
    this.#expectMs = EXPECT_MS;
    this.pollWithin(EXPECT_MS);
  }

  /** Polls after this time at the latest. */
  pollWithin(delayMs: number): void {
    if (this.#state !== 'started') return;
    const { runtime } = this.#options;
    const at = runtime.monotonic() + delayMs;
    if (at >= this.#pollAt) return;
    this.#pollAt = at;
    this.#pollTimer?.cancel();
    // A started worker is there to work: it keeps the process alive until it is closed.
    this.#pollTimer = runtime.setTimer(delayMs, () => void this.#poll(), { keepAlive: true });
  }

  async close(drainMs: number): Promise<void> {
    this.#state = 'closing';
    this.#pollTimer?.cancel();
    await this.#polling;
    const { runtime } = this.#options;
    if (this.#runs.size + this.#reserved > 0 && drainMs > 0) {
      const drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      const limit = new AbortController();
      await Promise.race([drained, sleep(runtime, drainMs, { signal: limit.signal }).catch(() => undefined)]);
      limit.abort();
    }
    this.#state = 'closed';
    const left = [...this.#runs.values()];
    for (const run of left) run.stop(new CoordinatorClosedError(`saga ${run.id} was given back`));
    this.#renewTimer?.cancel();
    // A write that is under way would otherwise take back the lease that is given up here.
    await Promise.allSettled([this.#renewing, ...left.map((run) => run.quiet())]);
    await this.#giveBack(left);
  }

  /** Lets others take instances up at once. */
  async #giveBack(held: readonly { readonly id: string; readonly fence: number }[]): Promise<void> {
    if (held.length === 0) return;
    try {
      await this.#options.store.release(held);
    } catch (error) {
      // The leases run out by themselves.
      this.#report('release', error);
    }
  }

  #room(): number {
    return this.#options.concurrency - this.#runs.size - this.#reserved;
  }

  #roomMade(): void {
    // A poll that finds no room does not look again by itself.
    if (this.#room() === 1) this.pollWithin(0);
    if (this.#runs.size + this.#reserved === 0) this.#drained?.();
  }

  async #poll(): Promise<void> {
    this.#pollAt = Number.POSITIVE_INFINITY;
    if (this.#polling !== undefined) {
      // The poll under way may have looked before what this one is for was there.
      await this.#polling;
      this.pollWithin(0);
      return;
    }
    this.#polling = this.#claim();
    await this.#polling;
    this.#polling = undefined;
  }

  async #claim(): Promise<void> {
    const { store, runtime, owner, definitions, leaseMs, pollMs } = this.#options;
    let nextMs = pollMs;
    try {
      while (this.#state === 'started') {
        const room = this.#room();
        if (room <= 0) break;
        const sentAt = runtime.monotonic();
        const claimed = await store.claim(owner, definitions, room, leaseMs);
        for (const instance of claimed) this.#adopt(instance, sentAt);
        if (claimed.length > 0) continue;
        if (this.#expectMs < pollMs) {
          nextMs = this.#expectMs;
          this.#expectMs *= 2;
        }
        break;
      }
      this.#failures = 0;
    } catch (error) {
      this.#report('claim', error);
      nextMs = backoffDelayMs(runtime, ++this.#failures, { minMs: Math.min(100, pollMs), maxMs: pollMs });
    }
    this.pollWithin(nextMs);
  }

  #adopt(instance: ClaimedInstance, sentAt: number): void {
    const { definitionOf } = this.#options;
    const definition = definitionOf(instance.definition, instance.version);
    // Claims name the versions that are held, so there always is one.
    if (definition === undefined) return;
    // Only a lease that ran out can be claimed again; the run that held it just has not noticed yet.
    this.#runs.get(instance.id)?.lose();
    const run = new Run(this.#options, instance, definition, sentAt);
    this.#runs.set(instance.id, run);
    void run.finished.then((end) => {
      if (this.#runs.get(run.id) === run) this.#runs.delete(run.id);
      if (end.how === 'ended') this.#options.onEnded(end.outcome);
      else if (end.how === 'paused') this.pollWithin(end.delayMs);
      this.#roomMade();
    });
    run.start();
  }

  #scheduleRenewal(): void {
    if (this.#state === 'closed') return;
    const { runtime, leaseMs } = this.#options;
    this.#renewTimer = runtime.setTimer(leaseMs / 3, () => {
      this.#renewing = this.#renew().finally(() => {
        this.#scheduleRenewal();
      });
    });
  }

  async #renew(): Promise<void> {
    const { runtime, store, leaseMs } = this.#options;
    const held = [...this.#runs.values()].filter((run) => run.renewable);
    if (held.length === 0) return;
    const sentAt = runtime.monotonic();
    try {
      for (const { id, renewed, lost } of await store.renew(held, leaseMs)) {
        const run = held.find((one) => one.id === id);
        if (renewed) run?.renewed(sentAt);
        // A run that has ended meanwhile was not robbed.
        else if (lost && run?.renewable === true) run.lose();
      }
    } catch (error) {
      // Each run watches its own lease, and stops when it runs out.
      this.#report('renew', error);
    }
  }

  #report(during: CoordinatorErrorEvent['during'], error: unknown): void {
    const { owner } = this.#options;
    if (tccSagaEvents.error.active) tccSagaEvents.error.publish({ owner, during, error });
  }
}
