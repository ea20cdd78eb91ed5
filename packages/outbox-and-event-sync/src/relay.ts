import { backoff, numberOption } from '@quorate/runtime';
import { Alarm } from './alarm.js';
import { InFlight } from './core/delivery.js';
import { Courier } from './courier.js';
import { RelayStateError } from './errors.js';
import { relayErrors } from './events.js';
import { LeaseKeeper } from './leases.js';
import type { Topics } from './message.js';
import { type RelayOptions, type RelaySettings, relaySettings } from './relay-options.js';
import { type Fetched, RelayStore } from './relay-store.js';

/** What a relay is doing. */
export interface RelayStatus {
  readonly state: 'new' | 'running' | 'closing' | 'closed';
  /** Its name in the tables. */
  readonly owner: string;
  /** The partitions that it holds. */
  readonly partitions: readonly number[];
  /** Messages that are fetched and not settled. */
  readonly inFlight: number;
}

/**
 * Publishes what transactions have put into the outbox.
 *
 * Every message of a transaction that committed is published at least once, as long as some relay runs and its
 * publisher succeeds in the end; none of a transaction that did not. Messages of one topic and key are handed over in
 * the order of their commits. A message is handed over again only after a failure, a lost lease or a crash; all its
 * copies have one id, by which an inbox lets it take effect once.
 */
export interface Relay extends AsyncDisposable {
  /**
   * Takes the first leases and begins. Rejects with `OutboxNotMigratedError` when the tables are missing, with the
   * database's error when it cannot be reached, with {@link RelayStateError} when it was called before. After that
   * the relay keeps trying whatever happens to the database, and reports on `quorate:outbox-and-event-sync:error`.
   */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Looks for messages at once: something was committed. Only a hint, and cheap. */
  wake(): void;
  /** What it is doing at the moment. */
  status(): RelayStatus;
  /**
   * Fetches no more, lets the calls under way end, aborts their signals after `drainMs` milliseconds (default
   * 10_000), and gives the partitions up, so that other relays go on at once. Never rejects: what the database
   * could not be told runs out with the leases. Closing twice is closing once.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** A relay, not yet started. Run one per process; any number share the partitions fairly. */
export function createRelay<T extends object = Topics>(options: RelayOptions<T>): Relay {
  return new OutboxRelay<T>(relaySettings<T>(options));
}

/** The first delay after a message; the least between two pages that were not full. */
const MIN_POLL_MS = 5;
const DEFAULT_DRAIN_MS = 10_000;

class OutboxRelay<T extends object> implements Relay {
  readonly #settings: RelaySettings<T>;
  readonly #store: RelayStore<T>;
  readonly #inFlight: InFlight<Fetched<T>>;
  readonly #courier: Courier<T>;
  readonly #leases: LeaseKeeper<T>;
  readonly #alarm: Alarm;
  #state: RelayStatus['state'] = 'new';
  #loop: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #stopHints: (() => Promise<void>) | undefined;
  /** Whether nothing is fetched because too much is in flight. */
  #full = false;
  /** The partition that the last full page ended with: the next page begins behind it. */
  #lastPartition = -1;

  constructor(settings: RelaySettings<T>) {
    this.#settings = settings;
    this.#store = new RelayStore(settings);
    this.#inFlight = new InFlight(settings.shape);
    this.#alarm = new Alarm(settings.runtime);
    this.#courier = new Courier(settings, this.#store, this.#inFlight, () => {
      if (this.#full) this.#alarm.ring();
      else this.#alarm.ringWithin(MIN_POLL_MS);
      this.#leases.releaseDrained().catch((error: unknown) => {
        this.#report('settle', error);
      });
    });
    this.#leases = new LeaseKeeper(this.#store, settings, {
      busy: (partition) => this.#inFlight.holds(partition),
      acquired: () => {
        this.#alarm.ring();
      },
      lost: (partitions) => {
        this.#courier.drop(partitions);
      },
    });
  }

  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#state !== 'new') throw new RelayStateError(this.#state);
    options.signal?.throwIfAborted();
    this.#state = 'running';
    try {
      await this.#store.check();
      await this.#leases.start(options.signal);
    } catch (error) {
      await this.close();
      throw error;
    }
    void this.#listen();
    this.#loop = this.#run();
  }

  wake(): void {
    this.#alarm.ring();
  }

  status(): RelayStatus {
    return {
      state: this.#state,
      owner: this.#settings.owner,
      partitions: [...this.#leases.held.keys()].sort((a, b) => a - b),
      inFlight: this.#inFlight.messages,
    };
  }

  close(options: { readonly drainMs?: number } = {}): Promise<void> {
    const drainMs = numberOption('drainMs', options.drainMs ?? DEFAULT_DRAIN_MS);
    this.#closed ??= this.#close(drainMs);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(drainMs: number): Promise<void> {
    const begun = this.#state !== 'new';
    this.#state = 'closing';
    this.#alarm.ring();
    try {
      await this.#stopHints?.();
      await this.#loop;
      await this.#courier.close(drainMs);
      if (begun) await this.#leases.stop();
    } catch (error) {
      this.#report('close', error);
    }
    this.#state = 'closed';
  }

  /** Without hints the relay is slower and as correct, so nothing waits for them. */
  async #listen(): Promise<void> {
    try {
      const stop = await this.#settings.hints?.(() => {
        this.wake();
      });
      if (this.#state !== 'running') await stop?.();
      else this.#stopHints = stop;
      // What was committed before it listened, nobody hinted at.
      this.wake();
    } catch (error) {
      this.#report('listen', error);
    }
  }

  /** One page after the other while they come back full, then with growing delays. */
  async #run(): Promise<void> {
    const { pollMs, runtime } = this.#settings;
    const failures = backoff(runtime, { minMs: 50, maxMs: 2_000 });
    let delayMs = MIN_POLL_MS;
    while (this.#state === 'running') {
      if (!this.#courier.hungry) {
        // The courier rings when it has written something down.
        this.#full = true;
        await this.#alarm.wait(pollMs);
        this.#full = false;
        continue;
      }
      try {
        const fetched = await this.#fetch();
        failures.reset();
        if (fetched === this.#settings.batchSize) continue;
        delayMs = fetched > 0 ? MIN_POLL_MS : Math.min(pollMs, delayMs * 2);
      } catch (error) {
        this.#report('fetch', error);
        delayMs = failures.nextMs();
      }
      await this.#alarm.wait(delayMs);
    }
  }

  /** Reads a page and passes on what is still ours when it arrives. Returns how many rows the page had. */
  async #fetch(): Promise<number> {
    const usable = this.#leases.usable().sort((a, b) => a - b);
    if (usable.length === 0) return 0;
    const first = usable.findIndex((partition) => partition > this.#lastPartition);
    const turn = first > 0 ? [...usable.slice(first), ...usable.slice(0, first)] : usable;
    const page = await this.#store.fetch(
      turn,
      new Map(this.#leases.held),
      this.#inFlight.keyHashes(),
      this.#settings.batchSize,
    );
    this.#lastPartition = page.at(-1)?.partition ?? this.#lastPartition;
    const { held } = this.#leases;
    const ours = page.filter(({ partition, fence }) => held.get(partition) === fence);
    if (this.#state === 'running') this.#courier.accept(this.#inFlight.admit(ours));
    return page.length;
  }

  #report(during: 'fetch' | 'settle' | 'close' | 'listen', error: unknown): void {
    relayErrors.publish({ owner: this.#settings.owner, during, error });
  }
}
