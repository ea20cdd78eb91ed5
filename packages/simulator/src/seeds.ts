import { readFileSync } from 'node:fs';
import { integerOption, QuorateError } from '@quorate/runtime';
import type { CheckLimits } from './core/linearizability.js';
import { ViolationError } from './errors.js';
import type { FaultRecord } from './faults.js';
import { Simulation, type SimulationOptions } from './simulation.js';

/** A program for a simulation: sets up nodes, faults and clients, lets time pass, heals, and checks. */
export interface Scenario {
  /** Without spaces, and unique among the scenarios of a project: it is how one of them is run again. */
  readonly name: string;
  readonly options?: Omit<SimulationOptions, 'seed' | 'onlyFaults'>;
  /** What judging its histories may cost. */
  readonly limits?: CheckLimits;
  /**
   * Rejects, or calls `simulation.fail`, where a promise is broken. When it resolves, the histories of the simulation
   * are judged.
   */
  run(simulation: Simulation): Promise<void>;
}

/** How one run ended. */
export interface RunReport {
  readonly seed: number;
  /** Of the trace: the same for every run of this seed. */
  readonly hash: string;
  readonly steps: number;
  readonly virtualMs: number;
  /** The faults of the run. */
  readonly faults: readonly FaultRecord[];
  /** Histories that could not be judged within the limits. */
  readonly undecided: readonly string[];
  /** Why it failed, or nothing. */
  readonly failure: unknown;
}

/** How {@link runSeed} runs. */
export interface RunOptions {
  /** The numbers of the faults that may happen; without, all do. */
  readonly onlyFaults?: readonly number[];
  /** Called at the end of a run that failed, with everything as it was then: for pictures. */
  readonly onFailure?: (simulation: Simulation, failure: unknown) => void;
}

/** Runs a scenario with one seed. Does not reject: a failure is in the report. */
export async function runSeed(
  scenario: Scenario,
  seed: number,
  options: RunOptions = {},
): Promise<RunReport> {
  const { onlyFaults, onFailure } = options;
  const simulation = new Simulation({
    ...scenario.options,
    seed,
    ...(onlyFaults !== undefined && { onlyFaults }),
  });
  let failure: unknown;
  let undecided: string[] = [];
  try {
    await scenario.run(simulation);
    // What failed in the last event is seen here at the latest.
    await simulation.runFor(0);
    undecided = simulation.judge(scenario.limits);
  } catch (error) {
    failure = error ?? new Error('the scenario rejected with nothing');
    onFailure?.(simulation, failure);
  }
  const { hash, steps, nowMs, faults } = simulation;
  return { seed, hash, steps, virtualMs: nowMs, faults, undecided, failure };
}

/** Which seeds to run. */
export interface SeedRange {
  readonly from: number;
  readonly count: number;
}

/**
 * Runs a scenario with `count` seeds from `from` on, one after the other, up to the first that fails. Resolves to the
 * reports; only the last can have a failure.
 */
export async function runSeeds(scenario: Scenario, seeds: SeedRange): Promise<RunReport[]> {
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

/**
 * As {@link runSeeds}, for a test: where a seed fails, makes it smaller and throws {@link ScenarioFailedError}, whose
 * message has the violation, the faults that it takes, and the command that replays it.
 */
export async function checkSeeds(scenario: Scenario, seeds: SeedRange): Promise<RunReport[]> {
  const reports = await runSeeds(scenario, seeds);
  const last = reports.at(-1);
  if (last?.failure === undefined) return reports;
  const smaller = await shrink(scenario, last);
  throw new ScenarioFailedError(scenario.name, smaller);
}

/** A failing run made smaller. */
export interface Shrunk {
  /** The smallest run that still fails in the same way. */
  readonly report: RunReport;
  /** The numbers of its faults, or nothing where all of them are needed. */
  readonly onlyFaults: readonly number[] | undefined;
  /** How many runs it took. */
  readonly runs: number;
}

/** How {@link shrink} goes about it. */
export interface ShrinkOptions {
  /** Runs to spend on it. @defaultValue 200 */
  readonly maxRuns?: number;
  /** Asked before each run; true ends the shrinking. */
  readonly stop?: () => boolean;
}

/**
 * Looks for a run of the same seed with fewer faults that fails in the same way: leaves out ever smaller parts of them
 * as long as it still does (delta debugging: A. Zeller and R. Hildebrandt, "Simplifying and isolating failure-inducing
 * input", 2002).
 */
export async function shrink(
  scenario: Scenario,
  failed: RunReport,
  { maxRuns = 200, stop }: ShrinkOptions = {},
): Promise<Shrunk> {
  integerOption('maxRuns', maxRuns);
  const kind = kindOf(failed.failure);
  let best = failed;
  let kept = failed.faults.filter(({ began }) => began).map(({ id }) => id);
  let onlyFaults: readonly number[] | undefined;
  let runs = 0;
  const exhausted = (): boolean => runs >= maxRuns || stop?.() === true;
  const fails = async (ids: readonly number[]): Promise<boolean> => {
    runs++;
    const report = await runSeed(scenario, failed.seed, { onlyFaults: ids });
    if (kindOf(report.failure) !== kind) return false;
    // What was still to come when it failed is not needed either.
    best = report;
    kept = report.faults.filter(({ began }) => began).map(({ id }) => id);
    onlyFaults = kept;
    return true;
  };
  if (!exhausted() && (kept.length === 0 || (await fails([])))) return { report: best, onlyFaults, runs };
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < kept.length && !exhausted();) {
      if (!(await fails([...kept.slice(0, at), ...kept.slice(at + size)]))) at += size;
    }
  }
  return { report: best, onlyFaults, runs };
}

