import { runSeeds } from '@quorate/simulator';
import { counterScenario } from './toy.js';
import { registerScenario } from './register.js';

/** What the golden traces are of. */
const SCENARIOS = [
  counterScenario('none'),
  registerScenario('none', 'stream'),
  registerScenario('none', 'datagram'),
];

/** The trace of each seed, as a hash. */
export async function traceHashes(): Promise<Record<string, string[]>> {
  const hashes: Record<string, string[]> = {};
  for (const scenario of SCENARIOS) {
    const reports = await runSeeds(scenario, { from: 1, count: 8 });
    const failure = reports.at(-1)?.failure;
    if (failure !== undefined) throw failure as Error;
    hashes[scenario.name] = reports.map(({ hash }) => hash);
  }
  return hashes;
}
