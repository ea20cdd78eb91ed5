import { seededRandom } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import {
  createMemoryNetwork,
  createTransport,
  type Transport,
  TransportError,
  withFaults,
  withFifo,
} from '@quorate/transport';
import { describe, expect, it } from 'vitest';

const SEEDS = 100;
const NODES = 4;
const STEPS = 120;

type Decorate = (transport: Transport, seed: number) => Transport;

interface Asked {
  readonly id: number;
  settled: number;
  outcome: 'ok' | TransportError | undefined;
  answer: number | undefined;
}

/**
 * Nodes ask each other in random ways while connections are cut and mended, requests are cancelled and nodes close
 * and start anew. Handlers answer at once, late, with an error or never.
 */
async function run(seed: number, decorate: Decorate) {
  const runtime = createVirtualRuntime({ seed });
  const random = seededRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const network = createMemoryNetwork({
    runtime,
    latencyMs: below(3),
    maxPayload: 8_192,
    queueBytes: 20_000,
  });
  const asked: Asked[] = [];
  const handled = new Map<number, number>();
  const closing: Promise<void>[] = [];
  const violations: string[] = [];
  const nodes: Transport[] = [];
  const encode = (value: number): Uint8Array => new Uint8Array(Buffer.from(String(value)));
  const decode = (body: Uint8Array): number => Number(Buffer.from(body).toString());

  const begin = (index: number): void => {
    const inner = createTransport(network.link(`n${String(index)}`), {
      runtime,
      maxConcurrentRequestsPerPeer: 5,
    });
    const node = decorate(inner, seed * NODES + index);
    const sessions = new Map<string, number>();
    const last = new Map<string, number>();
    node.onPeer(({ type, peer, session }) => {
      const present = sessions.get(peer);
      if (type === 'up' ? present !== undefined : present !== session)
        violations.push(`${type} of ${peer} out of turn`);
      if (type === 'up') sessions.set(peer, session);
      else sessions.delete(peer);
      last.delete(peer);
    });
    node.subscribe('counted', ({ from, session, body }) => {
      if (from !== node.self && sessions.get(from) !== session)
        violations.push('a message outside its session');
      const number = decode(body);
      if (node.capabilities.ordering === 'fifo-per-session' && number <= (last.get(from) ?? -1)) {
        violations.push(`message ${String(number)} after ${String(last.get(from))}`);
      }
      last.set(from, number);
    });
    const count = (body: Uint8Array): number => {
      const id = decode(body);
      handled.set(id, (handled.get(id) ?? 0) + 1);
      return id;
    };
    node.respond('at-once', ({ body }) => encode(count(body)));
    node.respond('fails', ({ body }) => {
      throw new Error(`refused ${String(count(body))}`);
    });
    node.respond('late', ({ body }) => {
      const id = count(body);
      return new Promise((resolve) => runtime.setTimer(id % 90, () => resolve(encode(id))));
    });
    node.respond('never', ({ body, signal }) => {
      count(body);
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      );
    });
    nodes[index] = node;
    void node.start();
  };
  for (let index = 0; index < NODES; index++) begin(index);
  await runtime.advance(600);

  let messages = 0;
  for (let step = 0; step < STEPS; step++) {
    const [from, to] = [below(NODES), below(NODES)];
    const node = nodes[from];
    if (node === undefined) throw new Error('no such node');
    const peer = `n${String(to)}`;
    const dice = random();
    if (dice < 0.7) {
      for (let burst = below(8); burst >= 0; burst--) {
        const one: Asked = { id: asked.length, settled: 0, outcome: undefined, answer: undefined };
        asked.push(one);
        const controller = new AbortController();
        if (random() < 0.2) runtime.setTimer(below(60), () => controller.abort(new Error('given up')));
        const channel = ['at-once', 'late', 'never', 'fails', 'nobody'][below(5)] ?? '';
        node
          .request(peer, channel, encode(one.id), { timeoutMs: below(100), signal: controller.signal })
          .then(
            (body) => {
              one.outcome = 'ok';
              one.answer = decode(body);
            },
            (error: unknown) => {
              one.outcome = error as TransportError;
            },
          )
          .finally(() => one.settled++);
      }
    } else if (dice < 0.85) {
      for (let burst = below(20); burst >= 0; burst--) node.send(peer, 'counted', encode(messages++));
    } else if (dice < 0.91) {
      network.sever(node.self, peer);
    } else if (dice < 0.97) {
      network.restore(node.self, peer);
    } else {
      closing.push(node.close({ drainMs: below(2) * 50 }));
      await runtime.advance(60);
      begin(from);
    }
    await runtime.advance(below(12));
  }
  await runtime.advance(1_000);
  // With this much patience a node closes within the time of its last frames only if nothing is pending.
  let drained = 0;
  for (const node of nodes) void node.close({ drainMs: 600_000 }).then(() => drained++);
  await runtime.advance(50);
  if (drained === NODES) await Promise.all(closing);
  return { asked, handled, violations, drained };
}

const kinds: readonly [string, Decorate][] = [
  ['over the memory network', (inner) => inner],
  [
    'over a network with faults',
    (inner, seed) =>
      withFaults(
        inner,
        { loss: 0.05, duplicate: 0.1, reorder: 0.2, delay: { minMs: 0, meanMs: 4, dist: 'exponential' } },
        seed,
      ),
  ],
  [
    'in order over a network with faults',
    (inner, seed) =>
      withFifo(withFaults(inner, { loss: 0.01, duplicate: 0.1, reorder: 0.2 }, seed), { gapMs: 60 }),
  ],
];

describe.each(kinds)('requests %s', (_, decorate) => {
  it(`settle once and say truly whether the handler ran, over ${String(SEEDS)} seeds`, async () => {
    let answered = 0;
    const codes = new Map<string, number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { asked, handled, violations, drained } = await run(seed, decorate);
      expect(violations, `seed ${String(seed)}`).toEqual([]);
      expect(drained, `seed ${String(seed)}: something is pending`).toBe(NODES);
      for (const { id, settled, outcome, answer } of asked) {
        const where = `seed ${String(seed)}, request ${String(id)}`;
        expect(settled, where).toBe(1);
        const runs = handled.get(id) ?? 0;
        expect(runs, where).toBeLessThanOrEqual(1);
        if (outcome === 'ok') {
          answered++;
          expect([answer, runs], where).toEqual([id, 1]);
          continue;
        }
        if (!(outcome instanceof TransportError)) throw new Error(`${where} ended with ${String(outcome)}`);
        const { code, definite } = outcome;
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (definite) expect(runs, `${where}: ${code} is definite`).toBe(0);
      }
    }
    // The run means something only if every way to end was taken.
    expect(answered).toBeGreaterThan(SEEDS);
    for (const code of ['TIMEOUT', 'ABORTED', 'PEER_DOWN', 'NO_HANDLER', 'HANDLER_ERROR']) {
      expect(codes.get(code) ?? 0, code).toBeGreaterThan(10);
    }
  });
});
