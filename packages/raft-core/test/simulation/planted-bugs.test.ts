import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { createRaft as CreateRaft } from '@quorate/raft-core';
import { runSeeds } from '@quorate/simulator';
import { CALM, Cluster, type ClusterOptions, swarm, Violation } from './cluster.js';
import { stackScenarios } from './stack.scenario.js';

/**
 * A simulation is worth what it finds. Each of the five classic bugs (an entry of an old term that is committed, a vote
 * that is not synced, a read id that is used again, a quorum that is off by one, logs that are not compared) is planted
 * into a copy of the sources, or into the disk, and must be found within the stated number of seeds.
 */
interface Planted {
  readonly bug: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly seeds: number;
  readonly size: number;
  readonly found: RegExp;
  /** What the bug needs to show, where the swarm brings it about too rarely. */
  readonly weather?: Partial<ClusterOptions>;
}

const BUGS: readonly Planted[] = [
  {
    bug: 'a leader commits an entry of an old term by counting copies (Figure 8)',
    file: 'core/replication.ts',
    find: '|| log.term(reached) !== state.term) return;',
    replace: ') return;',
    seeds: 3_000,
    size: 3,
    found: /State Machine Safety|Leader Completeness/,
    weather: {
      faults: { ...CALM, loss: 0.5, maxDelay: 2, crashLeader: 0.3, maxDowntime: 20 },
      raft: {
        electionTicks: 3,
        preVote: false,
        checkQuorum: false,
        maxBytesPerMessage: 1,
        maxInflightMessages: 1,
      },
    },
  },
  {
    bug: 'a quorum is off by one',
    file: 'core/quorum.ts',
    find: 'return Math.floor(size / 2) + 1;',
    replace: 'return Math.ceil(size / 2) - (size > 3 ? 1 : 0);',
    seeds: 20,
    size: 5,
    found: /Election Safety|State Machine Safety|Leader Completeness/,
  },
  {
    bug: 'a voter does not compare logs (section 5.4.1)',
    file: 'core/log.ts',
    find: 'return lastTerm > own || (lastTerm === own && lastIndex >= this.last);',
    replace: 'return lastTerm >= own - own || lastIndex >= 0;',
    seeds: 50,
    size: 5,
    found: /Leader Completeness|State Machine Safety/,
  },
  {
    bug: 'a read id is used again: answers to earlier rounds count for a later one',
    file: 'core/replication.ts',
    find: 'if (message.round > progress.round) {\n    progress.round = message.round;',
    replace: 'if (message.round > 0) {\n    progress.round = state.reads.round;',
    seeds: 400,
    size: 3,
    found: /read .* got index/,
    weather: {
      faults: { ...CALM, maxDelay: 5, stragglers: 0.3, isolateLeader: 0.03, heal: 0.05 },
      raft: { electionTicks: 5, preVote: false, checkQuorum: false },
    },
  },
];

/** A bug that this implementation had: configurations take effect when they are applied. */
const OWN: readonly Planted[] = [
  {
    bug: 'the commit index is not written along with entries, so that a restart forgets a configuration',
    file: 'core/state.ts',
    find: '(entries.length > 0 && this.log.commit > this.persistedCommit);',
    replace: 'false;',
    seeds: 300,
    size: 7,
    found: /Election Safety|State Machine Safety|Leader Completeness|no progress/,
    weather: {
      faults: {
        ...CALM,
        loss: 0.1,
        maxDelay: 3,
        crash: 0.1,
        maxDowntime: 10,
        membership: 0.1,
        transfer: 0.03,
      },
      raft: { electionTicks: 5 },
    },
  },
];

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(root, '.planted-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A copy of the sources with the bug in it. */
async function plant({ file, find, replace }: Planted, name: string): Promise<typeof CreateRaft> {
  const copy = join(folder, name);
  cpSync(join(root, 'src'), copy, { recursive: true });
  const source = readFileSync(join(copy, file), 'utf8');
  expect(source.split(find), 'the line to plant the bug in').toHaveLength(2);
  writeFileSync(join(copy, file), source.replace(find, replace));
  const { createRaft } = (await import(join(copy, 'index.ts'))) as { createRaft: typeof CreateRaft };
  return createRaft;
}

/** Runs seeds until one reports a violation. */
function firstFinding(
  create: typeof CreateRaft,
  { seeds, size, weather }: Pick<Planted, 'seeds' | 'size' | 'weather'>,
  forgetVotes = false,
): { seed: number; message: string } | undefined {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      new Cluster({ seed, size, ...swarm(seed, size > 5), ...weather, create, forgetVotes }).run(400);
    } catch (error) {
      if (!(error instanceof Violation)) return { seed, message: String(error) };
      return { seed, message: error.message };
    }
  }
  return undefined;
}

describe('planted bugs are found', () => {
  it.each([...BUGS, ...OWN].map((planted, at) => [planted.bug, planted.seeds, planted, at] as const))(
    '%s: within %i seeds',
    async (_bug, _seeds, planted, at) => {
      const createRaft = await plant(planted, String(at));
      const finding = firstFinding(createRaft, planted);
      expect(finding?.message).toMatch(planted.found);
      console.log(
        `${planted.bug}: seed ${String(finding?.seed)}: ${String(finding?.message.split('\n')[0])}`,
      );
    },
  );

  it('a vote is not synced before it is given: within 200 seeds', async () => {
    const { createRaft } = await import('@quorate/raft-core');
    const finding = firstFinding(createRaft, { seeds: 200, size: 3 }, true);
    expect(finding?.message).toMatch(/Election Safety|State Machine Safety|Leader Completeness/);
    console.log(
      `skipped vote sync: seed ${String(finding?.seed)}: ${String(finding?.message.split('\n')[0])}`,
    );
  });
});

describe('the whole stack finds a planted bug too', () => {
  it.each([
    ['a quorum', 'raft-5', 10, /Election Safety|State Machine Safety|Leader Completeness/],
    ['a voter', 'raft-5', 20, /State Machine Safety|Leader Completeness/],
    ['a read id', 'raft-3', 60, /Linearizable reads|linearizable/],
  ])('%s, in %s: within %i seeds', async (bug, name, count, found) => {
    const planted = BUGS.find((one) => one.bug.startsWith(bug));
    if (planted === undefined) throw new Error(`no bug begins with ${bug}`);
    const createRaft = await plant(planted, `stack-${name}-${String(count)}`);
    const scenario = stackScenarios(createRaft).find((one) => one.name === name);
    if (scenario === undefined) throw new Error(`no scenario ${name}`);
    const last = (await runSeeds(scenario, { from: 1, count })).at(-1);
    expect(String(last?.failure)).toMatch(found);
    console.log(`${planted.bug}: ${name}, seed ${String(last?.seed)}: ${String(last?.failure)}`);
  });
});
