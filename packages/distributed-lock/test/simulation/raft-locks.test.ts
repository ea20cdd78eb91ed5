import { checkSeeds, runSeeds } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { lockScenario, scenarios, totals } from './raft-locks.scenario.js';

const COUNTS: Readonly<Record<string, number>> = {
  'locks-raft-3': 500,
  'locks-raft-5': 100,
  'locks-raft-order': 150,
};

describe('locks on raft under faults', () => {
  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))('%s', async (name, scenario) => {
    const from = Number(process.env['SEED'] ?? 1);
    const count = Number(process.env['SEEDS'] ?? COUNTS[name]);
    const reports = await checkSeeds(scenario, { from, count });
    const steps = reports.reduce((sum, one) => sum + one.steps, 0);
    console.log(
      `${name}: ${String(reports.length)} seeds, ${String(steps)} events, ${JSON.stringify(totals)}`,
    );
  });

  // What the scenarios would not see proves nothing.
  it('a node whose clock counts leases too fast is found', async () => {
    const scenario = lockScenario({
      name: 'locks-fast-observer',
      nodes: 3,
      network: 'stream',
      planted: {
        driftRatio: 0.01,
        observer: (runtime) => ({
          now: () => runtime.now(),
          monotonic: () => runtime.monotonic() * 3,
          random: () => runtime.random(),
          randomBytes: (size) => runtime.randomBytes(size),
          setTimer: (delayMs, run, options) => runtime.setTimer(delayMs / 3, run, options),
        }),
      },
    });
    const reports = await runSeeds(scenario, { from: 1, count: 50 });
    expect(String(reports.at(-1)?.failure)).toMatch(/mutual exclusion/);
  });
});
