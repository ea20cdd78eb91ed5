import { describe, it } from 'vitest';
import { createTransport, type Transport } from '@quorate/transport';
import { conformance, type ConformanceNetwork, type GarbageKind } from '@quorate/transport/conformance';
import { createTcpLink, tcpEvents, type TcpAuth } from '@quorate/transport/tcp';
import { encodeFrame, FrameKind } from '../../src/core/frame.js';
import { Authority } from './certificates.js';
import { SECRET } from './tcp-nodes.js';
import { Proxy } from './tcp-proxy.js';

const MAX_PAYLOAD = 256 * 1024;
const QUEUE_BYTES = 2 * 1024 * 1024;
const CLUSTER = 'conformance';

const GARBAGE: Readonly<Record<GarbageKind, Uint8Array>> = {
  random: Uint8Array.from({ length: 500 }, (_, index) => (index * 167 + 91) & 0xff),
  // Long enough to be the header of a record of TLS, too.
  'zero-length': new Uint8Array(8),
  'negative-length': Uint8Array.of(0xff, 0xff, 0xff, 0xff, FrameKind.data),
  oversized: Uint8Array.of(0, 0x10, 0, 0, FrameKind.data),
  truncated: encodeFrame(FrameKind.data, new Uint8Array(100)).subarray(0, 20),
};

/** Nodes `n0`, `n1`, ... each of which reaches each other one through a proxy of that pair and direction. */
async function tcpNodes(
  count: number,
  auth: (id: string, forged?: true) => Promise<TcpAuth>,
): Promise<ConformanceNetwork> {
  const ids = Array.from({ length: count }, (_, index) => `n${index}`);
  const addresses: (() => string | undefined)[] = [];
  const proxies = new Map<string, Proxy>();
  for (const from of ids.keys()) {
    for (const to of ids.keys()) {
      if (from === to) continue;
      const proxy = new Proxy(() => addresses[to]?.());
      await proxy.listen();
      proxies.set(`${from} ${to}`, proxy);
    }
  }
  const between = (a: number, b: number): Proxy[] =>
    [proxies.get(`${a} ${b}`), proxies.get(`${b} ${a}`)].filter((proxy) => proxy !== undefined);
  const around = (node: number): Proxy[] => [...ids.keys()].flatMap((other) => between(node, other));
  const options = { clusterId: CLUSTER, maxPayload: MAX_PAYLOAD, maxQueueBytes: QUEUE_BYTES };
  const nodes: Transport[] = [];
  for (const [index, self] of ids.entries()) {
    const others = [...ids.keys()].filter((other) => other !== index);
    const link = createTcpLink({
      ...options,
      self,
      listen: { port: 0 },
      peers: Object.fromEntries(
        others.map((other) => [`n${other}`, proxies.get(`${index} ${other}`)?.address ?? '']),
      ),
      auth: await auth(self),
      reconnect: { minMs: 5, maxMs: 50 },
    });
    addresses.push(() => {
      const address = link.address();
      return address && `${address.host}:${address.port}`;
    });
    nodes.push(createTransport(link));
  }
  const extra: AsyncDisposable[] = [];
  return {
    nodes,
    queueBytes: QUEUE_BYTES,
    async sever(a, b) {
      for (const proxy of between(a, b)) {
        proxy.refuse(true);
        proxy.cut();
      }
      await Promise.resolve();
    },
    async restore(a, b) {
      for (const proxy of between(a, b)) proxy.refuse(false);
      await Promise.resolve();
    },
    async stall(node) {
      for (const proxy of around(node)) proxy.stall();
      await Promise.resolve();
    },
    async resume(node) {
      for (const proxy of around(node)) proxy.resume();
      await Promise.resolve();
    },
    connections: (a, b) => between(a, b).reduce((sum, proxy) => sum + proxy.connections, 0),
    async garbage(from, to, kind) {
      const end = kind === 'truncated';
      proxies.get(`${from} ${to}`)?.inject(GARBAGE[kind], 'far', end);
      proxies.get(`${to} ${from}`)?.inject(GARBAGE[kind], 'near', end);
      await Promise.resolve();
    },
    async impostor(claim, to, kind) {
      const self = `n${claim}`;
      const link = createTcpLink({
        ...options,
        self,
        clusterId: kind === 'wrong-cluster' ? 'another cluster' : CLUSTER,
        peers: { [`n${to}`]: addresses[to]?.() ?? '' },
        auth: await (kind === 'forged-sender' ? auth(self, true) : auth(self)),
      });
      const refused = new Promise<void>((resolve) => {
        const unsubscribe = tcpEvents.refused.subscribe(({ by, peer, code }) => {
          const expected = kind === 'forged-sender' ? 'unauthenticated' : 'cluster';
          if (by !== 'self' || peer !== self || code !== expected) return;
          unsubscribe();
          resolve();
        });
      });
      const transport = createTransport(link);
      extra.push(transport);
      await transport.start();
      return { transport, refused };
    },
    async teardown() {
      for (const node of nodes) await node.close({ drainMs: 0 });
      for (const one of extra.splice(0)) await one[Symbol.asyncDispose]();
      for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
      proxies.clear();
    },
  };
}

conformance({
  name: 'TCP with a shared secret conforms',
  setup: (nodes) =>
    tcpNodes(nodes, (_, forged) =>
      Promise.resolve({ secret: forged === true ? 'a secret that was made up' : SECRET }),
    ),
  runner: { describe, it },
});

const authority = Authority.create('conformance');
const issued = new Map<string, Promise<TcpAuth>>();

async function certificate(id: string): Promise<TcpAuth> {
  const ca = await authority;
  return { tls: { ca: ca.pem, ...(await ca.issue({ type: 'dns', value: id })) } };
}

conformance({
  name: 'mutual TLS conforms',
  setup: (nodes) =>
    tcpNodes(nodes, (id, forged) => {
      const name = forged === true ? 'somebody-else' : id;
      const known = issued.get(name) ?? certificate(name);
      issued.set(name, known);
      return known;
    }),
  runner: { describe, it },
});
