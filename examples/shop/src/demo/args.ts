import { parseArgs } from 'node:util';

/** What the demo was asked to do. */
export interface DemoOptions {
  /** How many orders are placed. */
  readonly orders: number;
  /** Seconds between two SIGKILLs; zero kills nobody. */
  readonly killEvery: number;
  /** Decides the orders, who is killed, and when. */
  readonly seed: number;
  /** A server to use instead of the embedded one. */
  readonly postgres: string | undefined;
  /** Keep everything running after the audit. */
  readonly keep: boolean;
}

/** A flag that cannot be honoured. The demo exits with 2. */
export class ArgumentError extends Error {}

/** Defaults of the flags that have a fixed one. */
export const DEFAULTS = { orders: 200, killEvery: 3 } as const;

export const USAGE = `Places orders through four services, kills the services while they work, and audits what is left.

  npm run demo -- [flags]

  --orders N        how many orders to place, 1 to 100000 (default ${String(DEFAULTS.orders)})
  --kill-every S    seconds between two SIGKILLs, 0 for none (default ${String(DEFAULTS.killEvery)})
  --seed S          an integer that decides the orders, who is killed and when (default: a new one, which is printed)
  --postgres URL    use this PostgreSQL server: four databases are created on it, and dropped at the end
  --keep            leave everything running after the audit, until Ctrl-C
  --help            print this

Exit codes: 0 the audit passed, 1 something broke, 2 a flag is wrong, 130 interrupted.
`;

/**
 * Reads the flags. `newSeed` provides a seed when none was given.
 * @throws {@link ArgumentError} that names the flag and what it accepts
 */
export function parseDemoArgs(argv: readonly string[], newSeed: () => number): DemoOptions | 'help' {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      allowPositionals: false,
      options: {
        orders: { type: 'string' },
        'kill-every': { type: 'string' },
        seed: { type: 'string' },
        postgres: { type: 'string' },
        keep: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    // Node's message names the flag and goes on with advice for positionals that does not apply here.
    throw new ArgumentError((error as Error).message.split('. ')[0] ?? 'unknown flag', { cause: error });
  }
  if (values.help === true) return 'help';
  return {
    orders: number('--orders', values.orders, DEFAULTS.orders, { min: 1, max: 100_000, integer: true }),
    killEvery: number('--kill-every', values['kill-every'], DEFAULTS.killEvery, { min: 0, max: 3600 }),
    seed: number('--seed', values.seed, undefined, { min: 0, max: 2 ** 32 - 1, integer: true }) ?? newSeed(),
    postgres: values.postgres === undefined ? undefined : postgresUrl(values.postgres),
    keep: values.keep === true,
  };
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly integer?: boolean;
}

function number<D extends number | undefined>(
  flag: string,
  text: string | undefined,
  fallback: D,
  { min, max, integer = false }: Bounds,
): number | D {
  if (text === undefined) return fallback;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < min || value > max || (integer && !Number.isInteger(value))) {
    const kind = integer ? 'an integer' : 'a number';
    throw new ArgumentError(
      `${flag} must be ${kind} from ${String(min)} to ${String(max)}, got ${JSON.stringify(text)}`,
    );
  }
  return value;
}

/** The address is never repeated in a message: it may hold a password. */
function postgresUrl(text: string): string {
  const protocol = URL.canParse(text) ? new URL(text).protocol : undefined;
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') {
    throw new ArgumentError(
      '--postgres must be an address such as postgres://user:password@host:5432/postgres',
    );
  }
  return text;
}
