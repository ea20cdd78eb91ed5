import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { createLocks } from '@quorate/distributed-lock';
import { memoryLockSpace } from '@quorate/distributed-lock/memory';
import { describe, expect, it } from 'vitest';

describe('createLocks', () => {
  it('hands a lock from one client to the next', async () => {
    const runtime = createVirtualRuntime();
    const space = memoryLockSpace({ runtime });
    const one = createLocks(space.backend(), { runtime });
    const two = createLocks(space.backend(), { runtime });
    const first = await one.acquire('a');
    const second = two.acquire('a');
    await runtime.advance(1_000);
    expect(await two.tryAcquire('a')).toBeUndefined();
    expect(await first.release()).toBe('released');
    const lease = await second;
    expect(lease.fence).toBeGreaterThan(first.fence);
    await one.close();
    await two.close();
    expect(lease.held).toBe(false);
  });
});
