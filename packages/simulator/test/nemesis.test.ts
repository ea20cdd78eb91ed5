import {
  checkSeeds,
  type FaultKind,
  nemesis,
  replayCommand,
  runSeed,
  runSeeds,
  type Scenario,
  ScenarioFailedError,
  shrink,
  Simulation,
  twoPhases,
  ViolationError,
} from '@quorate/simulator';
import { describe, expect, it } from 'vitest';

function three(seed: number, onlyFaults?: readonly number[]): Simulation {
  const simulation = new Simulation({ seed, ...(onlyFaults !== undefined && { onlyFaults }) });
  for (const id of ['a', 'b', 'c']) simulation.node(id, () => undefined);
  return simulation;
}

/** Fails where node a is down while the network is cut, and so needs two faults of some dozens. */
const needsTwo: Scenario = {
  name: 'needs-two',
  async run(simulation) {
    for (const id of ['a', 'b', 'c'])
      simulation.node(id, ({ link }) => link.start({ frame: nothing, up: nothing, down: nothing }));
    let cut = false;
    const partition: FaultKind = {
      name: 'cut',
      draw: () => ({
        name: 'cut',
        begin() {
          cut = true;
          return () => (cut = false);
        },
      }),
    };
    simulation.invariant('not both', () =>
      cut && simulation.nodes.get('a')?.up === false ? 'a is down and cut off' : undefined,
    );
    nemesis(simulation, {
      durationMs: 2_000,
      faults: ['crash', 'pause', 'clog', 'delay', 'disk-slow', partition],
      swarm: false,
    });
    await simulation.runFor(3_000);
  },
};
const nothing = (): void => undefined;

describe('nemesis', () => {
  it('draws the same faults from the same seed, and others from another', () => {
    const drawn = (seed: number): unknown => {
      const simulation = three(seed);
      return [nemesis(simulation, { durationMs: 1_000 }), simulation.faults];
    };
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(1)).not.toEqual(drawn(2));
  });

  it('leaves out each kind of fault in some runs and has each in others', () => {
    const seen = new Map<string, number>();
    for (let seed = 1; seed <= 100; seed++) {
      for (const kind of nemesis(three(seed), { durationMs: 1_000 }))
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).toEqual([
      'bridge',
      'clock-drift',
      'clock-jump',
      'clog',
      'crash',
      'delay',
      'disk-error',
      'disk-full',
      'disk-slow',
      'isolate',
      'kill',
      'partition',
      'pause',
      'reset',
      'sync-error',
    ]);
    for (const runs of seen.values()) expect(Math.abs(runs - 50)).toBeLessThan(25);
  });

  it('draws delays from what is usual, so that those that overlap do not multiply', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const simulation = three(seed);
      nemesis(simulation, { durationMs: 2_000, faults: ['delay'], swarm: false });
      const usual = simulation.network.usualFaults.maxDelayMs;
      let most = 0;
      simulation.invariant('bounded', () => {
        most = Math.max(most, simulation.network.faults.maxDelayMs);
        return most > 50 * usual ? `delays of ${String(most)} ms` : undefined;
      });
      simulation.node('ticker', ({ runtime }) => {
        const again = (): void => void runtime.setTimer(10, again);
        again();
      });
      await simulation.runFor(2_000);
      expect(most).toBeGreaterThan(usual);
    }
  });

  it('leaves the other faults as they are when one is left out, also those of a second nemesis', () => {
    const drawn = (only?: readonly number[]) => {
      const simulation = three(5, only);
      nemesis(simulation, { durationMs: 1_000 });
      nemesis(simulation, { durationMs: 1_000 });
      return simulation.faults;
    };
    const all = drawn();
    const odd = all.filter(({ id }) => id % 2 === 1);
    expect(drawn(odd.map(({ id }) => id))).toEqual(odd);
    expect(all.length).toBeGreaterThan(odd.length);
  });

  it('hits the target more often, takes no more down than it may, and ends all when it heals', async () => {
    let hits = 0;
    let crashes = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const simulation = three(seed);
      nemesis(simulation, {
        durationMs: 1_000,
        faults: ['crash', 'kill'],
        swarm: false,
        maxDown: 1,
        target: () => 'b',
      });
      const down = (): number => [...simulation.nodes.values()].filter(({ up }) => !up).length;
      simulation.invariant('one down', () => (down() > 1 ? 'two are down' : undefined));
      await simulation.runFor(1_000);
      simulation.heal();
      expect(down()).toBe(0);
      await simulation.runFor(1_000);
      expect(down()).toBe(0);
      const began = simulation.faults.filter((fault) => fault.began);
      crashes += began.length;
      hits += began.filter(({ name }) => name.endsWith(' b')).length;
    }
    expect(hits / crashes).toBeGreaterThan(0.45);
    expect(hits / crashes).toBeLessThan(0.7);
  });

  it('refuses nodes and faults that there are not', () => {
    expect(() => nemesis(three(1), { durationMs: 1, nodes: ['d'] })).toThrow('INVALID_OPTION: nodes');
    expect(() => nemesis(three(1), { durationMs: 1, faults: ['earthquake' as 'crash'] })).toThrow(
      'INVALID_OPTION: faults',
    );
  });
});

