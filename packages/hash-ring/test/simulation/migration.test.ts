import { runSeed, runSeeds } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { counts, scenarios } from './migration.scenario.js';

const FROM = Number(process.env['SEED'] ?? 1);
const COUNT = process.env['SEED'] === undefined ? 150 : 1;

const [migration] = scenarios;

describe('a migration while clients go on, the coordinator crashes and a node dies', () => {
  it('loses no write, moves what it must, and repeats only what was under way', async () => {
    const last = (await runSeeds(migration, { from: FROM, count: COUNT })).at(-1);
    if (last?.failure !== undefined) {
      const replay = `SEED=${String(last.seed)} npm test -- packages/hash-ring/test/simulation/migration.test.ts`;
      throw new Error(`seed ${String(last.seed)} failed; replay it with: ${replay}`, { cause: last.failure });
    }
    // Every hard case occurred, or the run proves less than it says.
    if (COUNT > 1) for (const count of Object.values(counts)) expect(count).toBeGreaterThan(10);
  });

  it('goes the same way for the same seed', async () => {
    const [one, other] = [await runSeed(migration, FROM), await runSeed(migration, FROM)];
    expect(one.hash).toBe(other.hash);
  });
});
