import { conformance } from '@quorate/transport/conformance';
import { describe, it } from 'vitest';
import { IMPOSSIBLE_IN_MEMORY, memoryNodes } from './networks.js';

conformance({
  name: 'the memory network conforms',
  setup: (nodes) => memoryNodes(nodes, (transport) => transport),
  runner: { describe, it },
  impossible: IMPOSSIBLE_IN_MEMORY,
});

conformance({
  name: 'the memory network with latency conforms',
  setup: (nodes) => memoryNodes(nodes, (transport) => transport, { latencyMs: 1 }),
  runner: { describe, it },
  impossible: IMPOSSIBLE_IN_MEMORY,
});
