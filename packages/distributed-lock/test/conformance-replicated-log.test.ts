import { lockConformance } from '@quorate/distributed-lock/conformance';
import { replicatedLogCapabilities } from '@quorate/distributed-lock/replicated-log';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, it } from 'vitest';
import { raftWorld } from './raft-world.js';

let seed = 0;

lockConformance({
  name: 'locks on raft, in virtual time',
  capabilities: replicatedLogCapabilities,
  setup: () => raftWorld(createVirtualRuntime({ seed: ++seed })),
  runner: { describe, it },
});
