import { checkSeeds } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { scenarios } from './stack.scenario.js';

const SEEDS = 250;

/** Runs the same seeds every time; `npm run simulate -- --scenario raft-3 --seeds 10000` runs more. */
describe('the whole stack under faults', () => {
  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    `%s: ${String(SEEDS)} seeds`,
    async (name, scenario) => {
      const reports = await checkSeeds(scenario, { from: 1, count: SEEDS });
      const sum = (of: (report: (typeof reports)[number]) => number): string =>
        String(reports.reduce((total, report) => total + of(report), 0));
      expect(reports.flatMap(({ undecided }) => undecided)).toEqual([]);
      console.log(
        `${name}: ${String(reports.length)} seeds, ${sum(({ faults }) => faults.length)} faults, ${sum(({ steps }) => steps)} events, ${sum(({ virtualMs }) => virtualMs / 1_000)} virtual seconds`,
      );
    },
  );
});
