import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareLamport,
  CounterExhaustedError,
  createLamport,
  LamportJumpError,
} from '@quorate/logical-clocks';
import { executions, item } from './executions.js';

describe('Lamport clock', () => {
  it('gives an event a greater time than every event that happened before it', () => {
    fc.assert(
      fc.property(executions(), ({ processes, steps, before }) => {
        const clocks = Array.from({ length: processes }, () => createLamport());
        const times: number[] = [];
        for (const { process, receives } of steps) {
          const clock = item(clocks, process);
          times.push(receives === undefined ? clock.tick() : clock.observe(item(times, receives)));
        }
        for (let a = 0; a < steps.length; a++)
          for (let b = 0; b < steps.length; b++)
            if (before(a, b)) expect(times[a]).toBeLessThan(item(times, b));
      }),
      { numRuns: 100 },
    );
  });

  it('breaks ties by node, so that stamps are totally ordered', () => {
    const stamps = [
      { time: 2, node: 'a' },
      { time: 1, node: 'b' },
      { time: 1, node: 'a' },
    ];
    expect(stamps.sort(compareLamport).map(({ time, node }) => `${time}${node}`)).toEqual(['1a', '1b', '2a']);
  });

  it('refuses a time that is too far ahead and stays as it was', () => {
    const clock = createLamport({ start: 5, maxJump: 10 });
    expect(() => clock.observe(16)).toThrow(LamportJumpError);
    expect(clock.now()).toBe(5);
    expect(clock.observe(15)).toBe(16);
    expect(() => clock.observe(-1)).toThrow(/remote/);
  });

  it('ends with an error rather than repeat a time when the counter is used up', () => {
    const clock = createLamport({ start: Number.MAX_SAFE_INTEGER });
    expect(() => clock.tick()).toThrow(CounterExhaustedError);
    expect(clock.now()).toBe(Number.MAX_SAFE_INTEGER);
  });
});
