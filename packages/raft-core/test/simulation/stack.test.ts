import { runSeeds } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { scenarios } from './stack.scenario.js';

describe('the whole stack under faults', () => {
  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))('%s', async (name, scenario) => {
    const from = Number(process.env['SEED'] ?? 1);
    const count = Number(process.env['SEEDS'] ?? 100);
    const reports = await runSeeds(scenario, { from, count });
    const last = reports.at(-1);
    const replay = `SEED=${String(last?.seed)} SEEDS=1 npx vitest run --project simulation packages/raft-core -t '${name}'`;
    expect(last?.failure, replay).toBeUndefined();
    const steps = reports.reduce((sum, one) => sum + one.steps, 0);
    console.log(`${name}: ${String(reports.length)} seeds, ${String(steps)} events`);
  });
});
