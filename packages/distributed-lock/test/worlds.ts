import { type LockBackend } from '@quorate/distributed-lock';
import { type LockConformanceWorld } from '@quorate/distributed-lock/conformance';
import { memoryLockSpace } from '@quorate/distributed-lock/memory';
import { type Runtime } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';

/** Clients of one space in memory, each of them as `spoil` makes it. */
export function memoryWorld(
  runtime: Runtime,
  spoil: (inner: LockBackend) => LockBackend = (inner) => inner,
): LockConformanceWorld {
  const space = memoryLockSpace({ runtime });
  const accepted = new Map<string, number>();
  return {
    runtime,
    client: () => spoil(space.backend()),
    // A dead process sends nothing; what it had is left in the space.
    crash: () => Promise.resolve(),
    guarded(key, fence) {
      const accept = fence >= (accepted.get(key) ?? 0);
      if (accept) accepted.set(key, fence);
      return Promise.resolve(accept);
    },
    teardown: () => Promise.resolve(),
  };
}

/** The same, in virtual time. */
export function virtualMemoryWorld(
  spoil?: (inner: LockBackend) => LockBackend,
  seed = 1,
): LockConformanceWorld {
  return memoryWorld(createVirtualRuntime({ seed }), spoil);
}
