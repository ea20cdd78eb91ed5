import { systemRuntime } from '@quorate/runtime';

/** What was run of one scenario. */
export interface Tally {
  readonly name: string;
  seeds: number;
  steps: number;
  virtualMs: number;
  faults: number;
  undecided: number;
  failures: number;
}

/** How often progress is shown, in milliseconds: on a terminal, and in a log. */
const TERMINAL_MS = 100;
const LOG_MS = 10_000;

/** Shows how far the run is: one line that changes on a terminal, a line now and then in a log. */
export class Progress {
  readonly #started = systemRuntime.monotonic();
  readonly #terminal = process.stdout.isTTY;
  #shownAt = this.#started;

  constructor(
    private readonly tallies: readonly Tally[],
    private readonly seedsEach: number,
  ) {}

  show(): void {
    const now = systemRuntime.monotonic();
    if (now - this.#shownAt < (this.#terminal ? TERMINAL_MS : LOG_MS)) return;
    this.#shownAt = now;
    const sum = (of: (tally: Tally) => number): number => this.tallies.reduce((all, one) => all + of(one), 0);
    const [seeds, steps, failures] = [
      sum((one) => one.seeds),
      sum((one) => one.steps),
      sum((one) => one.failures),
    ];
    const total = this.seedsEach * this.tallies.length;
    const seconds = (now - this.#started) / 1_000;
    const left = seeds === 0 ? 0 : Math.max(0, ((total - seeds) * seconds) / seeds);
    const line =
      `${count(seeds)} of ${count(total)} seeds, ${count(steps / seconds)} events/s, ` +
      `${failures === 0 ? 'no violation' : `${count(failures)} failing`}, ${duration(left)} left`;
    if (this.#terminal) process.stdout.write(`\r\u001b[2K${line}`);
    else console.log(line);
  }

  failed(text: string, page: string | undefined, hash?: string): void {
    this.#clear();
    console.log(`FAIL ${text}`);
    if (hash !== undefined) console.log(`  trace: ${hash}`);
    if (page !== undefined) console.log(`  page: ${page}`);
  }

  end(): void {
    this.#clear();
    const width = Math.max(8, ...this.tallies.map(({ name }) => name.length));
    const seconds = (systemRuntime.monotonic() - this.#started) / 1_000;
    for (const { name, seeds, steps, virtualMs, faults, undecided, failures } of this.tallies) {
      console.log(
        `${failures === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(width)}  ${count(seeds)} seeds, ${count(steps)} events, ` +
          `${duration(virtualMs / 1_000)} of virtual time, ${count(faults)} faults, ` +
          `violations: ${failures === 0 ? 'none' : count(failures)}` +
          (undecided === 0 ? '' : `, ${count(undecided)} histories undecided`),
      );
    }
    const steps = this.tallies.reduce((sum, one) => sum + one.steps, 0);
    console.log(`in ${duration(seconds)}, ${count(steps / Math.max(seconds, 0.001))} events/s`);
  }

  #clear(): void {
    if (this.#terminal) process.stdout.write('\r\u001b[2K');
  }
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 7_200 ? `${String(Math.round(seconds / 60))} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
