import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemRuntime } from '@quorate/runtime';
import {
  describeFailure,
  drawRun,
  replayCommand,
  runSeed,
  type RunReport,
  type Scenario,
  shrink,
} from '@quorate/simulator';
import { loadScenarios } from './find.js';

/** Seeds for a worker to run. */
export interface Work {
  readonly file: string;
  readonly scenario: string;
  readonly from: number;
  readonly count: number;
  readonly onlyFaults: readonly number[] | undefined;
  readonly shrinkMs: number;
  readonly out: string;
}

/** Sent instead of work: what is under way is not wanted any more. */
export const STOP = 'stop';

/** Whether the work under way is still wanted. */
interface Wanted {
  yes: boolean;
}

/** What a worker tells. */
export type Told =
  | { readonly type: 'ready' }
  /** Still busy with the same seed. */
  | { readonly type: 'busy'; readonly doing: string }
  | {
      readonly type: 'seed';
      readonly seed: number;
      readonly steps: number;
      readonly virtualMs: number;
      readonly faults: number;
      readonly undecided: number;
      readonly failure: Failure | undefined;
    }
  | { readonly type: 'done' };

/** A failing seed, made smaller and drawn. */
export interface Failure {
  /** Some lines that say what failed and how to run it again. */
  readonly text: string;
  readonly page: string | undefined;
  readonly hash: string;
}

/** Runs what the parent process asks for, until it hangs up. Resolves to the exit code. */
export function serveWork(): Promise<number> {
  const tell = (told: Told): void => void process.send?.(told);
  return new Promise((resolve) => {
    process.once('disconnect', () => {
      resolve(0);
      // A run may be under way whose result nobody wants any more.
      process.exit(0);
    });
    let wanted: Wanted = { yes: false };
    process.on('message', (work) => {
      wanted.yes = work !== STOP;
      if (work === STOP) return;
      wanted = { yes: true };
      serve(work as Work, wanted, tell).then(
        () => {
          tell({ type: 'done' });
        },
        (error: unknown) => {
          // Nothing to go on with: the parent sees the process end.
          console.error(error);
          process.exit(3);
        },
      );
    });
    tell({ type: 'ready' });
  });
}

async function serve(work: Work, wanted: Wanted, tell: (told: Told) => void): Promise<void> {
  const scenario = (await loadScenarios(work.file)).find(({ name }) => name === work.scenario);
  if (scenario === undefined) throw new Error(`${work.file} has no scenario ${work.scenario} any more`);
  tell({ type: 'busy', doing: 'running' });
  for (let seed = work.from; seed < work.from + work.count && wanted.yes; seed++) {
    const report = await runSeed(scenario, seed, work.onlyFaults && { onlyFaults: work.onlyFaults });
    const { steps, virtualMs, faults, undecided, failure } = report;
    tell({
      type: 'seed',
      seed,
      steps,
      virtualMs,
      faults: faults.filter(({ began }) => began).length,
      undecided: undecided.length,
      failure: failure === undefined ? undefined : await explained(scenario, report, work, wanted, tell),
    });
  }
}

async function explained(
  scenario: Scenario,
  failed: RunReport,
  work: Work,
  wanted: Wanted,
  tell: (told: Told) => void,
): Promise<Failure> {
  let { onlyFaults } = work;
  let report = failed;
  if (work.shrinkMs > 0) {
    const until = systemRuntime.monotonic() + work.shrinkMs;
    const smaller = await shrink(scenario, failed, {
      stop: () => {
        tell({ type: 'busy', doing: `making seed ${String(failed.seed)} smaller` });
        return !wanted.yes || systemRuntime.monotonic() > until;
      },
    });
    ({ report } = smaller);
    onlyFaults = smaller.onlyFaults;
  }
  const replay = replayCommand(scenario.name, failed.seed, onlyFaults);
  let page: string | undefined;
  await runSeed(scenario, failed.seed, {
    ...(onlyFaults !== undefined && { onlyFaults }),
    onFailure: (simulation, failure) => {
      mkdirSync(work.out, { recursive: true });
      page = join(work.out, `${scenario.name.replaceAll(/[^\w.-]/g, '_')}-${String(failed.seed)}.html`);
      writeFileSync(page, drawRun(simulation, { scenario: scenario.name, failure, replay }));
    },
  });
  return { text: describeFailure(scenario.name, report, onlyFaults), page, hash: report.hash };
}
