import { witnessMachine } from '@quorate/replicated-log';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from './node-cluster.js';
import { Journal } from './node-journal.js';
import { Net } from './net.js';

let closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing) await close();
  closing = [];
});

async function started(
  asWitness: boolean,
): Promise<Cluster<number | undefined, undefined, readonly string[]>> {
  const cluster = await Cluster.start<number | undefined, undefined, readonly string[]>({
    machine: (id) => (id === 'c' && asWitness ? witnessMachine() : new Journal()),
    witnesses: ['c'],
    node: { snapshotEntries: 5, keepEntries: 0 },
  });
  closing.push(() => cluster.close());
  return cluster;
}

describe('a witness', () => {
  it('makes a majority with one full node, restarts, and has nothing to read', async () => {
    const cluster = await started(true);
    const leader = await cluster.elected();
    expect(leader).not.toBe('c');
    const other = leader === 'a' ? 'b' : 'a';
    await cluster.crash(other);
    const log = cluster.log(leader);
    for (let count = 1; count <= 12; count++) {
      expect(await cluster.settled(log.propose(Buffer.from(String(count))))).toBe(count);
    }
    await cluster.crash('c');
    await cluster.up('c');
    expect(await cluster.settled(log.propose(Buffer.from('13')))).toBe(13);
    const witness = cluster.log('c');
    expect(await cluster.settled(witness.propose(Buffer.from('by the witness')))).toBeUndefined();
    await expect(cluster.settled(witness.read(undefined, 'linearizable'))).rejects.toMatchObject({
      code: 'NO_STATE',
    });
    await expect(cluster.settled(witness.openSession())).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await cluster.up(other);
    const lines = await cluster.settled(cluster.log(other).read(undefined, 'linearizable'));
    expect(lines).toHaveLength(14);
    await cluster.crash(leader);
    await cluster.runtime.runUntil(() => cluster.leader() === other, 10_000);
    expect(await cluster.settled(cluster.log(other).propose(Buffer.from('15')))).toBe(15);
  });

  it('that was started as a full node stops with what to do', async () => {
    const cluster = await started(false);
    const leader = await cluster.elected();
    await cluster.settled(cluster.log(leader).propose(Buffer.from('x')));
    await cluster.settled(cluster.log(leader).propose(Buffer.from('y')));
    await cluster.runtime.advance(200);
    const { stopped } = cluster.log('c');
    expect(stopped.reason).toMatchObject({ code: 'STATE_MACHINE_FAILED' });
    expect(String((stopped.reason as Error).cause)).toMatch(/started with witnessMachine\(\)/);
  });

  it('is not told what is not durable on the leader, so that it never has the longest log', () => {
    // Found by simulation: the leader lost its tail in a crash, and the witness, which had it, voted for nobody any more.
    const net = new Net(['a', 'b', 'c'], {}, { voters: ['a', 'b', 'c'], learners: [], witnesses: ['c'] });
    net.elect('a');
    net.tick(2, 'a');
    net.hold.add('a');
    net.allow = ({ from, to }) => from !== 'b' && to !== 'b';
    net.propose('a', 'x');
    net.tick(3, 'a');
    expect(net.node('c').status().last).toBe(1);
    net.release('a');
    expect(net.node('c').status().last).toBe(2);
    expect(net.commands('a')).toEqual(['x']);
  });

  it.each([
    ['is removed', { voters: ['b', 'c'], learners: [], witnesses: ['c'] }],
    ['becomes a learner', { voters: ['b', 'c'], learners: ['a'], witnesses: ['c'] }],
  ])('keeps a leader that %s until a full voter that stays holds everything', (_, next) => {
    // Found by simulation: nobody who stayed could be elected, because only the witness had the last entries.
    const net = new Net(['a', 'b', 'c'], {}, { voters: ['a', 'b', 'c'], learners: [], witnesses: ['c'] });
    net.elect('a');
    net.tick(2, 'a');
    net.allow = ({ from, to }) => from !== 'b' && to !== 'b';
    net.propose('a', 'x');
    net.node('a').changeMembership(next, 'leave');
    net.propose('a', 'y');
    net.tick(3, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', membership: { voters: ['a', 'b', 'c'] } });
    expect(net.commands('a')).toEqual(['x']);
    expect(net.results.get('a')).toMatchObject([{ ok: false, reason: 'transferring' }]);
    // Nor does the witness learn of what that voter lacks: this leader might not come back.
    expect(net.node('a').status().last).toBe(3);
    expect(net.node('c').status().last).toBe(2);
    net.allow = () => true;
    net.tick(3, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'follower', membership: { voters: ['b', 'c'] } });
    net.tick(45, 'b', 'c');
    expect(net.node('b').status().role).toBe('leader');
    expect(net.commands('b')).toEqual(['x']);
  });

  it('is none in the middle of its life, and a full node does not become one', () => {
    const net = new Net(['a', 'b', 'c'], {}, { voters: ['a', 'b', 'c'], learners: [], witnesses: ['c'] });
    net.elect('a');
    net.node('a').changeMembership({ voters: ['a', 'b', 'c'], learners: [] }, 'promote');
    net.node('a').changeMembership({ voters: ['a', 'b'], learners: ['c'] }, 'learn');
    net
      .node('a')
      .changeMembership({ voters: ['a', 'b', 'c'], learners: [], witnesses: ['b', 'c'] }, 'demote');
    net.run();
    expect(net.results.get('a')).toMatchObject([
      {
        id: 'promote',
        reason: 'config-invalid',
        detail: 'c stays a witness until it is removed; add a node of another name',
      },
      { id: 'learn', reason: 'config-invalid' },
      {
        id: 'demote',
        reason: 'config-invalid',
        detail: 'b stays a full member until it is removed; add a node of another name',
      },
    ]);
  });
});
