import {
  abortable,
  integerOption,
  numberOption,
  type Runtime,
  systemRuntime,
  type Timer,
} from '@quorate/runtime';
import { type Hlc, type HlcCore, MAX_HLC_LOGICAL, MAX_HLC_WALL } from './core/hlc.js';
import type { NodeId } from './core/node.js';
import { HlcBoundError, HlcClosedError } from './errors.js';
import { hlcPersistFailed } from './events.js';
import { createHlcCore, type HlcClock, type HlcOptions, restoreWithinDrift } from './hlc.js';

/** Where a {@link PersistedHlcClock} keeps its upper bound: one integer that survives a crash. */
export interface HlcBoundStore {
  /** The bound that was saved last, or undefined when none ever was. */
  load(): Promise<number | undefined>;
  /** Resolves once the bound is durable. Never called again before that. */
  save(boundMs: number): Promise<void>;
}

/** How a {@link PersistedHlcClock} is opened. */
export interface PersistedHlcOptions extends Omit<HlcOptions, 'runtime'> {
  /** The bound of this node, and of no other. */
  readonly store: HlcBoundStore;
  /**
   * How far ahead the bound is saved, in milliseconds: half of it is the time between two saves, and all of it the
   * most that a node is ahead of its wall clock after a crash. At most `maxDriftMs`, lest others refuse the times
   * of a node that came back.
   * @defaultValue 10_000, or `maxDriftMs` if that is less
   */
  readonly blockMs?: number;
  /**
   * Clock and timers.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Pick<Runtime, 'now' | 'setTimer'>;
  /** Gives up waiting for the store. */
  readonly signal?: AbortSignal;
}

/**
 * A hybrid logical clock that never goes back, not even when the process crashes and its wall clock was set back
 * meanwhile.
 *
 * An upper bound is saved ahead of time and in the background, and no time above the bound is returned. When the
 * wall clock passes the bound before the next one is saved (the store hangs, the process was suspended),
 * `now` stays at the bound and counts with the logical part: times keep growing but lag behind the wall clock. It
 * throws HlcBoundError, and changes nothing, once that would go on for more than 65,536 times or lag by more than
 * `maxDriftMs`; `observe` does so at once for a time above the bound. In both cases {@link PersistedHlcClock.ready}
 * tells when to try again. A failed save is tried again by the next call, at the latest after `blockMs` / 2, and published on
 * the channel `quorate:logical-clocks:persist-failed`.
 */
export interface PersistedHlcClock extends HlcClock, AsyncDisposable {
  /** The bound that is saved, in milliseconds since the epoch. */
  readonly boundMs: number;
  /**
   * Resolves when a bound above the wall clock is saved; rejects with what the store threw, or the signal's reason.
   */
  ready(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Saves the last time as the bound, so that the next run need not start ahead of the wall clock. Afterwards
   * `now` and `observe` throw HlcClosedError. A rejection leaves the clock closed, and safe: the bound is higher than it need be.
   */
  close(): Promise<void>;
}

/**
 * Loads the bound, goes on above it, and resolves when the next bound is saved.
 * @throws {@link HlcDriftError} when the bound is further than `maxDriftMs` ahead of the wall clock: it was set back,
 * and other nodes would refuse our times; what the store throws, and the signal's reason, are passed on
 */
export async function openHlc(options: PersistedHlcOptions): Promise<PersistedHlcClock> {
  const { runtime = systemRuntime, store, signal } = options;
  const core = createHlcCore(options);
  const blockMs = integerOption(
    'blockMs',
    options.blockMs ?? Math.max(2, Math.min(10_000, core.maxDriftMs)),
    {
      min: 2,
      max: Math.max(2, core.maxDriftMs),
    },
  );
  signal?.throwIfAborted();
  const stored = await abortable(store.load(), signal);
  if (stored !== undefined) {
    const bound = integerOption('stored bound', stored, { max: MAX_HLC_WALL - 1 });
    // The last time of that wall, so that the first of this run has a greater one.
    restoreWithinDrift(core, 'the persisted bound', bound, MAX_HLC_LOGICAL, runtime);
  }
  const clock = new BoundedClock(core, store, runtime, blockMs);
  try {
    await clock.ready(signal === undefined ? {} : { signal });
  } catch (error) {
    clock.abandon();
    throw error;
  }
  return clock;
}

class BoundedClock implements PersistedHlcClock {
  readonly node: NodeId;
  readonly #core: HlcCore;
  readonly #store: HlcBoundStore;
  readonly #runtime: Pick<Runtime, 'now' | 'setTimer'>;
  readonly #blockMs: number;
  /** How far the bound stays ahead of times that are ahead of the wall clock: little, since a crash adds it. */
  readonly #slackMs: number;
  #timer: Timer | undefined;
  #saving: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** The greatest wall that an observed time had when the bound refused it. */
  #wanted = 0;
  /** A bound is due when the wall clock, or a time of ours, is above these. */
  #renewAbovePhysical = -1;
  #renewAboveWall = -1;

