import { QuorateError } from '@quorate/runtime';
import type { TraceRecord } from './core/trace.js';

/** Where in a run a promise was broken. */
export interface ViolationPlace {
  readonly seed: number;
  /** Virtual time in milliseconds. */
  readonly atMs: number;
  /** How many events had run. */
  readonly step: number;
  /** What happened last, the latest at the end. */
  readonly tail: readonly TraceRecord[];
}

/** An invariant, a check or the promise of progress did not hold in a simulated run. Code `VIOLATION`. */
export class ViolationError extends QuorateError {
  static override readonly brand: string = '@quorate/simulator#ViolationError';

  /** The name of the invariant, or `check`, `progress`, `node` or `setup`. */
  readonly invariant: string;
  readonly place: ViolationPlace;

  constructor(invariant: string, what: string, place: ViolationPlace, cause?: unknown) {
    super(
      'VIOLATION',
      `${invariant}: ${what} (seed ${String(place.seed)}, ${place.atMs.toFixed(3)} ms, step ${String(place.step)})`,
      cause === undefined ? {} : { cause },
    );
    this.invariant = invariant;
    this.place = place;
  }
}

/** A call that the simulation cannot honour as it stands, such as an unknown node. Code `SIMULATION_STATE`. */
export class SimulationStateError extends QuorateError {
  static override readonly brand: string = '@quorate/simulator#SimulationStateError';

  constructor(message: string) {
    super('SIMULATION_STATE', message);
  }
}
