import { namespace, withFaults, withFifo } from '@quorate/transport';
import { conformance } from '@quorate/transport/conformance';
import { describe, it } from 'vitest';
import { IMPOSSIBLE_IN_MEMORY, memoryNodes } from './networks.js';

const runner = { describe, it };
const impossible = IMPOSSIBLE_IN_MEMORY;

conformance({
  name: 'a namespace conforms',
  setup: (nodes) => memoryNodes(nodes, (transport) => namespace(transport, 'app/')),
  runner,
  impossible,
});

conformance({
  name: 'withFaults without faults conforms',
  setup: (nodes) => memoryNodes(nodes, (transport) => withFaults(transport, {}, 1)),
  runner,
  impossible,
});

conformance({
  name: 'withFaults that repeats and reorders conforms to what it declares',
  setup: (nodes) =>
    memoryNodes(nodes, (transport, seed) =>
      withFaults(transport, { duplicate: 0.2, reorder: 0.2, reorderMs: 5 }, seed),
    ),
  runner,
  impossible,
});

conformance({
  name: 'withFifo conforms',
  setup: (nodes) => memoryNodes(nodes, (transport) => withFifo(transport)),
  runner,
  impossible,
});

conformance({
  name: 'withFifo above repetition and reordering conforms, and is in order again',
  setup: (nodes) =>
    memoryNodes(nodes, (transport, seed) =>
      withFifo(withFaults(transport, { duplicate: 0.2, reorder: 0.2, reorderMs: 5 }, seed)),
    ),
  runner,
  impossible,
});