  constructor(
    core: HlcCore,
    store: HlcBoundStore,
    runtime: Pick<Runtime, 'now' | 'setTimer'>,
    blockMs: number,
  ) {
    this.node = core.node;
    this.#core = core;
    this.#store = store;
    this.#runtime = runtime;
    this.#blockMs = blockMs;
    this.#slackMs = Math.ceil(blockMs / 10);
    core.setCeiling(0);
  }

  get last(): Hlc {
    return this.#core.last;
  }

  get boundMs(): number {
    return this.#core.ceiling;
  }

  now(): Hlc {
    const physical = this.#physical();
    try {
      return this.#core.tick(physical);
    } finally {
      if (this.#due(physical)) this.#renewInBackground();
    }
  }

  observe(remote: Hlc): Hlc {
    const physical = this.#physical();
    try {
      return this.#core.receive(remote, physical);
    } catch (error) {
      if (error instanceof HlcBoundError) this.#wanted = Math.max(this.#wanted, remote.wall);
      throw error;
    } finally {
      if (this.#due(physical)) this.#renewInBackground();
    }
  }

  #physical(): number {
    if (this.#closing !== undefined) throw new HlcClosedError();
    return this.#runtime.now();
  }

  async ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw new HlcClosedError();
    // A save that is under way may have begun before what is waited for: then one more is due.
    if (this.#saving !== undefined) await abortable(this.#saving, options.signal);
    if (this.#due(this.#runtime.now())) await abortable(this.#renew(), options.signal);
  }

  #due(physical: number): boolean {
    return (
      physical > this.#renewAbovePhysical ||
      this.#core.wall > this.#renewAboveWall ||
      this.#wanted > this.#renewAboveWall
    );
  }

  /** Saves the next bound; one save at a time. */
  #renew(): Promise<void> {
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }

  async #save(): Promise<void> {
    const physical = Math.floor(numberOption('wall clock', this.#runtime.now()));
    const wall = Math.max(this.#core.wall, this.#wanted);
    // No further ahead than the next run may be, where that is possible at all. And never lower than before:
    // times up to the present bound can still be returned while this one is on its way to the store.
    const reach = Math.max(physical + this.#core.maxDriftMs, wall + 1);
    const aim = Math.max(physical + this.#blockMs, wall + this.#slackMs);
    const bound = Math.min(Math.max(Math.min(aim, reach), this.#core.ceiling), MAX_HLC_WALL);
    if (bound > this.#core.ceiling) {
      await this.#store.save(bound);
      this.#core.setCeiling(bound);
    }
    this.#renewAbovePhysical = bound - Math.ceil(this.#blockMs / 2);
    this.#renewAboveWall = Math.max(bound - Math.ceil(this.#slackMs / 2), Math.floor((wall + bound) / 2));
    this.#schedule();
  }

  #renewInBackground(): void {
    if (this.#saving !== undefined || this.#closing !== undefined) return;
    this.#renew().catch((error: unknown) => {
      if (hlcPersistFailed.active)
        hlcPersistFailed.publish({ node: this.node, boundMs: this.boundMs, error });
      this.#schedule();
    });
  }

  /** An idle clock renews its bound too, or its first time after a pause would lag. */
  #schedule(): void {
    this.#timer?.cancel();
    if (this.#closing !== undefined) return;
    this.#timer = this.#runtime.setTimer(this.#blockMs / 2, () => {
      if (this.#due(this.#runtime.now())) this.#renewInBackground();
      else this.#schedule();
    });
  }

  /** Closes a clock that nobody got: no time was returned, so no bound is due. */
  abandon(): void {
    this.#closing ??= Promise.resolve();
    this.#timer?.cancel();
  }

  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  async #finish(): Promise<void> {
    this.#timer?.cancel();
    await this.#saving?.catch(() => undefined);
    await this.#store.save(this.#core.wall);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
