import { describe, expect, it } from 'vitest';
import { createRaft } from '@quorate/raft-core';
import { InvalidOptionError } from '@quorate/runtime';
import { Net, withLog } from './net.js';

const abc = ['a', 'b', 'c'];

describe('section 3.10: leadership transfer', () => {
  it('the target is brought up to date, told to campaign, and wins although the others hear from a leader', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = ({ to }) => to !== 'c';
    net.propose('a', 'x');
    net.allow = () => true;
    net.node('a').transferLeadership('c');
    net.propose('a', 'y');
    expect(net.results.get('a')).toMatchObject([{ ok: false, reason: 'transferring' }]);
    net.tick(2, 'a');
    expect(net.node('c').status().role).toBe('leader');
    expect(net.node('a').status()).toMatchObject({ role: 'follower', leader: 'c' });
  });

  it('is given up after an election timeout, and proposals are taken again', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'c' && to !== 'c';
    net.node('a').transferLeadership('c');
    net.tick(10, 'a');
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual(['x']);
  });

  it('to a learner, a witness, a stranger or oneself does nothing', () => {
    const net = new Net(['a', 'b', 'c', 'd'], {}, { voters: abc, learners: ['d'], witnesses: ['c'] });
    net.elect('a');
    for (const to of ['a', 'c', 'd', 'x']) net.node('a').transferLeadership(to);
    expect(net.node('a').status().transferee).toBeUndefined();
  });
});

