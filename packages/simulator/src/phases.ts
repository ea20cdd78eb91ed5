import { numberOption } from '@quorate/runtime';
import type { Simulation } from './simulation.js';

/** The two phases of {@link twoPhases}. */
export interface PhasesOptions {
  /** How long faults go on, in milliseconds of virtual time. Safety must hold all the while. */
  readonly faultsMs: number;
  /**
   * Called once when everything has healed. Either begins what must now succeed, and resolves when it did; or returns
   * whether it did, and is called again after every event.
   */
  readonly progress: () => boolean | Promise<unknown>;
  /** The bound within which there must be progress after the healing, in milliseconds of virtual time. */
  readonly withinMs: number;
}

/**
 * Safety first, then liveness: lets the faults of the simulation do their worst, and the invariants be checked all the
 * while; then heals everything and requires progress within a bound. Nothing can be promised about progress while
 * faults go on, and a protocol that never gets anything done is safe: one needs both phases (B. Alpern and F. Schneider,
 * "Defining liveness", 1985). Rejects with {@link ViolationError} of `progress` where the bound passes, or where
 * `progress` rejects.
 */
export async function twoPhases(simulation: Simulation, options: PhasesOptions): Promise<void> {
  const { faultsMs, withinMs, progress } = options;
  numberOption('withinMs', withinMs);
  await simulation.runFor(faultsMs);
  simulation.heal();
  const begun = progress();
  if (typeof begun === 'boolean') {
    await simulation.runUntil(() => progress() === true, withinMs);
    return;
  }
  let done = false;
  begun.then(
    () => {
      done = true;
    },
    (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      simulation.fail('progress', `failed after everything was healed: ${reason}`, error);
      done = true;
    },
  );
  await simulation.runUntil(() => done, withinMs);
}
