import { integerOption } from '@quorate/runtime';
import { Simulation, type SimulationOptions } from './simulation.js';

/** A program for a simulation: sets up nodes, faults and clients, lets time pass, heals, and checks. */
export interface Scenario {
  readonly name: string;
  readonly options?: Omit<SimulationOptions, 'seed'>;
  /** Rejects, or calls `simulation.fail`, where a promise is broken. */
  run(simulation: Simulation): Promise<void>;
}

/** How one run ended. */
export interface RunReport {
  readonly seed: number;
  /** Of the trace: the same for every run of this seed. */
  readonly hash: string;
  readonly steps: number;
  readonly virtualMs: number;
  /** Why it failed, or nothing. */
  readonly failure: unknown;
}

/** Runs a scenario with one seed. Does not reject: a failure is in the report. */
export async function runSeed(scenario: Scenario, seed: number): Promise<RunReport> {
  const simulation = new Simulation({ ...scenario.options, seed });
  let failure: unknown;
  try {
    await scenario.run(simulation);
    // What failed in the last event is seen here at the latest.
    await simulation.runFor(0);
  } catch (error) {
    failure = error;
  }
  const { hash, steps, nowMs } = simulation;
  return { seed, hash, steps, virtualMs: nowMs, failure };
}

/**
 * Runs a scenario with `count` seeds from `from` on, one after the other, up to the first that fails. Resolves to the
 * reports; only the last can have a failure.
 */
export async function runSeeds(
  scenario: Scenario,
  seeds: { readonly from: number; readonly count: number },
): Promise<RunReport[]> {
  const from = integerOption('from', seeds.from, { min: Number.MIN_SAFE_INTEGER });
  const count = integerOption('count', seeds.count, { min: 1 });
  const reports: RunReport[] = [];
  for (let seed = from; seed < from + count; seed++) {
    const report = await runSeed(scenario, seed);
    reports.push(report);
    if (report.failure !== undefined) break;
  }
  return reports;
}
