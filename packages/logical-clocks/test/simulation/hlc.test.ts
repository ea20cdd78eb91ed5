import { type Runtime, seededRandom, sleep } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it } from 'vitest';
import {
  compareHlc,
  type Hlc,
  HlcBoundError,
  HlcDriftError,
  openHlc,
  type PersistedHlcClock,
} from '@quorate/logical-clocks';
import { item } from '../executions.js';

const NODES = ['a', 'b', 'c', 'd'];
const MAX_DRIFT_MS = 5000;
const BLOCK_MS = 400;

/**
 * Four nodes whose wall clocks are skewed and jump by up to a second either way. They exchange messages that are
 * delayed and reordered; their stores take their time, fail, and lose what was not saved yet in a crash; nodes crash
 * and come back with whatever their wall clock says then.
 */
async function simulate(seed: number) {
  const runtime = createVirtualRuntime({ seed });
  const random = seededRandom(seed);
  const upTo = (max: number) => Math.floor(random() * max);
  const counts = { stamps: 0, crashes: 0, drift: 0, bound: 0, lagged: 0 };

  const nodes = NODES.map((node) => {
    const disk: { bound: number | undefined } = { bound: undefined };
    const state = { node, skew: upTo(1000) - 500, life: 0, disk, highest: undefined as Hlc | undefined };
    const wall: Pick<Runtime, 'now' | 'setTimer'> = {
      now: () => runtime.now() + state.skew,
      setTimer: (delayMs, run) => runtime.setTimer(delayMs, run),
    };
    const open = async (): Promise<PersistedHlcClock> => {
      const life = ++state.life;
      return openHlc({
        node,
        runtime: wall,
        maxDriftMs: MAX_DRIFT_MS,
        blockMs: BLOCK_MS,
        store: {
          load: () => Promise.resolve(disk.bound),
          async save(boundMs) {
            await sleep(runtime, random() < 0.1 ? upTo(1000) : upTo(10));
            if (life === state.life && random() < 0.05) throw new Error('the disk failed');
            // A crash leaves the save of the former life undone.
            if (life === state.life) disk.bound = boundMs;
          },
        },
      });
    };
    return { state, wall, open, clock: undefined as PersistedHlcClock | undefined };
  });
  type Node = (typeof nodes)[number];

  const stamp = ({ state, wall, clock }: Node, received?: Hlc): Hlc | undefined => {
    if (clock === undefined) return undefined;
    const before = clock.last;
    try {
      const time = received === undefined ? clock.now() : clock.observe(received);
      counts.stamps++;
      if (received !== undefined) expect(compareHlc(time, received)).toBeGreaterThan(0);
      if (state.highest !== undefined) expect(compareHlc(time, state.highest)).toBeGreaterThan(0);
      expect(time.wall).toBeLessThanOrEqual(state.disk.bound ?? -1);
      expect(time.wall).toBeGreaterThanOrEqual(wall.now() - MAX_DRIFT_MS);
      if (time.wall < wall.now()) counts.lagged++;
      state.highest = time;
      return time;
    } catch (error) {
      if (error instanceof HlcDriftError) counts.drift++;
      else if (error instanceof HlcBoundError) counts.bound++;
      else throw error;
      expect(clock.last).toEqual(before);
      return undefined;
    }
  };
  const start = async (node: Node): Promise<void> => {
    for (;;) {
      try {
        node.clock = await node.open();
        return;
      } catch (error) {
        if (
          !(error instanceof HlcDriftError) &&
          !(error instanceof Error && error.message === 'the disk failed')
        )
          throw error;
        await sleep(runtime, 100);
      }
    }
  };
  let failure: unknown;
  const guarded = async (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => void (failure ??= error));

  const live = async (node: Node): Promise<void> => {
    await start(node);
    for (let step = 0; step < 150; step++) {
      await sleep(runtime, upTo(30));
      const dice = random();
      if (dice < 0.02) {
        counts.crashes++;
        node.clock = undefined;
        await sleep(runtime, upTo(300));
        node.state.skew += upTo(2000) - 1000;
        await start(node);
      } else if (dice < 0.04) node.state.skew = upTo(2000) - 1000;
      else if (dice < 0.05) await node.clock?.ready().catch(() => undefined);
      else {
        const time = stamp(node);
        const to = item(nodes, upTo(nodes.length));
        const delivery = sleep(runtime, upTo(200)).then(() => {
          // One message in a hundred comes from a machine that lives in another year.
          if (time !== undefined) stamp(to, random() < 0.01 ? { ...time, wall: time.wall + 3e10 } : time);
        });
        void guarded(delivery);
      }
    }
    node.clock = undefined;
  };
  const lives = Promise.all(nodes.map((node) => guarded(live(node))));
  let done = false;
  void lives.then(() => (done = true));
  await runtime.runUntil(() => done);
  if (failure !== undefined) throw failure as Error;
  return counts;
}

describe('persisted hybrid logical clocks with skewed and jumping wall clocks, slow disks and crashes', () => {
  it('never go back, never pass the persisted bound, and always follow what they observed', async () => {
    const totals = { stamps: 0, crashes: 0, drift: 0, bound: 0, lagged: 0 };
    const from = Number(process.env['SEED'] ?? 1);
    const count = process.env['SEED'] === undefined ? 60 : 1;
    for (let seed = from; seed < from + count; seed++) {
      try {
        const counts = await simulate(seed);
        for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += counts[key];
      } catch (cause) {
        const replay = `SEED=${seed} npm test -- packages/logical-clocks/test/simulation/hlc.test.ts`;
        throw new Error(`seed ${seed} failed; replay it with: ${replay}`, { cause });
      }
    }
    // Every hard case occurred, or the run proves less than it says.
    if (count > 1) for (const total of Object.values(totals)) expect(total).toBeGreaterThan(10);
  });
});
