import { describe, expect, it } from 'vitest';
import { type AppliedCommand, startNode } from '@quorate/replicated-log';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { createMemoryLog } from '@quorate/durable-log';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { createMemoryNetwork, createTransport } from '@quorate/transport';
import { Net } from './net.js';

const abc = ['a', 'b', 'c'];

/** Whether a leader answers a lease read without asking anybody. */
function answersAlone(net: Net, id: string): boolean {
  const allowed = net.allow;
  net.allow = () => false;
  const before = net.results.get(id)?.length ?? 0;
  net.node(id).readBarrier(`read-${String(net.sent.length)}-${String(before)}`, 'lease');
  net.run();
  net.allow = allowed;
  return (net.results.get(id)?.length ?? 0) > before;
}

describe('section 6.4.1: a lease', () => {
  it('leaves out two ticks of the followers, whose first may come at once and whose second may have been late', () => {
    for (const leaseDriftBound of [1, 1.5]) {
      const net = new Net(abc, { leaseDriftBound, electionTicks: 10 });
      net.tick(10);
      net.elect('a');
      net.tick(1);
      net.allow = () => false;
      let held = 0;
      while (answersAlone(net, 'a')) {
        net.node('a').tick();
        held++;
      }
      // Held while (ticks + 1) * bound < 10 - 2.
      expect(held).toBe(leaseDriftBound === 1 ? 7 : 5);
    }
  });

  it('is void once a node was told to campaign, also when the hand-over was given up long ago', () => {
    const net = new Net(abc, { leaseDriftBound: 1 });
    net.tick(10);
    net.elect('a');
    net.tick(2);
    expect(answersAlone(net, 'a')).toBe(true);
    net.allow = ({ message }) => message.type !== 'timeout-now';
    net.node('a').transferLeadership('b');
    net.tick(15);
    expect(net.node('a').status()).toMatchObject({ role: 'leader', transferee: undefined });
    expect(answersAlone(net, 'a')).toBe(false);
  });

  it('is void after a stall, until a round that began behind it is answered', () => {
    const net = new Net(abc, { leaseDriftBound: 1 });
    net.tick(10);
    net.elect('a');
    net.tick(2);
    expect(answersAlone(net, 'a')).toBe(true);
    net.node('a').reportStall();
    expect(answersAlone(net, 'a')).toBe(false);
    net.tick(1);
    expect(answersAlone(net, 'a')).toBe(true);
  });

  it('is not trusted by a leader whose process was stopped for longer than a tick', async () => {
    const runtime = createVirtualRuntime({ seed: 1 });
    const network = createMemoryNetwork({ runtime, latencyMs: 1 });
    const asked: string[] = [];
    // The clock of the leader goes on while its timers do not.
    let stoppedMs = 0;
    const transport = createTransport(network.link('a'), {
      runtime: { ...runtime, monotonic: () => runtime.monotonic() + stoppedMs },
    });
    const log = await startNode({
      core: (recovered, seed) => {
        const core = createRaft({
          id: 'a',
          membership: { voters: ['a'], learners: [] },
          recovered,
          seed,
          leaseDriftBound: 1,
        });
        const reportStall = core.reportStall.bind(core);
        core.reportStall = () => {
          asked.push('stall');
          reportStall();
        };
        const readBarrier = core.readBarrier.bind(core);
        core.readBarrier = (id, kind) => {
          asked.push(kind ?? 'quorum');
          readBarrier(id, kind);
        };
        return core;
      },
      codec: raftCodec({ group: 'lease' }),
      transport,
      storage: createMemoryLog(),
      stateMachine: {
        apply: (commands: readonly AppliedCommand[]) => commands.map(() => undefined),
        query: () => 'answer',
        async *snapshot() {
          yield await Promise.resolve(new Uint8Array());
        },
        restore: () => Promise.resolve(),
      },
    });
    await transport.start();
    await runtime.runUntil(() => log.status().role === 'leader' && log.status().applied > 0, 10_000);
    const [first] = await Promise.all([log.read(undefined, 'lease'), runtime.advance(1)]);
    expect(first).toBe('answer');
    expect(asked).toEqual(['lease']);
    stoppedMs = 1_000;
    const second = log.read(undefined, 'lease');
    await runtime.advance(200);
    expect(await second).toBe('answer');
    expect(asked.slice(0, 3)).toEqual(['lease', 'stall', 'lease']);
    await log.close();
    await transport.close();
  });
});
