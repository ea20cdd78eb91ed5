import { Simulation, type NetworkOptions } from '@quorate/simulator';
import { createTransport, type Transport } from '@quorate/transport';
import { describe, expect, it } from 'vitest';
import { delayShare, type DelayShape } from '../src/core/delays.js';

/** Nodes that note what arrives, with the sender and the channel. */
async function nodes(ids: readonly string[], network: NetworkOptions = {}) {
  const simulation = new Simulation({ seed: 1, network });
  const transports = new Map<string, Transport>();
  const got: string[] = [];
  for (const id of ids) {
    simulation.node(id, ({ link, runtime }) => {
      const transport = createTransport(link, { runtime });
      transports.set(id, transport);
      for (const channel of ['a', 'b']) {
        transport.subscribe(channel, ({ from, body }) =>
          got.push(`${from}${id} ${channel}${Buffer.from(body).toString()}`),
        );
        transport.respond(channel, () => Buffer.from(`${id} answers`));
      }
      return transport.start();
    });
  }
  await simulation.runFor(100);
  const send = (from: string, to: string, body = '', channel = 'a'): void => {
    transports.get(from)?.send(to, channel, Buffer.from(body));
  };
  const everybody = (): void => {
    for (const from of ids) for (const to of ids) if (from !== to) send(from, to);
  };
  return { simulation, network: simulation.network, transports, got, send, everybody };
}

describe.each(['stream', 'datagram'] as const)('a network of %ss', (kind) => {
  it('holds back what is clogged, loses nothing, and lets it go in a burst and in order of the stream', async () => {
    const { simulation, network, got, send } = await nodes(['x', 'y'], { kind });
    const open = network.clog('x', 'y');
    for (const body of ['1', '2', '3']) send('x', 'y', body);
    send('y', 'x', '4');
    await simulation.runFor(5_000);
    expect(got).toEqual(['yx a4']);
    open();
    await simulation.runFor(100);
    expect(kind === 'stream' ? got : got.toSorted()).toEqual(
      kind === 'stream' ? ['yx a4', 'xy a1', 'xy a2', 'xy a3'] : ['xy a1', 'xy a2', 'xy a3', 'yx a4'],
    );
  });

  it('cuts one direction, halves, bridges and single nodes, and heals', async () => {
    const { simulation, network, got, everybody } = await nodes(['x', 'y', 'z'], { kind });
    const who = async (): Promise<string[]> => {
      got.length = 0;
      everybody();
      await simulation.runFor(50);
      return got.map((one) => one.slice(0, 2)).toSorted();
    };
    const all = ['xy', 'xz', 'yx', 'yz', 'zx', 'zy'];
    expect(await who()).toEqual(all);
    const without = (...gone: string[]): string[] => all.filter((way) => !gone.includes(way));
    const cuts = [
      [() => network.block('x', 'y'), without('xy')],
      [() => network.partition([['x', 'y'], ['z']]), without('xz', 'yz', 'zx', 'zy')],
      [() => network.partition([['x', 'y'], ['z']], { oneWay: true }), without('xz', 'yz')],
      [
        () =>
          network.partition([
            ['x', 'z'],
            ['y', 'z'],
          ]),
        without('xy', 'yx'),
      ],
      [() => network.isolate('x'), without('xy', 'xz', 'yx', 'zx')],
      [() => network.isolate('x', 'in'), without('yx', 'zx')],
      [() => network.isolate('x', 'out'), without('xy', 'xz')],
    ] as const;
    for (const [cut, left] of cuts) {
      const open = cut();
      expect(await who()).toEqual(left);
      open();
      await simulation.runFor(50);
      expect(await who()).toEqual(all);
    }
    network.isolate('x');
    network.clog('y', 'z');
    network.heal();
    await simulation.runFor(50);
    expect(await who()).toEqual(all);
  });

  it('disturbs one channel, its requests and the answers to them, and leaves the others alone', async () => {
    const { simulation, network, got, send, transports } = await nodes(['x', 'y'], { kind });
    const request = (channel: string) =>
      transports
        .get('x')
        ?.request('y', channel, Buffer.alloc(0), { timeoutMs: 100 })
        .then(
          () => 'answered',
          (error: unknown) => (error as { code: string }).code,
        );
    const ask = async (): Promise<unknown[]> => {
      const both = Promise.all([request('a'), request('b')]);
      await simulation.runFor(200);
      return both;
    };
    let undo = network.block('x', 'y', { channel: 'a' });
    send('x', 'y', '1', 'a');
    send('x', 'y', '2', 'b');
    expect(await ask()).toEqual(['TIMEOUT', 'answered']);
    expect(got).toEqual(['xy b2']);
    undo();
    expect(await ask()).toEqual(['answered', 'answered']);
    undo = network.block('y', 'x', { channel: 'b' });
    expect(await ask()).toEqual(['answered', 'TIMEOUT']);
    undo();
    undo = network.disturb({ loss: 1 }, { channel: 'a' });
    expect(await ask()).toEqual(['TIMEOUT', 'answered']);
    undo();
    undo = network.clog('x', 'y', { channel: 'a' });
    got.length = 0;
    send('x', 'y', '3', 'a');
    send('x', 'y', '4', 'b');
    await simulation.runFor(100);
    expect(got).toEqual(['xy b4']);
    undo();
    await simulation.runFor(100);
    expect(got).toEqual(['xy b4', 'xy a3']);
  });
});