describe('chapter 4: membership', () => {
  it('a voter is added and counts once the change is applied', () => {
    const net = new Net(['a', 'b', 'c', 'd'], {}, { voters: abc, learners: [] });
    net.elect('a');
    net.node('a').changeMembership({ voters: ['a', 'b', 'c', 'd'], learners: [] }, 'change');
    net.run();
    net.tick(2, 'a');
    for (const id of ['a', 'b', 'c', 'd']) {
      expect(net.node(id).status().membership.voters).toEqual(['a', 'b', 'c', 'd']);
    }
  });

  it('section 4.3: an arbitrary change passes through a joint configuration and leaves it by itself', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], {}, { voters: abc, learners: [] });
    net.elect('a');
    const seen: number[] = [];
    net.node('a').changeMembership({ voters: ['a', 'd', 'e'], learners: ['b'] }, 'change');
    for (let tick = 0; tick < 5; tick++) {
      net.tick(1, 'a');
      seen.push(net.node('a').status().membership.outgoing?.length ?? 0);
    }
    expect(seen.at(-1)).toBe(0);
    expect(net.committed.get('a')?.filter(({ kind }) => kind === 'config')).toHaveLength(3);
    expect(net.node('d').status().membership).toEqual({ voters: ['a', 'd', 'e'], learners: ['b'] });
  });

  it('while a joint configuration is in force, both majorities are needed', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], {}, { voters: abc, learners: [] });
    net.elect('a');
    net.node('a').changeMembership({ voters: ['a', 'd', 'e'], outgoing: abc, learners: [] }, 'joint');
    net.run();
    net.tick(2, 'a');
    expect(net.node('a').status().membership.outgoing).toEqual(abc);
    net.allow = ({ from, to }) => !['d', 'e'].includes(from) && !['d', 'e'].includes(to);
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual([]);
    net.allow = () => true;
    net.tick(2, 'a');
    expect(net.commands('a')).toEqual(['x']);
    net.allow = ({ from, to }) => !['b', 'c'].includes(from) && !['b', 'c'].includes(to);
    net.propose('a', 'y');
    net.tick(1, 'a');
    expect(net.commands('a')).toEqual(['x']);
    net.allow = () => true;
    net.tick(2, 'a');
    expect(net.commands('a')).toEqual(['x', 'y']);
  });

  it('Figure 4.1, AddServer rule 4: a change is committed by the configuration before it, and then the new one counts', () => {
    // Here a configuration takes effect when it is applied, not when it is appended.
    const net = new Net(['a', 'b', 'c', 'd'], {}, { voters: abc, learners: [] });
    net.elect('a');
    net.allow = ({ from, to }) => !['c', 'd'].includes(from) && !['c', 'd'].includes(to);
    net.node('a').changeMembership({ voters: ['a', 'b', 'c', 'd'], learners: [] }, 'add');
    net.run();
    expect(net.node('a').status().membership.voters).toEqual(['a', 'b', 'c', 'd']);
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual([]);
    net.allow = ({ from, to }) => from !== 'c' && to !== 'c';
    net.tick(5, 'a');
    expect(net.commands('a')).toEqual(['x']);
  });

  it('Figure 4.1, RemoveServer rule 3: who is removed counts no longer', () => {
    const net = new Net(['a', 'b', 'c', 'd'], {});
    net.elect('a');
    net.node('a').changeMembership({ voters: abc, learners: [] }, 'remove');
    net.run();
    net.tick(2, 'a');
    net.allow = ({ from, to }) => !['c', 'd'].includes(from) && !['c', 'd'].includes(to);
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual(['x']);
  });

  it('section 4.1: a leader changes nothing before an entry of its own term is committed', () => {
    // D. Ongaro, "bug in single-server membership changes", raft-dev, 2015.
    const net = new Net(['a', 'b', 'c', 'd'], { preVote: false, checkQuorum: false });
    net.elect('a');
    net.tick(2, 'a');
    net.allow = ({ message }) => message.type !== 'append';
    net.elect('b');
    expect(net.node('b').status()).toMatchObject({ role: 'leader', commit: 1, last: 2 });
    net.node('b').changeMembership({ voters: ['a', 'b', 'c'], learners: [] }, 'early');
    net.run();
    expect(net.results.get('b')).toMatchObject([{ id: 'early', ok: false, reason: 'config-pending' }]);
  });

  it('section 4.2.1: nodes that catch up as learners count in no majority', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], {}, { voters: abc, learners: ['d', 'e'] });
    net.elect('a');
    net.allow = ({ from, to }) => !['b', 'c'].includes(from) && !['b', 'c'].includes(to);
    net.propose('a', 'x');
    net.tick(3, 'a');
    for (const id of ['d', 'e'])
      expect(net.node('a').status().progress.get(id)?.match).toBe(net.node('a').status().last);
    expect(net.commands('a')).toEqual([]);
  });

  it('one change at a time; the next is refused until the last is applied', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = () => false;
    net.node('a').changeMembership({ voters: ['a', 'b'], learners: [] }, 'one');
    net.node('a').changeMembership({ voters: ['a', 'c'], learners: [] }, 'two');
    net.run();
    expect(net.results.get('a')).toMatchObject([{ id: 'two', ok: false, reason: 'config-pending' }]);
  });

  it('an impossible membership and one asked of a follower are refused with the reason', () => {
    const net = new Net(abc);
    net.elect('a');
    net.node('a').changeMembership({ voters: [], learners: [] }, 'none');
    net.node('b').changeMembership({ voters: ['b'], learners: [] }, 'elsewhere');
    net.run();
    expect(net.results.get('a')).toMatchObject([{ reason: 'config-invalid', detail: 'there is no voter' }]);
    expect(net.results.get('b')).toMatchObject([{ reason: 'not-leader', leader: 'a' }]);
  });

  it('section 4.2.2: a leader that is removed steps down once that is applied, and the others go on', () => {
    const net = new Net(abc);
    net.elect('a');
    net.node('a').changeMembership({ voters: ['b', 'c'], learners: [] }, 'change');
    net.run();
    expect(net.node('a').status().role).toBe('follower');
    net.tick(45, 'b', 'c');
    expect([net.node('b').status().role, net.node('c').status().role]).toContain('leader');
    net.tick(45, 'a');
    expect(net.node('a').status().role).toBe('follower');
  });

  it('section 4.2.3: a voter that hears from its leader ignores candidates, unless that leader asked for them', () => {
    const net = new Net(abc);
    net.elect('a');
    const ask = {
      type: 'vote',
      term: 9,
      lastIndex: 99,
      lastTerm: 9,
      commit: 0,
      commitTerm: 0,
      pre: false,
    } as const;
    net.node('b').step('c', { ...ask, transfer: false });
    expect(net.node('b').status()).toMatchObject({ term: 1, leader: 'a' });
    net.node('b').step('c', { ...ask, transfer: true });
    expect(net.node('b').status()).toMatchObject({ term: 9, vote: 'c' });
  });

  it('a learner gets the log and neither votes nor campaigns', () => {
    const net = new Net(['a', 'b', 'c', 'd'], {}, { voters: abc, learners: ['d'] });
    net.elect('a');
    net.propose('a', 'x');
    net.tick(1, 'a');
    expect(net.commands('d')).toEqual(['x']);
    net.tick(60, 'd');
    expect(net.node('d').status().role).toBe('follower');
    expect(net.node('a').status().progress.get('d')?.match).toBe(net.node('a').status().last);
  });

  it('a witness acknowledges without the commands, and never leads', () => {
    const net = new Net(abc, {}, { voters: abc, learners: [], witnesses: ['c'] });
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'b' && to !== 'b';
    net.propose('a', 'x');
    net.tick(1, 'a');
    expect(net.commands('a')).toEqual(['x']);
    expect(net.commands('c')).toEqual(['']);
    net.tick(60, 'c');
    expect(net.node('c').status().role).toBe('follower');
  });

  it('who joins later learns the membership from the log', () => {
    const net = new Net(abc);
    net.add(createRaft({ id: 'd', seed: 9, membership: { voters: [], learners: [] } }));
    net.elect('a');
    net.node('a').changeMembership({ voters: abc, learners: ['d'] }, 'change');
    net.run();
    net.tick(2, 'a');
    expect(net.node('d').status().membership).toEqual({ voters: abc, learners: ['d'] });
  });
});

