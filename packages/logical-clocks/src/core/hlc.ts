import { InvalidOptionError } from '@quorate/runtime';
import { HlcBoundError, HlcDriftError } from '../errors.js';
import { compareNodes, type NodeId, nodeOption } from './node.js';

/**
 * A time of a hybrid logical clock (S. Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in
 * Globally Distributed Databases", OPODIS 2014).
 */
export interface Hlc {
  /** Milliseconds since the Unix epoch, 48 bits: the greatest wall clock reading that this time depends on. */
  readonly wall: number;
  /** Tells events of one `wall` apart, 16 bits. */
  readonly logical: number;
  /** Whose clock it is; tells equal times of different nodes apart. */
  readonly node: NodeId;
}

/** The greatest `wall`: 2^48 - 1, in the year 10889. */
export const MAX_HLC_WALL = 2 ** 48 - 1;
/** The greatest `logical`: 2^16 - 1. */
export const MAX_HLC_LOGICAL = 2 ** 16 - 1;

/**
 * A total order that agrees with happened-before: by wall, then logical, then node id. Negative, zero or positive.
 */
export function compareHlc(a: Hlc, b: Hlc): number {
  return a.wall - b.wall || a.logical - b.logical || compareNodes(a.node, b.node);
}

/** Returns `value` if it is a time that a hybrid logical clock can return, else throws InvalidOptionError. */
export function hlcOption(option: string, value: Hlc): Hlc {
  checkTime(option, value);
  nodeOption(`${option}.node`, value.node);
  return value;
}

function checkTime(option: string, value: Hlc): void {
  const given: unknown = value;
  if (typeof given !== 'object' || given === null)
    throw new InvalidOptionError(option, given, 'a time with wall, logical and node');
  const { wall, logical } = value;
  if (!Number.isInteger(wall) || wall < 0 || wall > MAX_HLC_WALL)
    throw new InvalidOptionError(`${option}.wall`, wall, 'an integer from 0 to 2^48 - 1');
  if (!Number.isInteger(logical) || logical < 0 || logical > MAX_HLC_LOGICAL)
    throw new InvalidOptionError(`${option}.logical`, logical, 'an integer from 0 to 2^16 - 1');
}

/**
 * The clock without its wall clock: every reading is passed in.
 *
 * Invariants: a returned time is greater than all that were returned or received before, and its wall is at most
 * `ceiling`. A call that throws changes nothing.
 */
// The state is two numbers rather than the last Hlc: a caller who writes to a result cannot disturb the clock, and
// V8 updates the fields in place, so that a call allocates its result and nothing else.
export class HlcCore {
  readonly node: NodeId;
  readonly maxDriftMs: number;
  #wall = 0;
  #logical = 0;
  /** No time with a greater wall is returned. */
  #ceiling = MAX_HLC_WALL;

  constructor(node: NodeId, maxDriftMs: number) {
    this.node = node;
    this.maxDriftMs = maxDriftMs;
  }

  get last(): Hlc {
    return { wall: this.#wall, logical: this.#logical, node: this.node };
  }

  /** The wall of {@link HlcCore.last}. */
  get wall(): number {
    return this.#wall;
  }

  get ceiling(): number {
    return this.#ceiling;
  }

  /** Raises or lowers the ceiling, never below what was returned. */
  setCeiling(wall: number): void {
    this.#ceiling = Math.max(wall, this.#wall);
  }

  /** Starts after `wall` and `logical`, from an earlier run. */
  restore(wall: number, logical: number): void {
    this.#wall = wall;
    this.#logical = logical;
  }

  /** The time of a local event, with the wall clock at `physical`. */
  tick(physical: number): Hlc {
    const now = Math.floor(physical);
    if (now <= this.#ceiling) {
      if (now > this.#wall) {
        this.#wall = now;
        this.#logical = 0;
        return { wall: now, logical: 0, node: this.node };
      }
      if (this.#logical < MAX_HLC_LOGICAL) {
        return { wall: this.#wall, logical: ++this.#logical, node: this.node };
      }
    }
    return this.#follow(this.#wall, this.#logical, now);
  }

  /** The time of the receipt of `remote`, with the wall clock at `physical`. */
  receive(remote: Hlc, physical: number): Hlc {
    checkTime('remote', remote);
    const now = Math.floor(physical);
    // Written so that a wall clock that reads NaN refuses rather than lets everything pass.
    if (!(remote.wall - now <= this.maxDriftMs))
      throw new HlcDriftError(`the time of ${remote.node}`, remote.wall - now, this.maxDriftMs);
    return remote.wall > this.#wall || (remote.wall === this.#wall && remote.logical > this.#logical)
      ? this.#follow(remote.wall, remote.logical, now)
      : this.#follow(this.#wall, this.#logical, now);
  }

  /** The least time after (wall, logical) that is not behind the wall clock, as far as the ceiling allows. */
  #follow(wall: number, logical: number, physical: number): Hlc {
    if (physical > wall && physical > this.#ceiling) {
      if (physical - this.#ceiling > this.maxDriftMs) {
        throw new HlcBoundError(
          this.#ceiling,
          `the wall clock at ${String(physical)} is more than ${String(this.maxDriftMs)} ms ahead`,
        );
      }
      // Not further behind the wall clock than others may be ahead of it: stay at the ceiling and count on.
      physical = this.#ceiling;
    }
    if (physical > wall) {
      wall = physical;
      logical = 0;
    } else if (logical < MAX_HLC_LOGICAL) {
      logical++;
    } else {
      wall++;
      logical = 0;
    }
    if (wall > this.#ceiling) {
      throw new HlcBoundError(this.#ceiling, `the next time would have a wall of ${String(wall)}`);
    }
    this.#wall = wall;
    this.#logical = logical;
    return { wall, logical, node: this.node };
  }
}