describe('shrink', () => {
  it('finds the two faults that it takes, and the run with them alone is the same every time', async () => {
    const failed = (await runSeeds(needsTwo, { from: 1, count: 50 })).at(-1);
    if (failed?.failure === undefined) throw new Error('nothing failed');
    expect(failed.faults.length).toBeGreaterThan(10);
    const { report, onlyFaults, runs } = await shrink(needsTwo, failed);
    expect(
      report.faults
        .filter(({ began }) => began)
        .map(({ name }) => name.split(' ')[0])
        .toSorted(),
    ).toEqual(['crash', 'cut']);
    expect(runs).toBeLessThan(200);
    const again = await runSeed(needsTwo, failed.seed, { onlyFaults: onlyFaults ?? [] });
    expect(again).toEqual(report);
  });

  it('stops after the runs that it may make', async () => {
    const failed = (await runSeeds(needsTwo, { from: 1, count: 50 })).at(-1);
    if (failed === undefined) throw new Error('nothing ran');
    expect((await shrink(needsTwo, failed, { maxRuns: 3 })).runs).toBe(3);
  });

  it('is what checkSeeds reports, with the command that replays it', async () => {
    const error = await checkSeeds(needsTwo, { from: 1, count: 50 }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ScenarioFailedError);
    const { message, replay } = error as ScenarioFailedError;
    expect(message).toContain('a is down and cut off');
    expect(message).toContain('with 2 faults:');
    expect(message).toContain(`replay: ${replay}`);
    expect(replay).toMatch(/--scenario needs-two --seed \d+ --faults \d+,\d+$/);
    expect(replayCommand('s', 7, [], 'run')).toBe('run --scenario s --seed 7 --faults none');
  });
});

describe('two phases', () => {
  const phases = (progress: () => boolean | Promise<unknown>) => {
    const simulation = three(1);
    simulation.nodes.get('a')?.crash();
    for (let atMs = 0; atMs < 1_000; atMs += 10) simulation.after(atMs, nothing);
    return twoPhases(simulation, { faultsMs: 100, withinMs: 500, progress }).then(() => simulation);
  };

  it('heal before progress is asked for, and wait for it', async () => {
    let asked = 0;
    const simulation = await phases(() => ++asked > 3);
    expect(simulation.nodes.get('a')?.up).toBe(true);
    await phases(() => Promise.resolve());
  });

  it('report no progress, and progress that fails', async () => {
    const simulation = three(1);
    simulation.after(10_000, nothing);
    await expect(twoPhases(simulation, { faultsMs: 1, withinMs: 50, progress: () => false })).rejects.toThrow(
      /progress: not within 50 ms/,
    );
    await expect(phases(() => Promise.reject(new Error('no quorum')))).rejects.toThrow(
      /failed after everything was healed: no quorum/,
    );
  });

  it('end a run that makes no end', async () => {
    const simulation = new Simulation({ seed: 1, maxSteps: 1_000 });
    simulation.node('n', ({ runtime }) => {
      const again = (): void => void runtime.setTimer(0, again);
      again();
    });
    await expect(simulation.runFor(1)).rejects.toThrow(ViolationError);
  });
});