describe('section 6.2 and 9.6: CheckQuorum and PreVote', () => {
  it('a leader that hears from no majority for an election timeout steps down', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = () => false;
    net.tick(20, 'a');
    expect(net.node('a').status().role).toBe('follower');
  });

  it('a node that was cut off comes back without a larger term and without deposing anybody', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'c' && to !== 'c';
    net.tick(100, 'c');
    net.tick(5, 'a', 'b');
    expect(net.node('c').status()).toMatchObject({ role: 'pre-candidate', term: 1 });
    net.allow = () => true;
    net.tick(2, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term: 1 });
    expect(net.node('c').status()).toMatchObject({ role: 'follower', leader: 'a' });
  });

  it('forgetLeader lets a follower vote at once', () => {
    const net = new Net(abc);
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'a' && to !== 'a';
    net.node('b').forgetLeader();
    net.node('c').forgetLeader();
    net.elect('b');
    expect(net.node('b').status().role).toBe('leader');
  });
});

describe('section 6.4: reads', () => {
  it('a barrier is answered with the commit index after a round of heartbeats, on a follower too', () => {
    const net = new Net(abc);
    net.elect('a');
    net.propose('a', 'x');
    net.node('a').readBarrier('one');
    net.node('b').readBarrier('two');
    net.run();
    expect(net.results.get('a')).toEqual([{ id: 'one', ok: true, index: 2 }]);
    expect(net.results.get('b')).toEqual([{ id: 'two', ok: true, index: 2 }]);
  });

  it('a leader that was deposed without knowing it answers nobody', () => {
    const net = new Net(abc, { checkQuorum: false, preVote: false });
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'a' && to !== 'a';
    net.elect('b');
    net.propose('b', 'x');
    net.node('a').readBarrier('stale');
    net.tick(5, 'a');
    expect(net.results.get('a')).toEqual([]);
    net.allow = () => true;
    net.tick(1, 'b');
    expect(net.results.get('a')).toMatchObject([
      { id: 'stale', ok: false, reason: 'not-leader', leader: 'b' },
    ]);
  });

  it('step 1: no answer before an entry of the term is committed', () => {
    const net = new Net(abc, { checkQuorum: false, preVote: false });
    net.allow = ({ message }) => message.type !== 'append-accepted';
    net.elect('a');
    net.node('a').readBarrier('early');
    net.tick(3, 'a');
    expect(net.results.get('a')).toEqual([]);
    net.allow = () => true;
    net.node('a').reportUnreachable('b');
    net.tick(3, 'a');
    expect(net.results.get('a')).toMatchObject([{ id: 'early', ok: true, index: 1 }]);
  });

  it('steps 2 and 3: the index is that of when the read came, and a round counts that began behind it', () => {
    const net = new Net(abc);
    net.elect('a');
    net.propose('a', 'x');
    net.allow = ({ message }) => message.type !== 'heartbeat-reply';
    net.tick(1, 'a');
    const before = net.sent.filter(({ message }) => message.type === 'heartbeat-reply');
    net.node('a').readBarrier('read');
    net.run();
    // Answers to rounds from before the read prove nothing.
    for (const { from, message } of before) net.node('a').step(from, message);
    net.run();
    expect(net.results.get('a')).toEqual([]);
    net.allow = () => true;
    net.propose('a', 'y');
    net.tick(1, 'a');
    expect(net.results.get('a')).toEqual([{ id: 'read', ok: true, index: 2 }]);
  });

  it('barriers between two takes share a round', () => {
    const net = new Net(abc);
    net.elect('a');
    const before = net.sent.length;
    for (let read = 0; read < 100; read++) net.node('a').readBarrier(String(read));
    net.run();
    expect(net.results.get('a')).toHaveLength(100);
    expect(net.sent.length - before).toBe(4);
  });

  it('without a leader a barrier is refused', () => {
    const net = new Net(abc);
    net.node('a').readBarrier('x');
    net.run();
    expect(net.results.get('a')).toMatchObject([{ ok: false, reason: 'not-leader' }]);
  });

  it('6.4.1: with a lease no message is needed, until the lease is over', () => {
    const net = new Net(abc, { leaseDriftBound: 1.2 });
    net.tick(10);
    net.elect('a');
    net.tick(1);
    const before = net.sent.length;
    net.node('a').readBarrier('leased', 'lease');
    net.run();
    expect(net.results.get('a')).toMatchObject([{ id: 'leased', ok: true }]);
    expect(net.sent.length).toBe(before);
    net.allow = () => false;
    net.tick(8, 'a');
    net.node('a').readBarrier('late', 'lease');
    net.run();
    expect(net.results.get('a')).toHaveLength(1);
  });

  it('a lease is asked for by an option, and while leadership is handed over there is none', () => {
    const off = new Net(abc);
    off.elect('a');
    off.tick(1);
    const quiet = off.sent.length;
    off.node('a').readBarrier('x', 'lease');
    off.run();
    expect(off.sent.length).toBeGreaterThan(quiet);

    const on = new Net(abc, { leaseDriftBound: 1 });
    on.tick(10);
    on.elect('a');
    on.tick(1);
    on.allow = ({ to }) => to !== 'c';
    on.propose('a', 'x');
    on.allow = () => false;
    on.node('a').transferLeadership('c');
    on.node('a').readBarrier('y', 'lease');
    on.run();
    expect(on.results.get('a')).toEqual([]);
  });

  it('a node that has just started keeps its vote to itself while it may have promised a lease', () => {
    const node = withLog('a', abc, [], { leaseDriftBound: 1 });
    const ask = {
      type: 'vote',
      term: 3,
      lastIndex: 9,
      lastTerm: 2,
      commit: 0,
      commitTerm: 0,
      pre: false,
      transfer: false,
    } as const;
    node.step('b', ask);
    expect(node.status().term).toBe(0);
    for (let tick = 0; tick < 10; tick++) node.tick();
    node.step('b', ask);
    expect(node.status().vote).toBe('b');
  });
});

