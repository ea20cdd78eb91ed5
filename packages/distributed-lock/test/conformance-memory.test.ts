import { lockConformance } from '@quorate/distributed-lock/conformance';
import { memoryCapabilities } from '@quorate/distributed-lock/memory';
import { systemRuntime } from '@quorate/runtime';
import { describe, it } from 'vitest';
import { memoryWorld, virtualMemoryWorld } from './worlds.js';

lockConformance({
  name: 'locks in memory, in virtual time',
  capabilities: memoryCapabilities,
  setup: () => Promise.resolve(virtualMemoryWorld()),
  runner: { describe, it },
});

lockConformance({
  name: 'locks in memory, in real time',
  capabilities: memoryCapabilities,
  setup: () => Promise.resolve(memoryWorld(systemRuntime)),
  runner: { describe, it },
  leaseMs: 400,
  settleMs: 10,
});
