import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it } from 'vitest';
import { Alarm } from '../src/alarm.js';

describe('a wait that can be cut short', () => {
  it.each([
    ['lasts as long as it was set to', () => {}, 1_000],
    ['ends at a ring', (alarm: Alarm) => alarm.ring(), 100],
    ['ends within what is asked', (alarm: Alarm) => alarm.ringWithin(50), 150],
    ['is never made longer', (alarm: Alarm) => alarm.ringWithin(5_000), 1_000],
  ])('%s', async (_, act, endsAt) => {
    const runtime = createVirtualRuntime();
    const alarm = new Alarm(runtime);
    let endedAt: number | undefined;
    void alarm.wait(1_000).then(() => {
      endedAt = runtime.monotonic();
    });
    await runtime.advance(100);
    act(alarm);
    await runtime.runUntil(() => endedAt !== undefined);
    expect(endedAt).toBe(endsAt);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('keeps a ring that came while nobody waited, once', async () => {
    const runtime = createVirtualRuntime();
    const alarm = new Alarm(runtime);
    alarm.ring();
    await alarm.wait(1_000);
    expect(runtime.monotonic()).toBe(0);
    let ended = false;
    void alarm.wait(1_000).then(() => {
      ended = true;
    });
    await runtime.runUntil(() => ended);
    expect(runtime.monotonic()).toBe(1_000);
  });

  it('ends in time for what was asked while nobody waited, once', async () => {
    const runtime = createVirtualRuntime();
    const alarm = new Alarm(runtime);
    alarm.ringWithin(50);
    alarm.ringWithin(500);
    const endings: number[] = [];
    await runtime.advance(20);
    const waits = async (): Promise<void> => {
      for (let wait = 0; wait < 2; wait++) {
        await alarm.wait(1_000);
        endings.push(runtime.monotonic());
      }
    };
    void waits();
    await runtime.runUntil(() => endings.length === 2);
    expect(endings).toEqual([50, 1_050]);
  });
});