describe('section 10.2: batching and pipelining', () => {
  it('proposals between two takes travel in one message', () => {
    const net = new Net(abc);
    net.elect('a');
    const before = net.sent.length;
    for (let n = 0; n < 50; n++) net.node('a').propose([Buffer.from(String(n))], [`a/${String(n)}`]);
    net.run();
    const appends = net.sent
      .slice(before)
      .filter(({ message }) => message.type === 'append' && message.entries.length > 0);
    expect(appends).toHaveLength(2);
  });

  it('messages follow each other without waiting, up to the window', () => {
    const net = new Net(abc, { maxInflightMessages: 3, maxBytesPerMessage: 1 });
    net.elect('a');
    net.tick(1);
    const before = net.sent.length;
    net.allow = ({ to }) => to !== 'b';
    for (let n = 0; n < 10; n++) net.propose('a', String(n));
    const toB = net.sent
      .slice(before)
      .filter(({ to, message }) => to === 'b' && message.type === 'append' && message.entries.length > 0);
    expect(toB).toHaveLength(3);
    expect(net.node('a').status().progress.get('b')).toMatchObject({
      state: 'replicate',
      inflightMessages: 3,
    });
    net.allow = () => true;
    net.tick(12, 'a');
    expect(net.commands('b')).toHaveLength(10);
  });

  it('bytes bound the window too', () => {
    const net = new Net(abc, { maxInflightBytes: 25, maxBytesPerMessage: 10 });
    net.elect('a');
    net.tick(1);
    net.allow = ({ to }) => to !== 'b';
    for (let n = 0; n < 10; n++) net.propose('a', `0123456789`);
    expect(net.node('a').status().progress.get('b')?.inflightBytes).toBe(30);
  });
});