/** Two failures of one kind have the same cause, as far as one can tell. */
function kindOf(failure: unknown): string {
  if (failure === undefined) return '';
  if (failure instanceof ViolationError) return `violation of ${failure.invariant}`;
  return failure instanceof Error ? failure.name : typeof failure;
}

/** A scenario broke a promise. Code `SCENARIO_FAILED`; `cause` is the failure of the smallest run. */
export class ScenarioFailedError extends QuorateError {
  static override readonly brand: string = '@quorate/simulator#ScenarioFailedError';

  readonly scenario: string;
  readonly report: RunReport;
  /** The command that replays the run. */
  readonly replay: string;

  constructor(scenario: string, { report, onlyFaults }: Shrunk) {
    super('SCENARIO_FAILED', describeFailure(scenario, report, onlyFaults), { cause: report.failure });
    this.scenario = scenario;
    this.report = report;
    this.replay = replayCommand(scenario, report.seed, onlyFaults);
  }
}

/** What failed, the faults that it took, and how to run it again, as text of some lines. */
export function describeFailure(
  scenario: string,
  report: RunReport,
  onlyFaults: readonly number[] | undefined,
): string {
  const { failure, seed } = report;
  const faults = report.faults.filter(({ began }) => began);
  return [
    `${scenario}, seed ${String(seed)}: ${failure instanceof Error ? failure.message : String(failure)}`,
    faults.length === 0
      ? '  without any fault'
      : `  with ${faults.length === 1 ? 'one fault' : `${String(faults.length)} faults`}:`,
    ...faults
      .slice(0, SHOWN_FAULTS)
      .map(
        ({ id, name, atMs, durationMs }) =>
          `    #${String(id)} at ${atMs.toFixed(1)} ms${durationMs > 0 ? `, for ${durationMs.toFixed(1)} ms` : ''}: ${name}`,
      ),
    ...(faults.length > SHOWN_FAULTS ? [`    and ${String(faults.length - SHOWN_FAULTS)} more`] : []),
    `  replay: ${replayCommand(scenario, seed, onlyFaults)}`,
  ].join('\n');
}

const SHOWN_FAULTS = 20;

/** The command that runs one seed of a scenario again, with these faults or with all. */
export function replayCommand(
  scenario: string,
  seed: number,
  onlyFaults?: readonly number[],
  program: string = simulateCommand(),
): string {
  const faults =
    onlyFaults === undefined ? '' : ` --faults ${onlyFaults.length === 0 ? 'none' : onlyFaults.join()}`;
  return `${program} --scenario ${scenario} --seed ${String(seed)}${faults}`;
}

/** How the project in the working directory runs simulations: by its script for that, if it has one. */
function simulateCommand(): string {
  try {
    const { scripts = {} } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      scripts?: Record<string, string>;
    };
    const script = Object.keys(scripts).find((name) => scripts[name]?.includes('quorate-simulate') === true);
    if (script !== undefined) return `npm run ${script} --`;
  } catch {
    // No project, no script.
  }
  return 'npx quorate-simulate';
}
