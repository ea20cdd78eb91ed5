import { checkSeeds } from '@quorate/simulator';
import { scenarios, totals } from './raft-locks.scenario.js';

/** Runs seeds of a scenario, those of the environment if it names any, and prints what they did. */
export async function checkLocks(name: string, seeds: number): Promise<void> {
  const scenario = scenarios.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  const from = Number(process.env['SEED'] ?? 1);
  const count = Number(process.env['SEEDS'] ?? seeds);
  const reports = await checkSeeds(scenario, { from, count });
  const steps = reports.reduce((sum, one) => sum + one.steps, 0);
  console.log(`${name}: ${String(reports.length)} seeds, ${String(steps)} events, ${JSON.stringify(totals)}`);
}
