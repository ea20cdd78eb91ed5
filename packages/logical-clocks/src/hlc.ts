import { integerOption, type Runtime, systemRuntime } from '@quorate/runtime';
import { type Hlc, HlcCore, hlcOption } from './core/hlc.js';
import { type NodeId, nodeOption } from './core/node.js';
import { HlcDriftError } from './errors.js';

/** A hybrid logical clock: timestamps close to the wall clock that never contradict causality. */
export interface HlcClock {
  /** Whose clock it is. */
  readonly node: NodeId;
  /** The greatest time so far, without a new one. All zero before the first. */
  readonly last: Hlc;
  /**
   * The time of a local event or of a message that is sent: greater than all that this clock returned or observed,
   * whatever the wall clock does, and not behind the wall clock.
   *
   * After 65,536 times within one millisecond it runs ahead of the wall clock, by a millisecond for each 65,536.
   * @throws {@link HlcBoundError} when the wall clock is beyond the year 10889, or see {@link PersistedHlcClock}
   */
  now(): Hlc;
  /**
   * The time of the receipt of a message that was sent at `remote`: greater than `remote` too.
   * @throws {@link HlcDriftError} when `remote` is further than `maxDriftMs` ahead of the wall clock; nothing changed
   * @throws InvalidOptionError when `remote` is no time; nothing changed
   */
  observe(remote: Hlc): Hlc;
}

/** What every hybrid logical clock is made of. */
export interface HlcOptions {
  /** This node. Two clocks with one id can return the same time. */
  readonly node: NodeId;
  /**
   * How far ahead of this wall clock an observed time may be, in milliseconds. It bounds what a machine with a
   * wrong clock can do to the others.
   * @defaultValue 60_000
   */
  readonly maxDriftMs?: number;
  /**
   * Where the wall clock is read.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Pick<Runtime, 'now'>;
}

/** How far ahead of the wall clock an observed time may be unless told otherwise. */
const DEFAULT_MAX_DRIFT_MS = 60_000;

/**
 * A hybrid logical clock in memory. After a restart it knows nothing of the time before: pass the last time that
 * was stored as `restore`, or use {@link openHlc}, unless the wall clock is known never to go back.
 * @throws {@link HlcDriftError} when `restore` is further than `maxDriftMs` ahead of the wall clock
 */
export function createHlc(options: HlcOptions & { readonly restore?: Hlc }): HlcClock {
  const { runtime = systemRuntime, restore } = options;
  const core = createHlcCore(options);
  if (restore !== undefined) {
    const { wall, logical } = hlcOption('restore', restore);
    restoreWithinDrift(core, 'the time to restore', wall, logical, runtime);
  }
  return {
    node: core.node,
    get last() {
      return core.last;
    },
    now: () => core.tick(runtime.now()),
    observe: (remote) => core.receive(remote, runtime.now()),
  };
}

/** A core from the options that all clocks have. */
export function createHlcCore(options: HlcOptions): HlcCore {
  const maxDriftMs = integerOption('maxDriftMs', options.maxDriftMs ?? DEFAULT_MAX_DRIFT_MS);
  return new HlcCore(nodeOption('node', options.node), maxDriftMs);
}

/** Goes on after a time of an earlier run, which others would refuse if it were too far ahead. */
export function restoreWithinDrift(
  core: HlcCore,
  what: string,
  wall: number,
  logical: number,
  runtime: Pick<Runtime, 'now'>,
): void {
  const aheadMs = wall - runtime.now();
  if (aheadMs > core.maxDriftMs) throw new HlcDriftError(what, aheadMs, core.maxDriftMs);
  core.restore(wall, logical);
}
