import { integerOption } from '@quorate/runtime';
import { CounterExhaustedError, LamportJumpError } from '../errors.js';
import { compareNodes, type NodeId } from './node.js';

/**
 * A Lamport clock (L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978).
 *
 * If event a happened before event b, a's time is less than b's. The converse does not hold: from two times
 * alone nobody can tell whether the events were concurrent; a version vector can.
 */
export interface LamportClock {
  /** The time of the latest event, without a new one. */
  now(): number;
  /** A local event or the sending of a message: advances the clock and returns its time. */
  tick(): number;
  /**
   * The receipt of a message: advances beyond both clocks and returns the time of the receipt.
   * @throws {@link LamportJumpError} when `remote` is more than `maxJump` ahead; the clock is as it was
   */
  observe(remote: number): number;
}

/** Where a {@link LamportClock} starts and what it believes. */
export interface LamportOptions {
  /**
   * The time of the latest event of the previous run.
   * @defaultValue 0
   */
  readonly start?: number;
  /**
   * How far ahead an observed time may be. Without a bound one message could use up the counter for everybody.
   * @defaultValue 2^32
   */
  readonly maxJump?: number;
}

/** A Lamport clock that starts at `start`. Its state is one integer: persist `now()` to go on after a restart. */
export function createLamport(options: LamportOptions = {}): LamportClock {
  let time = integerOption('start', options.start ?? 0);
  const maxJump = integerOption('maxJump', options.maxJump ?? 2 ** 32, { min: 1 });
  const advanceFrom = (latest: number): number => {
    if (latest >= Number.MAX_SAFE_INTEGER) throw new CounterExhaustedError('this Lamport clock');
    time = latest + 1;
    return time;
  };
  return {
    now: () => time,
    tick: () => advanceFrom(time),
    observe(remote) {
      integerOption('remote', remote);
      if (remote - time > maxJump) throw new LamportJumpError(remote, time, maxJump);
      return advanceFrom(Math.max(time, remote));
    },
  };
}

/** A Lamport time with the node that it is of. */
export interface LamportStamp {
  readonly time: number;
  readonly node: NodeId;
}

/** A total order that agrees with happened-before: by time, then by node id. Negative, zero or positive. */
export function compareLamport(a: LamportStamp, b: LamportStamp): number {
  return a.time - b.time || compareNodes(a.node, b.node);
}