describe('limits and forwarding', () => {
  it('uncommitted bytes are bounded, and a command alone always fits', () => {
    const net = new Net(abc, { maxUncommittedBytes: 10 });
    net.elect('a');
    net.allow = () => false;
    net.propose('a', 'x'.repeat(30), 'y');
    expect(net.results.get('a')).toMatchObject([{ id: 'a/y', ok: false, reason: 'queue-full' }]);
    net.allow = () => true;
    net.tick(20, 'a');
    net.propose('a', 'z');
    expect(net.commands('a')).toContain('z');
  });

  it('a command above the limit is refused where it is proposed', () => {
    const net = new Net(abc, { maxCommandBytes: 4 });
    net.elect('a');
    net.propose('a', '12345');
    net.propose('b', '12345');
    expect(net.results.get('a')).toMatchObject([{ reason: 'too-large' }]);
    expect(net.results.get('b')).toMatchObject([{ reason: 'too-large' }]);
  });

  it('a follower forwards, and a message that comes twice is appended once', () => {
    const net = new Net(abc);
    net.elect('a');
    net.propose('b', 'x');
    const forward = net.sent.find(({ message }) => message.type === 'forward');
    if (forward === undefined) throw new Error('nothing was forwarded');
    net.node('a').step('b', forward.message);
    net.run();
    expect(net.commands('c')).toEqual(['x']);
    expect(net.node('a').status().dropped.duplicate).toBe(1);
  });

  it('a forward for another term is not taken', () => {
    const net = new Net(abc, { checkQuorum: false, preVote: false });
    net.elect('a');
    net.propose('b', 'x');
    const forward = net.sent.find(({ message }) => message.type === 'forward');
    net.elect('c');
    if (forward !== undefined) net.node('c').step('b', forward.message);
    net.run();
    expect(net.commands('c')).toEqual(['x']);
  });

  it('without forwarding the leader is named', () => {
    const net = new Net(abc, { forwardProposals: false });
    net.elect('a');
    net.propose('b', 'x');
    expect(net.results.get('b')).toMatchObject([{ reason: 'not-leader', leader: 'a' }]);
  });
});

