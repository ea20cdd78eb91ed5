import { describe, expect, it } from 'vitest';
import { createRaft } from '@quorate/raft-core';
import { Cluster, swarm } from './cluster.js';

const totals = {
  crashes: 0,
  elections: 0,
  snapshots: 0,
  reads: 0,
  proposals: 0,
  memberships: 0,
  restored: 0,
};

function run(seed: number, size: number, membership: boolean): void {
  const cluster = new Cluster({
    seed,
    size,
    ...swarm(seed, membership),
    create: createRaft,
  });
  try {
    cluster.run(400);
  } catch (error) {
    throw new Error(`seed ${String(seed)}, ${String(size)} nodes, membership ${String(membership)}`, {
      cause: error,
    });
  }
  for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += cluster.counts[key];
}

describe('raft under faults', () => {
  it.each([
    [3, false],
    [5, false],
    [5, true],
    [7, true],
  ])('%i nodes, membership changes %s', (size, membership) => {
    const from = Number(process.env['SEED'] ?? 1);
    const seeds = Number(process.env['SEEDS'] ?? 400);
    for (let seed = from; seed < from + seeds; seed++) run(seed, size, membership);
    console.log(JSON.stringify(totals));
    expect(totals.crashes).toBeGreaterThan(0);
  });
});
