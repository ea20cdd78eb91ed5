import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

export const HELP = `quorate-simulate [FILE or FOLDER ...] [options]

Runs scenarios with many seeds, in parallel. A scenario file is named *.scenario.ts (or .mts, .js, .mjs) and exports
\`scenarios\`, an array. Without files, all below the working directory are found. TypeScript needs Node 22.18 or newer,
or a loader: node --import tsx node_modules/.bin/quorate-simulate

  --seeds N          how many seeds to run, each of every scenario   (100)
  --from N           the first seed                                  (1)
  --seed N           this seed alone
  --scenario NAME    this scenario alone; may be repeated
  --faults 3,7       only these faults of the seed, by number; "none" for none
  --jobs N           how many processes                              (one per core)
  --failures N       after how many failing seeds a scenario stops   (1)
  --timeout S        seconds after which a seed that does not end fails (120)
  --no-shrink        report failing seeds as they are
  --shrink-timeout S seconds to spend on making one smaller          (60)
  --out FOLDER       where pages of failing seeds are written        (simulation-failures)
  --list             the names of the scenarios
  --help`;

/** The arguments make no sense; the message says which. */
export class UsageError extends Error {}

export interface CliOptions {
  readonly help: boolean;
  readonly list: boolean;
  readonly files: readonly string[];
  readonly scenarios: readonly string[];
  readonly from: number;
  readonly count: number;
  readonly onlyFaults: readonly number[] | undefined;
  readonly jobs: number;
  readonly failures: number;
  readonly timeoutMs: number;
  readonly shrink: boolean;
  readonly shrinkMs: number;
  readonly out: string;
}

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

export function parseArguments(args: readonly string[]): CliOptions {
  const { values, positionals } = parsed(args);
  const number = (
    name: 'seeds' | 'from' | 'seed' | 'jobs' | 'failures' | 'timeout' | 'shrink-timeout',
    or: number,
    min: number,
  ): number => {
    const given = values[name];
    if (given === undefined) return or;
    const value = Number(given);
    if (given.trim() === '' || !Number.isSafeInteger(value) || value < min) {
      throw new UsageError(
        `--${name} must be an integer of at least ${String(min)}, got ${JSON.stringify(given)}`,
      );
    }
    return value;
  };
  if (values.seed !== undefined && (values.seeds !== undefined || values.from !== undefined)) {
    throw new UsageError('--seed runs one seed: give it without --seeds and --from');
  }
  const onlyFaults = faultNumbers(values.faults);
  if (onlyFaults !== undefined && values.seed === undefined) {
    throw new UsageError('--faults are those of one seed: give it with --seed');
  }
  return {
    help: values.help === true,
    list: values.list === true,
    files: positionals,
    scenarios: values.scenario ?? [],
    from:
      values.seed === undefined
        ? number('from', 1, Number.MIN_SAFE_INTEGER)
        : number('seed', 1, Number.MIN_SAFE_INTEGER),
    count: values.seed === undefined ? number('seeds', 100, 1) : 1,
    onlyFaults,
    jobs: number('jobs', availableParallelism(), 1),
    failures: number('failures', 1, 1),
    timeoutMs: number('timeout', 120, 1) * 1_000,
    shrink: values['no-shrink'] !== true && onlyFaults === undefined,
    shrinkMs: number('shrink-timeout', 60, 0) * 1_000,
    out: values.out ?? 'simulation-failures',
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        seeds: text,
        from: text,
        seed: text,
        scenario: { ...text, multiple: true },
        faults: text,
        jobs: text,
        failures: text,
        timeout: text,
        'no-shrink': flag,
        'shrink-timeout': text,
        out: text,
        list: flag,
        help: flag,
      },
    });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
  }
}

function faultNumbers(given: string | undefined): number[] | undefined {
  if (given === undefined) return undefined;
  if (given === 'none') return [];
  return given.split(',').map((one) => {
    const value = Number(one);
    if (one.trim() === '' || !Number.isSafeInteger(value) || value < 1) {
      throw new UsageError(`--faults must be numbers such as 3,7 or "none", got ${JSON.stringify(given)}`);
    }
    return value;
  });
}
