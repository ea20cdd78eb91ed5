import { runSeeds } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { checkLocks } from './check-locks.js';
import { lockScenario } from './raft-locks.scenario.js';

/** Those of three nodes under faults have a file of their own, so that the two run beside each other. */
const COUNTS: Readonly<Record<string, number>> = {
  'locks-raft-5': 250,
  // Among them 205, in which an upgrade is answered when its holder has released already.
  'locks-raft-order': 400,
};

describe('locks on raft under faults', () => {
  it.each(Object.entries(COUNTS))('%s', (name, count) => checkLocks(name, count));

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
