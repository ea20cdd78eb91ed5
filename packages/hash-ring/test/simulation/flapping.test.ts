import { createMembership, createRing, plan } from '@quorate/hash-ring';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it } from 'vitest';

const NODES = Array.from({ length: 8 }, (_, i) => `n${String(i)}`);
const JOIN_AFTER_MS = 1000;
const LEAVE_AFTER_MS = 5000;

describe('membership under random flapping', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed + 1))(
    'converges and stays calm, seed %i',
    async (seed) => {
      const runtime = createVirtualRuntime({ seed });
      const options = { runtime, joinAfterMs: JOIN_AFTER_MS, leaveAfterMs: LEAVE_AFTER_MS };
      const membership = createMembership(createRing(NODES, { pointsPerWeight: 8 }), options);
      const up = new Set(NODES);
      const downSince = new Map<string, number>();
      const removals = new Map<string, number>();
      let moved = 0;
      membership.onChange(({ before, after, removed }) => {
        for (const id of removed) {
          removals.set(id, (removals.get(id) ?? 0) + 1);
          // Nobody is removed who was not away for the whole of the time.
          expect(runtime.monotonic() - (downSince.get(id) ?? Infinity)).toBeGreaterThanOrEqual(
            LEAVE_AFTER_MS,
          );
        }
        const { needlessFraction, movedFraction } = plan(before, after);
        expect(needlessFraction).toBe(0);
        moved += movedFraction;
      });
      // Half of the nodes flap for ten minutes, at any pace from tenths of a second to twenty seconds.
      const flapping = NODES.filter(() => runtime.random() < 0.5);
      let falls = 0;
      while (runtime.monotonic() < 600_000) {
        const id = flapping[Math.floor(runtime.random() * flapping.length)];
        if (id !== undefined) {
          if (up.delete(id)) {
            downSince.set(id, runtime.monotonic());
            membership.down(id);
            falls++;
          } else {
            up.add(id);
            membership.up(id);
          }
        }
        await runtime.advance(100 + runtime.random() ** 3 * 20_000);
      }
      for (const id of NODES)
        expect(removals.get(id) ?? 0).toBeLessThanOrEqual(flapping.includes(id) ? 12 : 0);
      expect(moved).toBeLessThanOrEqual(Math.max(1, falls));
      // Everybody comes back and stays: after the penalties have decayed all are members, and nothing is pending.
      for (const id of NODES) membership.up(id);
      await runtime.advance(1_800_000);
      expect(membership.current.checksum).toBe(createRing(NODES, { pointsPerWeight: 8 }).checksum);
      expect(runtime.pendingTimers).toBe(0);
    },
  );
});
