import { createServer, type Server } from 'node:net';
import {
  createTransport,
  createMemoryNetwork,
  type Message,
  type PeerEvent,
  type Transport,
  TransportError,
} from '@quorate/transport';
import { conformance, type ConformanceNetwork } from '@quorate/transport/conformance';
import { afterAll, describe, expect, it } from 'vitest';
import { IMPOSSIBLE_IN_MEMORY, memoryNodes } from './networks.js';

/** The same transport with some members replaced. */
function spoilt(inner: Transport, spoil: (inner: Transport) => Partial<Transport>): Transport {
  const spoilt = spoil(inner);
  return new Proxy(inner, {
    get(target, key) {
      const member: unknown = Reflect.get(Object.hasOwn(spoilt, key) ? spoilt : target, key);
      return typeof member === 'function' && !Object.hasOwn(spoilt, key)
        ? (member.bind(target) as unknown)
        : member;
    },
  });
}

/** Runs one check of the kit and returns what it failed with. */
async function check(
  number: number,
  setup: (nodes: number) => Promise<ConformanceNetwork>,
): Promise<unknown> {
  const runs = new Map<number, () => Promise<void>>();
  conformance({
    name: 'spoilt',
    setup,
    limitMs: 1_000,
    settleMs: 20,
    runner: {
      describe: (_, define) => define(),
      it: (name, run) => runs.set(Number.parseInt(name), run),
    },
  });
  const run = runs.get(number);
  if (run === undefined) throw new Error(`there is no check ${String(number)}`);
  return run().then(
    () => undefined,
    (error: unknown) => error,
  );
}

const never = (): Promise<never> => new Promise(() => {});
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

/** For each check, a way to break a transport that this check, and it alone, was made to find. */
const defects: readonly [number, string, (inner: Transport) => Partial<Transport>][] = [
  [1, 'cuts bodies', (t) => ({ send: (to, channel, body) => t.send(to, channel, body.subarray(0, 1_000)) })],
  [
    2,
    'takes a little more than it says',
    (t) => ({ capabilities: { ...t.capabilities, maxPayload: t.capabilities.maxPayload - 8 } }),
  ],
  [
    3,
    'copies later',
    (t) => ({
      send(to, channel, body) {
        queueMicrotask(() => t.send(to, channel, body));
        return 'queued';
      },
    }),
  ],
  [
    4,
    'cannot unsubscribe',
    (t) => ({
      subscribe(channel, handle) {
        t.subscribe(channel, handle);
        return () => undefined;
      },
    }),
  ],
  [
    5,
    'ends every subscription of a channel whose handler throws',
    (t) => {
      const ends: (() => void)[] = [];
      return {
        subscribe(channel, handle) {
          const called: (message: Message) => unknown = handle;
          const wrapped = (message: Message): unknown => {
            try {
              return called(message);
            } catch {
              for (const one of ends) one();
              return undefined;
            }
          };
          const end = t.subscribe(channel, wrapped);
          ends.push(end);
          return end;
        },
      };
    },
  ],
  [
    6,
    'takes a second handler in silence',
    (t) => ({
      respond(channel, handle) {
        try {
          return t.respond(channel, handle);
        } catch {
          return () => undefined;
        }
      },
    }),
  ],
  [
    7,
    'is not sure that nobody ran',
    (t) => ({
      request: (to, channel, body, options) =>
        t.request(to, channel, body, options).catch((error: unknown) => {
          if (error instanceof TransportError)
            throw new TransportError(error.code, error.message, { definite: false });
          throw error;
        }),
    }),
  ],
  [
    8,
    'is impatient',
    (t) => ({
      request: (to, channel, body, options) =>
        t.request(to, channel, body, { ...options, timeoutMs: options.timeoutMs / 2 }),
    }),
  ],
  [
    9,
    'sends before it looks at the signal',
    (t) => ({
      request(to, channel, body, { timeoutMs, signal }) {
        const answer = t.request(to, channel, body, { timeoutMs });
        if (signal?.aborted !== true) return answer;
        answer.catch(() => undefined);
        return Promise.reject(new TransportError('ABORTED', 'aborted', { definite: true }));
      },
    }),
  ],
  [
    10,
    'keeps an abort to itself',
    (t) => ({
      request: (to, channel, body, { timeoutMs, signal }) =>
        new Promise((resolve, reject) => {
          t.request(to, channel, body, { timeoutMs }).then(resolve, reject);
          signal?.addEventListener('abort', () => {
            reject(new TransportError('ABORTED', 'aborted', { definite: false }));
          });
        }),
    }),
  ],
  [
    11,
    'keeps a request that timed out',
    (t) => ({
      request: (to, channel, body, options) =>
        t.request(to, channel, body, options).catch((error: unknown) => {
          t.request(t.self, 'leak', body, { timeoutMs: 600_000 }).catch(() => undefined);
          throw error;
        }),
      start(options) {
        t.respond('leak', never);
        return t.start(options);
      },
    }),
  ],
  [
    12,
    'confuses answers',
    (t) => {
      let last: Promise<Uint8Array> | undefined;
      return {
        request(to, channel, body, options) {
          const mine = t.request(to, channel, body, options);
          const answer = last ?? mine;
          last = mine;
          return answer;
        },
      };
    },
  ],
  [
    13,
    'lets a message overtake another',
    (t) => {
      let held: (() => void) | undefined;
      return {
        send(to, channel, body) {
          const copy = new Uint8Array(body);
          const before = held;
          held = before === undefined ? () => t.send(to, channel, copy) : undefined;
          if (before === undefined) return 'queued';
          const outcome = t.send(to, channel, body);
          before();
          return outcome;
        },
      };
    },
  ],
  [
    14,
    'sends again after a reconnection',
    (t) => {
      let last: (() => void) | undefined;
      t.onPeer(({ type }) => {
        if (type === 'up') last?.();
      });
      return {
        send(to, channel, body) {
          const copy = new Uint8Array(body);
          const outcome = t.send(to, channel, body);
          if (outcome === 'queued' && channel === 'once') last = () => t.send(to, channel, copy);
          return outcome;
        },
      };
    },
  ],
  [
    15,
    'says down twice',
    (t) => ({ onPeer: (listen) => t.onPeer((event) => repeat(event, 'down', listen)) }),
  ],
  [
    16,
    'uses a session number again',
    (t) => ({ onPeer: (listen) => t.onPeer((event) => listen({ ...event, session: 1 })) }),
  ],
  [
    17,
    'forgets requests of a lost peer',
    (t) => ({
      request: (to, channel, body, options) =>
        t.request(to, channel, body, options).catch((error: unknown) => {
          if (error instanceof TransportError && error.code === 'PEER_DOWN') return never();
          throw error;
        }),
    }),
  ],
  [
    18,
    'never says that it is full',
    (t) => ({
      send(to, channel, body) {
        const outcome = t.send(to, channel, body);
        return outcome === 'dropped-full' ? 'queued' : outcome;
      },
    }),
  ],
  [
    19,
    'never wakes up',
    (t) => ({ writable: (to, signal) => (t.peers().some(isBusy) ? never() : t.writable(to, signal)) }),
  ],
  [20, 'connects twice', (t) => ({ onPeer: (listen) => t.onPeer((event) => repeat(event, 'up', listen)) })],
  [
    21,
    'does not know whom it does not know',
    (t) => ({
      send(to, channel, body) {
        const outcome = t.send(to, channel, body);
        return outcome === 'dropped-unknown' ? 'dropped-down' : outcome;
      },
    }),
  ],
  [
    22,
    'tells itself too',
    (t) => ({
      broadcast(channel, body, to) {
        t.send(t.self, channel, body);
        return t.broadcast(channel, body, to);
      },
    }),
  ],
  [
    23,
    'leaves a handle open',
    (t) => ({
      async start(options) {
        await t.start(options);
        const server = createServer();
        servers.push(server);
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      },
    }),
  ],
];

