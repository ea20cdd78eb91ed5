import {
  createMemoryNetwork,
  createTransport,
  type MemoryNetworkOptions,
  type Transport,
} from '@quorate/transport';
import type { ConformanceNetwork } from '@quorate/transport/conformance';

const QUEUE_BYTES = 4 * 1024 * 1024;
/** What withFaults may hold back on top. */
const HELD_BYTES = 16 * 1024 * 1024;

/** Why the memory network, and what stands on it, cannot be asked some things. */
export const IMPOSSIBLE_IN_MEMORY = {
  connections: 'sessions in memory need none',
  garbage: 'only frames pass',
  impostor: 'one process has one network',
} as const;

/** Nodes `n0`, `n1`, ... over the memory network, each of them decorated. */
export function memoryNodes(
  count: number,
  decorate: (transport: Transport, index: number) => Transport,
  options: MemoryNetworkOptions = {},
): Promise<ConformanceNetwork> {
  const network = createMemoryNetwork({ maxPayload: 256 * 1024, queueBytes: QUEUE_BYTES, ...options });
  const id = (index: number): string => `n${String(index)}`;
  const inner = Array.from({ length: count }, (_, index) => createTransport(network.link(id(index))));
  const nodes = inner.map(decorate);
  return Promise.resolve({
    nodes,
    queueBytes: QUEUE_BYTES + HELD_BYTES,
    async sever(a: number, b: number) {
      await Promise.resolve();
      network.sever(id(a), id(b));
    },
    async restore(a: number, b: number) {
      await Promise.resolve();
      network.restore(id(a), id(b));
    },
    async stall(node: number) {
      await Promise.resolve();
      network.stall(id(node));
    },
    async resume(node: number) {
      await Promise.resolve();
      network.resume(id(node));
    },
    async teardown() {
      for (const node of [...nodes, ...inner]) await node.close({ drainMs: 0 });
    },
  });
}
