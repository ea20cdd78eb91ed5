import { type ChildProcess, fork } from 'node:child_process';
import { systemRuntime, type Timer } from '@quorate/runtime';
import { replayCommand } from '@quorate/simulator';
import type { CliOptions } from './arguments.js';
import type { FoundScenario } from './find.js';
import { Progress, type Tally } from './progress.js';
import { STOP, type Told, type Work } from './worker.js';

/** The seeds of one scenario that are still to be run. */
interface Queue {
  readonly scenario: FoundScenario;
  readonly tally: Tally;
  next: number;
  readonly end: number;
}

/** Runs every seed of every scenario in worker processes. Resolves to whether nothing failed. */
export async function simulateAll(
  scenarios: readonly FoundScenario[],
  options: CliOptions,
  program: string,
): Promise<boolean> {
  const queues = scenarios.map((scenario): Queue => ({
    scenario,
    tally: { name: scenario.name, seeds: 0, steps: 0, virtualMs: 0, faults: 0, undecided: 0, failures: 0 },
    next: options.from,
    end: options.from + options.count,
  }));
  const progress = new Progress(
    queues.map(({ tally }) => tally),
    options.count,
  );
  const total = options.count * queues.length;
  const jobs = Math.max(1, Math.min(options.jobs, total));
  // Small enough that the processes end together, large enough that they do not wait for work.
  const size = Math.max(1, Math.min(64, Math.ceil(options.count / jobs / 4)));
  const take = (): { readonly queue: Queue; readonly work: Work } | undefined => {
    const queue = queues.find(({ next, end, tally }) => next < end && tally.failures < options.failures);
    if (queue === undefined) return undefined;
    const from = queue.next;
    queue.next = Math.min(queue.end, from + size);
    return {
      queue,
      work: {
        file: queue.scenario.file,
        scenario: queue.scenario.name,
        from,
        count: queue.next - from,
        onlyFaults: options.onlyFaults,
        shrinkMs: options.shrink ? options.shrinkMs : 0,
        out: options.out,
      },
    };
  };
  const workers: Job[] = [];
  const failed = (queue: Queue): void => {
    if (queue.tally.failures >= options.failures) for (const job of workers) job.stop(queue);
  };
  for (let at = 0; at < jobs; at++) workers.push(new Job(program, options, progress, take, failed));
  await Promise.all(workers.map((job) => job.run()));
  progress.end();
  return queues.every(({ tally }) => tally.failures === 0);
}

/** How long a process may take to start and to load scenarios, in milliseconds. */
const START_MS = 300_000;

/** One worker process after the other: a new one where a seed hangs or ends it. */
class Job {
  #child: ChildProcess | undefined;
  #watchdog: Timer | undefined;
  #queue: Queue | undefined;

  constructor(
    private readonly program: string,
    private readonly options: CliOptions,
    private readonly progress: Progress,
    private readonly take: () => { readonly queue: Queue; readonly work: Work } | undefined,
    private readonly failed: (queue: Queue) => void,
  ) {}

  /** Ends what it does for a scenario that failed often enough. */
  stop(queue: Queue): void {
    if (this.#queue === queue) this.#child?.send(STOP);
  }

  async run(): Promise<void> {
    for (let task = this.take(); task !== undefined; task = this.take())
      await this.#finish(task.queue, task.work);
    this.#child?.disconnect();
  }

  /** Runs the seeds of a piece of work; those that a hanging seed keeps from being run are run by the next process. */
  async #finish(queue: Queue, work: Work): Promise<void> {
    this.#queue = queue;
    let from = work.from;
    const end = work.from + work.count;
    while (from < end && queue.tally.failures < this.options.failures) {
      const lost = await this.#send(queue, { ...work, from, count: end - from }, (seed) => {
        from = seed + 1;
      });
      if (lost === undefined) return;
      const { name } = queue.scenario;
      queue.tally.failures++;
      const replay = replayCommand(name, from, this.options.onlyFaults);
      this.progress.failed(`${name}, seed ${String(from)}: ${lost}\n  replay: ${replay}`, undefined);
      from++;
    }
  }

  /** Resolves when the work is done, or to what became of the process instead. */
  #send(queue: Queue, work: Work, passed: (seed: number) => void): Promise<string | undefined> {
    const child = (this.#child ??= fork(this.program, ['--worker'], { execArgv: process.execArgv }));
    const { tally } = queue;
    return new Promise((resolve) => {
      const finish = (lost?: string): void => {
        this.#watchdog?.cancel();
        child.removeAllListeners();
        if (lost !== undefined) this.#child = undefined;
        resolve(lost);
      };
      const watch = (timeoutMs: number): void => {
        this.#watchdog?.cancel();
        this.#watchdog = systemRuntime.setTimer(timeoutMs, () => {
          finish(`did not end within ${String(timeoutMs / 1_000)} s`);
          child.kill('SIGKILL');
        });
      };
      child.on('error', (error) => {
        finish(`the process could not be used: ${error.message}`);
      });
      child.on('exit', (code, signal) => {
        finish(`ended the process (${signal ?? String(code)})`);
      });
      child.on('message', (message) => {
        const told = message as Told;
        if (told.type !== 'ready') watch(this.options.timeoutMs);
        if (told.type === 'done') finish();
        if (told.type !== 'seed') return;
        passed(told.seed);
        tally.seeds++;
        tally.steps += told.steps;
        tally.virtualMs += told.virtualMs;
        tally.faults += told.faults;
        tally.undecided += told.undecided;
        if (told.failure !== undefined) {
          tally.failures++;
          this.progress.failed(told.failure.text, told.failure.page, told.failure.hash);
          this.failed(queue);
        }
        this.progress.show();
      });
      // A process takes its time to start and to load the scenarios, and that is not the seed's.
      watch(Math.max(START_MS, this.options.timeoutMs));
      child.send(work);
    });
  }
}
