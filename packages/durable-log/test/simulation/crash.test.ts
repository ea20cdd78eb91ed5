import { describe, expect, it } from 'vitest';
import { crashRun } from '../support/crash-run.js';

const SEEDS = Number(process.env['DURABLE_LOG_SEEDS'] ?? 600);
const FIRST = Number(process.env['DURABLE_LOG_FIRST_SEED'] ?? 1);

describe('a crash at any step of the disk', () => {
  it('keeps what was acknowledged, and a prefix of the calls, through lost, torn and reordered sectors', async () => {
    let crashes = 0;
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      crashes += await crashRun({ seed, lives: 5 }).catch((error: unknown) => {
        throw new Error(`seed ${String(seed)}: DURABLE_LOG_FIRST_SEED=${String(seed)} DURABLE_LOG_SEEDS=1`, {
          cause: error,
        });
      });
    }
    expect(crashes).toBeGreaterThan(SEEDS);
  });
});
