import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { seededRandom } from '@quorate/runtime';
import { describe, expect, it } from 'vitest';
import { DeadlineEntry, Deadlines } from '../src/deadlines.js';

class Entry extends DeadlineEntry {
  expiredAtMs: number | undefined;

  constructor(readonly now: () => number) {
    super();
  }

  expired(): void {
    this.expiredAtMs = this.now();
  }
}

describe('Deadlines', () => {
  it('fires each entry at its millisecond unless it was removed, on one timer', async () => {
    const runtime = createVirtualRuntime();
    const deadlines = new Deadlines(runtime);
    const random = seededRandom(1);
    const entries = Array.from({ length: 5_000 }, () => {
      const dueMs = random() * 10_000;
      const entry = new Entry(() => runtime.monotonic());
      deadlines.add(entry, dueMs);
      expect(runtime.pendingTimers).toBe(1);
      return { entry, dueMs, removed: random() < 0.7 };
    });
    for (const { entry, removed } of entries) if (removed) deadlines.remove(entry);
    await runtime.advance(10_001);
    for (const { entry, dueMs, removed } of entries) {
      expect(entry.expiredAtMs).toBe(removed ? undefined : Math.ceil(dueMs));
    }
    expect(runtime.pendingTimers).toBe(0);
  });

  it('takes entries while others expire, and cancels its timer when cleared', async () => {
    const runtime = createVirtualRuntime();
    const deadlines = new Deadlines(runtime);
    const later = new Entry(() => runtime.monotonic());
    const first = new Entry(() => runtime.monotonic());
    first.expired = () => deadlines.add(later, runtime.monotonic() + 5);
    deadlines.add(first, 10);
    await runtime.advance(20);
    expect(later.expiredAtMs).toBe(15);
    const never = new Entry(() => runtime.monotonic());
    deadlines.add(never, 100);
    deadlines.clear();
    deadlines.remove(never);
    expect(runtime.pendingTimers).toBe(0);
    await runtime.advance(200);
    expect(never.expiredAtMs).toBeUndefined();
  });
});