describe('bad input', () => {
  it.each([
    ['an answer from a stranger', 'x', { type: 'append-accepted', term: 1, match: 1 }, 'unknownNode'],
    ['an index beyond the log', 'b', { type: 'append-accepted', term: 1, match: 99 }, 'impossible'],
    [
      'an answer to a round that never was',
      'b',
      { type: 'heartbeat-reply', term: 1, round: 99 },
      'impossible',
    ],
    ['a second leader in the term', 'b', { type: 'heartbeat', term: 1, commit: 0, round: 0 }, 'impossible'],
    ['a message from itself', 'a', { type: 'timeout-now', term: 1 }, 'impossible'],
  ] as const)('%s is dropped and counted', (_, from, message, reason) => {
    const net = new Net(abc);
    net.elect('a');
    net.node('a').step(from, message);
    expect(net.node('a').status().dropped[reason]).toBe(1);
    expect(net.node('a').status().role).toBe('leader');
  });

  it('entries that are not dense, or of a term to come, are dropped', () => {
    const node = withLog('b', abc, [1]);
    const entry = { kind: 'command', data: new Uint8Array() } as const;
    node.step('a', {
      type: 'append',
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      commit: 0,
      entries: [{ index: 3, term: 2, ...entry }],
    });
    node.step('a', {
      type: 'append',
      term: 2,
      prevIndex: 1,
      prevTerm: 1,
      commit: 0,
      entries: [{ index: 2, term: 3, ...entry }],
    });
    expect(node.status()).toMatchObject({ last: 1, dropped: { impossible: 2 } });
  });

  it.each([
    [{ electionTicks: 1 }, 'electionTicks'],
    [{ heartbeatTicks: 10 }, 'heartbeatTicks'],
    [{ maxInflightMessages: 0 }, 'maxInflightMessages'],
    [{ leaseDriftBound: 0.5 }, 'leaseDriftBound'],
    [{ leaseDriftBound: 2, checkQuorum: false }, 'checkQuorum'],
    [{ leaseDriftBound: 20 }, 'leaseDriftBound'],
    [{ preVote: 'yes' as never }, 'preVote'],
    [{ maxBytesPerMessage: 0 }, 'maxBytesPerMessage'],
    [{ maxInflightBytes: -1 }, 'maxInflightBytes'],
    [{ maxUncommittedBytes: 0.5 }, 'maxUncommittedBytes'],
    [{ maxCommandBytes: Number.NaN }, 'maxCommandBytes'],
    [{ maxApplyingBytes: 0 }, 'maxApplyingBytes'],
    [{ maxPendingReads: 0 }, 'maxPendingReads'],
    [{ id: '' }, 'id'],
    [{ seed: 0.5 }, 'seed'],
    [{ membership: { voters: ['a', 'a'], learners: [] } }, 'membership'],
  ])('the options %j are refused, naming %s', (options, name) => {
    const all = { id: 'a', seed: 1, membership: { voters: abc, learners: [] }, ...options };
    expect(() => createRaft(all)).toThrow(InvalidOptionError);
    expect(() => createRaft(all)).toThrow(new RegExp(`INVALID_OPTION: ${name} `));
  });

  it('applied() out of order, and ids that do not fit the commands, are programming errors', () => {
    const net = new Net(abc);
    net.elect('a');
    expect(() => net.node('a').applied(99)).toThrow(InvalidOptionError);
    expect(() => net.node('a').propose([new Uint8Array()], [])).toThrow(InvalidOptionError);
  });
});
