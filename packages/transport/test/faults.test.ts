import { createVirtualRuntime, type VirtualRuntime } from '@quorate/runtime/virtual';
import {
  createMemoryNetwork,
  createTransport,
  type FaultPlan,
  type Transport,
  withFaults,
} from '@quorate/transport';
import { describe, expect, it } from 'vitest';

interface Pair {
  readonly runtime: VirtualRuntime;
  readonly a: Transport;
  readonly b: Transport;
  /** What arrived at `b`: when, and the number in it. */
  readonly got: [number, number][];
}

async function pair(plan: FaultPlan, seed = 1): Promise<Pair> {
  const runtime = createVirtualRuntime();
  const network = createMemoryNetwork({ runtime });
  const a = withFaults(createTransport(network.link('a'), { runtime }), plan, seed);
  const b = createTransport(network.link('b'), { runtime });
  await a.start();
  await b.start();
  const got: [number, number][] = [];
  b.subscribe('n', ({ body }) => got.push([runtime.monotonic(), body[0] ?? -1]));
  b.respond('echo', ({ body }) => body);
  return { runtime, a, b, got };
}

async function sendAll({ runtime, a, got }: Pair, count = 250): Promise<[number, number][]> {
  for (let index = 0; index < count; index++) {
    expect(a.send('b', 'n', Uint8Array.of(index))).toBe('queued');
    await runtime.advance(1);
  }
  await runtime.advance(10_000);
  return got;
}

describe('withFaults', () => {
  it('does the same for the same seed, and something else for another', async () => {
    const plan: FaultPlan = {
      loss: 0.1,
      duplicate: 0.1,
      reorder: 0.1,
      corrupt: 0.1,
      delay: { minMs: 1, meanMs: 5, dist: 'exponential' },
      clog: { probability: 0.01, meanMs: 20 },
    };
    const first = await sendAll(await pair(plan, 7));
    expect(await sendAll(await pair(plan, 7))).toEqual(first);
    expect(await sendAll(await pair(plan, 8))).not.toEqual(first);
  });

  it('loses, repeats and reorders about as often as the plan says', async () => {
    const numbers = async (plan: FaultPlan): Promise<number[]> =>
      (await sendAll(await pair(plan))).map(([, n]) => n);
    expect((await numbers({ loss: 0.2 })).length).toBeGreaterThan(160);
    expect((await numbers({ loss: 0.2 })).length).toBeLessThan(240);
    const repeated = await numbers({ duplicate: 0.2 });
    expect(repeated.length).toBeGreaterThan(270);
    expect(new Set(repeated).size).toBe(250);
    const reordered = await numbers({ reorder: 0.2 });
    expect(reordered).not.toEqual([...reordered].sort((x, y) => x - y));
    expect(new Set(reordered).size).toBe(250);
  });

  it('delays by the distribution it was given', async () => {
    for (const dist of ['constant', 'uniform', 'exponential'] as const) {
      const got = await sendAll(await pair({ delay: { minMs: 10, meanMs: 30, dist } }));
      const delays = got.map(([at, number]) => at - number);
      const mean = delays.reduce((sum, one) => sum + one, 0) / delays.length;
      expect(Math.min(...delays), dist).toBeGreaterThanOrEqual(dist === 'constant' ? 30 : 10);
      expect(mean, dist).toBeGreaterThan(25);
      expect(mean, dist).toBeLessThan(35);
      if (dist === 'uniform') expect(Math.max(...delays)).toBeLessThanOrEqual(50);
    }
  });

  it('flips one bit and leaves the sender its own', async () => {
    const { runtime, a, got } = await pair({ corrupt: 1 });
    const body = Uint8Array.of(0);
    a.send('b', 'n', body);
    await runtime.advance(1);
    expect(body[0]).toBe(0);
    expect(Math.log2(got[0]?.[1] ?? 0) % 1).toBe(0);
  });

  it('lets a request whose way is lost run into its deadline, and an abort or a cut end it before', async () => {
    const { runtime, a, b } = await pair({ loss: 1 });
    const codes: unknown[] = [];
    const ask = (signal?: AbortSignal): void => {
      const options = signal === undefined ? { timeoutMs: 100 } : { timeoutMs: 100, signal };
      a.request('b', 'echo', Uint8Array.of(1), options).catch((error: unknown) => {
        const { code, definite } = error as { code: string; definite: boolean };
        codes.push([runtime.monotonic(), code, definite]);
      });
    };
    const controller = new AbortController();
    ask();
    ask(controller.signal);
    await runtime.advance(10);
    controller.abort();
    await runtime.advance(90);
    ask();
    await runtime.advance(10);
    await b.close();
    await runtime.advance(1);
    expect(codes).toEqual([
      [10, 'ABORTED', false],
      [100, 'TIMEOUT', false],
      [110, 'PEER_DOWN', false],
    ]);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('spares messages to oneself, and tells what the link tells of whom it cannot reach', async () => {
    const { a } = await pair({ loss: 1 });
    a.respond('echo', ({ body }) => body);
    expect(await a.request('a', 'echo', Uint8Array.of(9), { timeoutMs: 100 })).toEqual(Uint8Array.of(9));
    expect(a.send('nobody', 'n', Uint8Array.of(1))).toBe('dropped-unknown');
    expect(() => a.send('b', 'n', new Uint8Array(2_000_000))).toThrow('TOO_LARGE');
  });
});
