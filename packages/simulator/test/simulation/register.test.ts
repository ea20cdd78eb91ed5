import { checkSeeds, runSeed, runSeeds, ViolationError } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { type RegisterBug, registerScenario } from './register.js';

/** Each bug, the network, within how many seeds it must be found, and the first seed that finds it. */
const BUGS: readonly (readonly [RegisterBug, 'stream' | 'datagram', number, number])[] = [
  ['quorum-off-by-one', 'stream', 50, 10],
  ['quorum-off-by-one', 'datagram', 50, 10],
  ['no-write-back', 'datagram', 200, 35],
  ['ack-before-sync', 'stream', 200, 52],
  ['no-tie-break', 'stream', 50, 6],
  ['forgets-on-restart', 'stream', 50, 5],
];

describe('a register on five replicas', () => {
  it.each(['stream', 'datagram'] as const)(
    'is linearizable over a network of %ss, and goes on',
    async (kind) => {
      const reports = await checkSeeds(registerScenario('none', kind), { from: 1, count: 60 });
      expect(reports.filter(({ undecided }) => undecided.length > 0)).toEqual([]);
      expect(reports.flatMap(({ faults }) => faults.filter(({ began }) => began)).length).toBeGreaterThan(
        600,
      );
    },
  );

  it.each(BUGS)(
    'is found out when it has the bug %s over a network of %ss, within %i seeds',
    async (bug, kind, count, seed) => {
      const scenario = registerScenario(bug, kind);
      const last = (await runSeeds(scenario, { from: 1, count })).at(-1);
      expect(last?.seed).toBe(seed);
      expect(last?.failure).toBeInstanceOf(ViolationError);
      expect((last?.failure as ViolationError).invariant).toBe('linearizability');
      expect(await runSeed(scenario, seed)).toEqual(last);
      // It is the bug that fails there.
      await checkSeeds(registerScenario('none', kind), { from: seed, count: 1 });
    },
  );
});