describe('a network', () => {
  it('repeats datagrams and never what a stream carries', async () => {
    for (const [kind, least] of [
      ['datagram', 20],
      ['stream', 10],
    ] as const) {
      const { simulation, network, got, send } = await nodes(['x', 'y'], { kind });
      network.disturb({ duplicate: 1 });
      for (let at = 0; at < 10; at++) send('x', 'y', String(at));
      await simulation.runFor(100);
      expect(got).toHaveLength(least);
    }
  });

  it('ends a session that is reset, and begins another', async () => {
    const { simulation, network, got, transports, send } = await nodes(['x', 'y']);
    const peers: string[] = [];
    transports.get('x')?.onPeer(({ type }) => peers.push(type));
    send('x', 'y', 'lost');
    network.reset('x', 'y');
    await simulation.runFor(100);
    send('x', 'y', '2');
    await simulation.runFor(100);
    expect([peers, got]).toEqual([['up', 'down', 'up'], ['xy a2']]);
  });

  it('lets the latest disturbance count, and forgets each when it is undone', async () => {
    const { network } = await nodes([]);
    const one = network.disturb({ maxDelayMs: 10 });
    const two = network.disturb({ maxDelayMs: 50, minDelayMs: 5 });
    expect(network.faults).toMatchObject({ minDelayMs: 5, maxDelayMs: 50 });
    one();
    expect(network.faults).toMatchObject({ minDelayMs: 5, maxDelayMs: 50 });
    two();
    expect(network.faults).toMatchObject({ minDelayMs: 0.2, maxDelayMs: 2 });
    expect(() => network.disturb({ loss: 2 })).toThrow('INVALID_OPTION: loss');
    expect(() => network.configure({ delayShape: 'gamma' as DelayShape })).toThrow(
      'INVALID_OPTION: delayShape',
    );
  });

  it('spreads delays as the shape says', () => {
    const sample = (shape: DelayShape): number[] => {
      const random = new Simulation({ seed: 3 }).stream(shape);
      return Array.from({ length: 20_000 }, () => delayShare(shape, random)).sort((a, b) => a - b);
    };
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const quantile = (values: number[], part: number): number =>
      values[Math.floor(part * values.length)] ?? 0;
    for (const shape of ['uniform', 'normal', 'exponential', 'pareto'] as const) {
      const values = sample(shape);
      expect(values[0]).toBeGreaterThanOrEqual(0);
      expect(values.at(-1)).toBeLessThanOrEqual(1);
    }
    expect(mean(sample('uniform'))).toBeCloseTo(0.5, 1);
    const normal = sample('normal');
    // The standard deviation of the mean of six uniform numbers is 1 / sqrt(72).
    expect(quantile(normal, 0.841) - quantile(normal, 0.159)).toBeCloseTo(2 / Math.sqrt(72), 1);
    const exponential = sample('exponential');
    expect(mean(exponential)).toBeCloseTo(0.1, 2);
    expect(quantile(exponential, 0.5)).toBeCloseTo(Math.LN2 / 10, 2);
    expect(quantile(exponential, 0.95)).toBeCloseTo(Math.log(20) / 10, 1);
    const pareto = sample('pareto');
    expect(quantile(pareto, 0.5)).toBeCloseTo(0.01, 2);
    expect(pareto.filter((value) => value > 0.5).length / pareto.length).toBeCloseTo(0.01, 2);
  });
});
