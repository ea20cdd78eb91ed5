import { runSeed, runSeeds, ViolationError } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { counterScenario } from './toy.js';

describe('a counter over the simulated network and disk', () => {
  it('holds its promise for 500 seeds when it is written rightly', async () => {
    const reports = await runSeeds(counterScenario('none'), { from: 1, count: 500 });
    expect(reports.at(-1)?.failure).toBeUndefined();
    expect(reports).toHaveLength(500);
  });

  it.each(['ack-before-sync', 'lost-update'] as const)('finds %s within 20 seeds', async (planted) => {
    const last = (await runSeeds(counterScenario(planted), { from: 1, count: 20 })).at(-1);
    expect(last?.failure).toBeInstanceOf(ViolationError);
    // The violation and the way to it are the same every time.
    expect(await runSeed(counterScenario(planted), last?.seed ?? 0)).toEqual(last);
  });

  it('goes the way that it went on other machines and releases of Node', async () => {
    const { hash } = await runSeed(counterScenario('none'), 1);
    expect(hash).toBe('439a3abd2aaa319a');
  });

  it('goes different ways for different seeds', async () => {
    const reports = await runSeeds(counterScenario('none'), { from: 1, count: 50 });
    expect(new Set(reports.map(({ hash }) => hash)).size).toBe(50);
  });
});