function repeat(event: PeerEvent, type: PeerEvent['type'], listen: (event: PeerEvent) => void): void {
  listen(event);
  if (event.type === type) listen(event);
}

function isBusy({ queuedBytes }: { readonly queuedBytes: number }): boolean {
  return queuedBytes > 0;
}

describe('the conformance kit finds a transport that', () => {
  for (const [number, defect, spoil] of defects) {
    it(`${defect} (check ${String(number)})`, async () => {
      const failure = await check(number, (nodes) => memoryNodes(nodes, (inner) => spoilt(inner, spoil)));
      expect(failure).toBeInstanceOf(Error);
    });
  }

  it('lives on with garbage (check 24)', async () => {
    const failure = await check(24, async (nodes) => ({
      ...(await memoryNodes(nodes, (inner) => inner)),
      garbage: () => Promise.resolve(),
    }));
    expect(failure).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  it('believes everybody (check 25)', async () => {
    const network = createMemoryNetwork();
    const nodes: Transport[] = [];
    const failure = await check(25, (count) => {
      for (let index = 0; index < count; index++)
        nodes.push(createTransport(network.link(`n${String(index)}`)));
      return Promise.resolve({
        nodes,
        sever: () => Promise.resolve(),
        restore: () => Promise.resolve(),
        async impostor(claim) {
          const transport = createTransport(network.link(`n${String(claim)}`));
          nodes.push(transport);
          await transport.start();
          return { transport, refused: Promise.resolve() };
        },
        async teardown() {
          for (const node of nodes) await node.close({ drainMs: 0 });
        },
      });
    });
    expect(String(failure)).toMatch(/must fail with/);
  });
});

describe('the conformance kit', () => {
  it('fails when setup neither offers a hook nor declares it impossible, and when it does both', async () => {
    for (const impossible of [{}, { ...IMPOSSIBLE_IN_MEMORY, stall: 'not so' }]) {
      const runs: [string, () => Promise<void>][] = [];
      conformance({
        name: 'hooks',
        setup: (nodes) => memoryNodes(nodes, (inner) => inner),
        impossible,
        runner: { describe: (_, define) => define(), it: (name, run) => runs.push([name, run]) },
      });
      const [, last] = runs.at(-1) ?? [];
      await expect(last?.()).rejects.toThrow(/connections|stall/);
    }
  });

  it('has 25 checks, and lists by number those that are impossible', () => {
    const names: string[] = [];
    const runner = {
      describe: (_: string, define: () => void) => define(),
      it: (name: string) => names.push(name),
    };
    const setup = (): Promise<ConformanceNetwork> => Promise.reject(new Error('not run'));
    conformance({ name: 'all', setup, runner });
    expect(names.slice(0, -1).map((name) => Number.parseInt(name))).toEqual(
      [...Array(25).keys()].map((n) => n + 1),
    );
    names.length = 0;
    conformance({ name: 'some', setup, runner, impossible: { stall: 'S', garbage: 'G' } });
    expect(names).toHaveLength(23);
    expect(names.at(-1)).toBe('impossible here: 18 and 19 (S); 24 (G)');
  });
});
