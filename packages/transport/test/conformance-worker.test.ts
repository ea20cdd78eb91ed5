import { createTransport } from '@quorate/transport';
import { conformance, type ConformanceNetwork } from '@quorate/transport/conformance';
import { createPortLink, type PortLink } from '@quorate/transport/worker';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { describe, it } from 'vitest';

const QUEUE_BYTES = 4 * 1024 * 1024;

/** What lies between two nodes: it passes packets on, unless their receiver is stalled. */
class Relay {
  readonly #ports: MessagePort[] = [];
  readonly #held: (() => void)[] = [];

  constructor(
    readonly nodes: readonly [number, number],
    readonly links: readonly PortLink[],
    readonly stalled: ReadonlySet<number>,
  ) {
    const channels = nodes.map(() => new MessageChannel()) as [MessageChannel, MessageChannel];
    channels.forEach(({ port2 }, side) => {
      const receiver = nodes[1 - side] ?? 0;
      const other = channels[1 - side]?.port2;
      this.#ports.push(port2);
      port2.on('message', (packet) => {
        const pass = (): void => other?.postMessage(packet);
        if (stalled.has(receiver)) this.#held.push(pass);
        else pass();
      });
      port2.on('close', () => other?.close());
    });
    nodes.forEach((node, side) => {
      const port = channels[side]?.port1;
      if (port !== undefined) links[node]?.connect(`n${String(nodes[1 - side])}`, port);
    });
  }

  /** Says something to the second node in the name of the first. */
  say(packet: unknown): void {
    this.#ports[1]?.postMessage(packet);
  }

  resume(): void {
    for (const pass of this.#held.splice(0)) pass();
  }

  close(): void {
    for (const port of this.#ports) port.close();
  }
}

function setup(count: number): Promise<ConformanceNetwork> {
  const links = Array.from({ length: count }, (_, index) =>
    createPortLink({ self: `n${String(index)}`, maxPayload: 64 * 1024, queueBytes: QUEUE_BYTES }),
  );
  const nodes = links.map((link) => createTransport(link));
  const stalled = new Set<number>();
  const relays = new Map<string, Relay>();
  const join = (a: number, b: number): void => {
    const relay = new Relay([a, b], links, stalled);
    relays.set(`${String(a)}-${String(b)}`, relay);
  };
  const between = (a: number, b: number): Relay | undefined =>
    relays.get(`${String(Math.min(a, b))}-${String(Math.max(a, b))}`);
  for (let a = 0; a < count; a++) for (let b = a + 1; b < count; b++) join(a, b);
  const garbage = {
    random: [new Uint8Array([1, 2, 3]), 'text', null, ['shout', 1], ['hello', 'again']],
    'zero-length': [['frame', new Uint8Array(0)]],
    'negative-length': [['taken', -1]],
    oversized: [['frame', new Uint8Array(1024 * 1024)]],
    truncated: [['frame']],
  };
  return Promise.resolve({
    nodes,
    queueBytes: QUEUE_BYTES,
    sever(a, b) {
      between(a, b)?.close();
      return Promise.resolve();
    },
    restore(a, b) {
      join(Math.min(a, b), Math.max(a, b));
      return Promise.resolve();
    },
    stall(node) {
      stalled.add(node);
      return Promise.resolve();
    },
    resume(node) {
      stalled.delete(node);
      for (const relay of relays.values()) relay.resume();
      return Promise.resolve();
    },
    async garbage(from, to, kind) {
      for (const packet of garbage[kind]) {
        const down = new Promise<void>((resolve) => {
          const end = nodes[to]?.onPeer(({ type, peer }) => {
            if (type !== 'down' || peer !== `n${String(from)}`) return;
            resolve();
            end?.();
          });
        });
        between(from, to)?.say(packet);
        await down;
        const up = new Promise<void>((resolve) => {
          const end = nodes[to]?.onPeer(({ type, peer }) => {
            if (type !== 'up' || peer !== `n${String(from)}`) return;
            resolve();
            queueMicrotask(() => end?.());
          });
        });
        join(from, to);
        await up;
      }
    },
    async teardown() {
      for (const node of nodes) await node.close({ drainMs: 0 });
      for (const relay of relays.values()) relay.close();
    },
  });
}

conformance({
  name: 'the link over MessagePort conforms',
  setup,
  runner: { describe, it },
  impossible: {
    connections: 'a port is the connection',
    impostor: 'who holds the port is the peer',
  },
});
