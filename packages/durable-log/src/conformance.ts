import { type Check, CheckContext, type ConformancePlace } from './conformance/harness.js';
import { snapshotChecks } from './conformance/snapshots.js';
import { writeChecks } from './conformance/writes.js';

export type { ConformancePlace } from './conformance/harness.js';

/** The two functions that the kit needs of a test runner; those of `node:test`, Vitest, Jest and Mocha fit. */
export interface ConformanceRunner {
  describe(name: string, define: () => void): void;
  it(name: string, run: () => Promise<void>): void;
}

/** What {@link conformance} checks, and with what. */
export interface ConformanceOptions {
  /** The name under which the checks are shown. */
  readonly name: string;
  /** Makes a fresh, empty place for one check. */
  setup(): Promise<ConformancePlace>;
  readonly runner: ConformanceRunner;
  /**
   * Why this storage cannot be crashed here; then the checks that do are left out, and a check says so.
   * @defaultValue undefined: the place has `crash`
   */
  readonly crashImpossible?: string;
}

/**
 * Registers the checks that every `LogStorage` must pass: one `it` for each, in a `describe`. What they check is the
 * contract of `LogStorage`, word for word.
 */
export function conformance(options: ConformanceOptions): void {
  const { name, runner, crashImpossible } = options;
  runner.describe(`${name}: conformance of a log storage`, () => {
    for (const check of [...writeChecks, ...snapshotChecks]) {
      if (check.crashes !== true || crashImpossible === undefined) {
        runner.it(check.name, () => run(check, options));
      }
    }
    if (crashImpossible !== undefined) {
      runner.it(`cannot be crashed here: ${crashImpossible}`, async () => {
        const place = await options.setup();
        await place.teardown();
        if (place.crash !== undefined) {
          throw new Error(
            `${name} is declared impossible to crash (${crashImpossible}), but setup offers crash`,
          );
        }
      });
    }
  });
}

async function run(check: Check, options: ConformanceOptions): Promise<void> {
  const context = new CheckContext(await options.setup());
  try {
    await check.run(context);
  } finally {
    await context.end();
  }
}
