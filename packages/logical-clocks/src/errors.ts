import { QuorateError } from '@quorate/runtime';
import type { Dot } from './core/version-vector.js';
import type { MissingEvents } from './core/causal-inbox.js';

/**
 * A time that is further ahead of this node's wall clock than `maxDriftMs` allows. The clock is as it was.
 * Either the other clock is wrong or this one is; code `HLC_DRIFT`.
 */
export class HlcDriftError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#HlcDriftError';
  /** How far the refused time is ahead of the wall clock, in milliseconds. */
  readonly aheadMs: number;
  /** The most that was allowed, in milliseconds. */
  readonly maxDriftMs: number;

  constructor(what: string, aheadMs: number, maxDriftMs: number) {
    super(
      'HLC_DRIFT',
      `${what} is ${String(aheadMs)} ms ahead of this wall clock, and ${String(maxDriftMs)} ms are allowed; ` +
        `check the time synchronisation of both machines`,
    );
    this.aheadMs = aheadMs;
    this.maxDriftMs = maxDriftMs;
  }
}

/**
 * The clock would have to go above the upper bound that is persisted, or above what 48 bits hold. It is as it
 * was. Wait for `ready()` of a persisted clock and try again; code `HLC_BOUND`.
 */
export class HlcBoundError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#HlcBoundError';
  /** The greatest wall time that may be returned, in milliseconds since the epoch. */
  readonly boundMs: number;

  constructor(boundMs: number, why: string) {
    super('HLC_BOUND', `${why}; the clock may not go above ${String(boundMs)}`);
    this.boundMs = boundMs;
  }
}

/** The clock is closed. Code `HLC_CLOSED`. */
export class HlcClosedError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#HlcClosedError';

  constructor() {
    super('HLC_CLOSED', 'the clock is closed; open another one');
  }
}

/** An observed Lamport time that is further ahead than `maxJump` allows. The clock is as it was. Code `LAMPORT_JUMP`. */
export class LamportJumpError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#LamportJumpError';
  /** The refused time. */
  readonly remote: number;
  /** How far ahead of this clock it may have been. */
  readonly maxJump: number;

  constructor(remote: number, now: number, maxJump: number) {
    super(
      'LAMPORT_JUMP',
      `a remote time of ${String(remote)} is more than ${String(maxJump)} ahead of ${String(now)}; ` +
        `it would use up the counter`,
    );
    this.remote = remote;
    this.maxJump = maxJump;
  }
}

/** A counter at 2^53 - 1: nothing can follow it. Code `COUNTER_EXHAUSTED`. */
export class CounterExhaustedError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#CounterExhaustedError';

  constructor(whose: string) {
    super('COUNTER_EXHAUSTED', `the counter of ${whose} is at 2^53 - 1; give the node a new id`);
  }
}

/**
 * An event must wait for its causes and the buffer is full. It was not taken: offer it again once
 * {@link CausalBufferFullError.missing} has arrived. Code `CAUSAL_BUFFER_FULL`.
 */
export class CausalBufferFullError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#CausalBufferFullError';
  /** The refused event. */
  readonly dot: Dot;
  /** What the buffered events wait for. */
  readonly missing: MissingEvents;

  constructor(dot: Dot, maxBuffered: number, missing: MissingEvents) {
    const [first] = missing;
    const example =
      first === undefined ? '' : `, first of all for event ${String(first[1][0]?.from)} of ${first[0]}`;
    super(
      'CAUSAL_BUFFER_FULL',
      `event ${String(dot.counter)} of ${dot.node} must wait for its causes, and ${String(maxBuffered)} events wait already${example}`,
    );
    this.dot = dot;
    this.missing = missing;
  }
}

/** Events that cannot be one causal history: their causes form a cycle, or one dot names two events. Code `CAUSALITY_VIOLATED`. */
export class CausalityError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#CausalityError';
  /** The events concerned. */
  readonly dots: readonly Dot[];

  constructor(what: string, dots: readonly Dot[]) {
    super(
      'CAUSALITY_VIOLATED',
      `${what}: ${dots
        .slice(0, 5)
        .map((dot) => `${dot.node}:${String(dot.counter)}`)
        .join(', ')}${dots.length > 5 ? ', …' : ''}`,
    );
    this.dots = dots;
  }
}

/** A causal receiver that is closed, or whose handler failed (the `cause`). Code `CAUSAL_RECEIVER_CLOSED`. */
export class CausalReceiverClosedError extends QuorateError {
  static override readonly brand: string = '@quorate/logical-clocks#CausalReceiverClosedError';

  constructor(why: string, cause?: unknown) {
    super('CAUSAL_RECEIVER_CLOSED', why, cause === undefined ? {} : { cause });
  }
}
