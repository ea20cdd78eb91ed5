import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sleep } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';

describe('virtual time', () => {
  it('runs timers in the order of their times, and those of one instant as they were set', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(20), { maxLength: 60 }), async (delays) => {
        const runtime = createVirtualRuntime();
        const ran: { delay: number; index: number }[] = [];
        delays.forEach((delay, index) => {
          runtime.setTimer(delay, () => {
            expect(runtime.monotonic()).toBe(delay);
            ran.push({ delay, index });
          });
        });
        await runtime.advance(20);
        expect(ran).toEqual(
          delays
            .map((delay, index) => ({ delay, index }))
            .sort((a, b) => a.delay - b.delay || a.index - b.index),
        );
        expect(runtime.pendingTimers).toBe(0);
      }),
    );
  });

  it('lets promise callbacks run between timers, and timers set timers', async () => {
    const runtime = createVirtualRuntime();
    const ticks: number[] = [];
    const loop = (async () => {
      while (ticks.length < 3) {
        await sleep(runtime, 10);
        await Promise.resolve();
        ticks.push(runtime.monotonic());
      }
    })();
    await runtime.advance(30);
    await loop;
    expect(ticks).toEqual([10, 20, 30]);
  });

  it('cancels once, and forgets', async () => {
    const runtime = createVirtualRuntime();
    const timer = runtime.setTimer(5, () => expect.unreachable());
    timer.cancel();
    timer.cancel();
    expect(runtime.pendingTimers).toBe(0);
    const ran = runtime.setTimer(1, () => {});
    await runtime.advance(10);
    ran.cancel();
    expect(runtime.pendingTimers).toBe(0);
  });

  it('moves the wall clock without touching the monotonic one', async () => {
    const runtime = createVirtualRuntime({ startMs: 1000 });
    await runtime.advance(50);
    runtime.jumpWallClock(-500);
    expect(runtime.now()).toBe(550);
    expect(runtime.monotonic()).toBe(50);
  });

  it('runUntil stops when the condition holds, and says why it cannot', async () => {
    const runtime = createVirtualRuntime();
    let fired = false;
    runtime.setTimer(7, () => (fired = true));
    await runtime.runUntil(() => fired);
    expect(runtime.monotonic()).toBe(7);
    await expect(runtime.runUntil(() => false)).rejects.toThrow('no timer is left');
    const again = (): void => void runtime.setTimer(10, again);
    again();
    await expect(runtime.runUntil(() => false, 100)).rejects.toThrow('100 ms of virtual time passed');
  });

  it('repeats itself from a seed', () => {
    const draw = (seed: number): unknown => {
      const runtime = createVirtualRuntime({ seed });
      return [runtime.random(), [...runtime.randomBytes(8)]];
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });
});
