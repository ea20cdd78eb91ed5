import type { ConsensusCore, MessageCodec } from '@quorate/replicated-log';
import { integerOption } from '@quorate/runtime';
import { checks } from './conformance/checks.js';
import type { CoreSetup } from './conformance/cluster.js';

export type { CoreSetup } from './conformance/cluster.js';

/** The two functions that the kit needs of a test runner; those of `node:test`, Vitest, Jest and Mocha fit. */
export interface ConformanceRunner {
  describe(name: string, define: () => void): void;
  it(name: string, run: () => void): void;
}

/** What {@link conformance} checks, and with what. */
export interface ConformanceOptions<M> {
  /** The name under which the checks are shown. */
  readonly name: string;
  /** Makes a core that forwards proposals and reads. It elects within 200 ticks where nothing fails. */
  createCore(setup: CoreSetup): ConsensusCore<M>;
  readonly codec: MessageCodec<M>;
  readonly runner: ConformanceRunner;
  /**
   * With so many seeds the check under faults is run.
   * @defaultValue 20
   */
  readonly seeds?: number;
  /**
   * The first seed.
   * @defaultValue 1
   */
  readonly firstSeed?: number;
}

/**
 * The checks that every core of a replicated log must pass: pure, in ticks, the same for the same seed. Defines one
 * test for each with the given runner. Whoever fails one of them loses or duplicates writes, answers stale reads, or
 * stands still where it should not.
 */
export function conformance<M>(options: ConformanceOptions<M>): void {
  const { name, codec, runner } = options;
  const seeds = integerOption('seeds', options.seeds ?? 20, { min: 1 });
  const firstSeed = integerOption('firstSeed', options.firstSeed ?? 1);
  const make = (setup: CoreSetup): ConsensusCore<M> => options.createCore(setup);
  runner.describe(name, () => {
    for (const check of checks) {
      const count = check.random === true ? seeds : 1;
      runner.it(check.name, () => {
        for (let seed = firstSeed; seed < firstSeed + count; seed++) {
          try {
            check.run(make, codec, seed);
          } catch (cause) {
            throw new Error(
              `with seed ${String(seed)}: ${cause instanceof Error ? cause.message : String(cause)}`,
              {
                cause,
              },
            );
          }
        }
      });
    }
  });
}
