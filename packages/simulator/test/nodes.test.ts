import { Simulation, SimulationStateError, ViolationError } from '@quorate/simulator';
import { createTransport, type Transport } from '@quorate/transport';
import { describe, expect, it } from 'vitest';

function ticking(simulation: Simulation, ticks: number[]) {
  return simulation.node('n', ({ runtime }) => {
    const tick = (): void => {
      ticks.push(simulation.nowMs);
      runtime.setTimer(10, tick);
    };
    runtime.setTimer(10, tick);
  });
}

describe('a node', () => {
  it('runs no timer of a life that a crash ended, and boots anew', async () => {
    const simulation = new Simulation({ seed: 1 });
    const ticks: number[] = [];
    const node = ticking(simulation, ticks);
    await simulation.runFor(25);
    node.crash();
    await simulation.runFor(100);
    expect(ticks).toEqual([10, 20]);
    node.start();
    await simulation.runFor(25);
    expect(ticks).toEqual([10, 20, 135, 145]);
    expect(() => node.start()).toThrow(SimulationStateError);
  });

  it('runs late what fell due during a pause', async () => {
    const simulation = new Simulation({ seed: 1 });
    const ticks: number[] = [];
    const node = ticking(simulation, ticks);
    await simulation.runFor(5);
    node.pause();
    await simulation.runFor(50);
    expect(ticks).toEqual([]);
    node.resume();
    await simulation.runFor(0);
    expect(ticks).toEqual([55]);
  });

  it('has a clock that drifts within its bound, and never runs a timer early by its own clock', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const simulation = new Simulation({ seed, clock: { maxDriftPpm: 1_000 } });
      const elapsed: number[] = [];
      simulation.node('n', ({ runtime }) => {
        const start = runtime.monotonic();
        runtime.setTimer(1_000, () => elapsed.push(runtime.monotonic() - start, simulation.nowMs));
      });
      await simulation.runFor(2_000);
      expect(elapsed[0]).toBeGreaterThanOrEqual(1_000);
      expect(Math.abs((elapsed[1] ?? 0) - 1_000)).toBeLessThanOrEqual(1.002);
    }
  });

  it('ends the run when its boot fails', async () => {
    const simulation = new Simulation({ seed: 7 });
    simulation.node('n', () => Promise.reject(new Error('broken')));
    await expect(simulation.runFor(10)).rejects.toThrow(/n failed: broken \(seed 7/);
  });
});

describe('an invariant', () => {
  it('is checked after every event, and reports the seed, the time and the last events', async () => {
    const simulation = new Simulation({ seed: 3 });
    const ticks: number[] = [];
    ticking(simulation, ticks);
    simulation.invariant('few ticks', () => (ticks.length > 2 ? `${ticks.length} ticks` : undefined));
    const error = await simulation.runFor(1_000).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ViolationError);
    const { invariant, place } = error as ViolationError;
    expect(invariant).toBe('few ticks');
    expect(place).toMatchObject({ seed: 3, atMs: 30, step: 3 });
    expect(place.tail.at(-1)).toMatchObject({ kind: 'timer', who: 'n', atMs: 30 });
  });

  it('reports that progress was not made within its bound', async () => {
    await expect(new Simulation({ seed: 1 }).runUntil(() => false, 100)).rejects.toMatchObject({
      invariant: 'progress',
    });
  });
});

describe('the network', () => {
  const pair = async (kind: 'stream' | 'datagram', loss = 0) => {
    const simulation = new Simulation({ seed: 5, network: { kind, loss, maxDelayMs: 20 } });
    const got: number[] = [];
    const peers: string[] = [];
    let sender: Transport | undefined;
    simulation.node('a', ({ link, runtime }) => {
      sender = createTransport(link, { runtime });
      sender.onPeer(({ type }) => peers.push(type));
      return sender.start();
    });
    simulation.node('b', ({ link, runtime }) => {
      const transport = createTransport(link, { runtime });
      transport.subscribe('c', ({ body }) => got.push(body[0] ?? -1));
      return transport.start();
    });
    await simulation.runFor(100);
    const send = (...values: number[]): void => {
      for (const value of values) sender?.send('b', 'c', Uint8Array.of(value));
    };
    return { simulation, got, peers, send };
  };
  const hundred = Array.from({ length: 100 }, (_, value) => value);

  it('keeps the order of a stream', async () => {
    const { simulation, got, send } = await pair('stream');
    send(...hundred);
    await simulation.runFor(100);
    expect(got).toEqual(hundred);
  });

  it('loses and reorders datagrams', async () => {
    const { simulation, got, send } = await pair('datagram', 0.3);
    send(...hundred);
    await simulation.runFor(100);
    expect(got.length).toBeGreaterThan(40);
    expect(got.length).toBeLessThan(95);
    expect(got).not.toEqual(got.toSorted((a, b) => a - b));
  });

  it('holds back a short block of a stream, and ends the session of a long one', async () => {
    const { simulation, got, peers, send } = await pair('stream');
    const open = simulation.network.block('a', 'b');
    send(1, 2);
    await simulation.runFor(500);
    expect(got).toEqual([]);
    open();
    await simulation.runFor(100);
    expect(got).toEqual([1, 2]);
    simulation.network.partition([['a'], ['b']]);
    send(3);
    await simulation.runFor(2_000);
    expect(peers).toEqual(['up', 'down']);
    simulation.heal();
    await simulation.runFor(100);
    expect(peers).toEqual(['up', 'down', 'up']);
    expect(got).toEqual([1, 2]);
  });
});
