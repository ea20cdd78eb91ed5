import { describe, expect, it } from 'vitest';
import { createRaft, type RaftCore, type RaftMessage } from '@quorate/raft-core';
import { Net, withLog } from './net.js';

/*
 * The boxes of the paper's summary, rule by rule and by number: Figure 2 and Figure 13 of the extended version. The
 * sections behind them are in paper.test.ts, the dissertation in dissertation.test.ts.
 */

const abc = ['a', 'b', 'c'];
const classic = { preVote: false, checkQuorum: false };
const vote = { type: 'vote', commit: 0, commitTerm: 0, pre: false, transfer: false } as const;

/** What a lone node does next, once everything is durable. */
function answers(node: RaftCore): RaftMessage[] {
  const said: RaftMessage[] = [];
  while (node.hasEffects()) {
    const effects = node.takeEffects();
    said.push(...effects.sendNow.map(({ message }) => message));
    node.persisted(effects.seq);
    said.push(...effects.sendAfterPersist.map(({ message }) => message));
  }
  return said;
}

function entry(index: number, term: number) {
  return { index, term, kind: 'command', data: Buffer.from(`${String(term)}.${String(index)}`) } as const;
}

describe('Figure 2, AppendEntries, receiver implementation', () => {
  it.each(['append', 'heartbeat'] as const)(
    'rule 1: %s of an earlier term is answered with the present one',
    (type) => {
      const node = withLog('b', abc, [1], { term: 5 });
      const request = {
        append: { prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] },
        heartbeat: { round: 1 },
      };
      node.step('a', { type, term: 2, commit: 1, ...request[type] } as RaftMessage);
      expect(answers(node)).toMatchObject([{ type: 'heartbeat-reply', term: 5 }]);
      expect(node.status()).toMatchObject({
        last: 1,
        commit: 0,
        leader: undefined,
        dropped: { staleTerm: 1 },
      });
    },
  );

  it('rule 2: without an entry (prevLogIndex, prevLogTerm) nothing is taken', () => {
    const node = withLog('b', abc, [1, 1], { term: 1 });
    node.step('a', { type: 'append', term: 3, prevIndex: 2, prevTerm: 2, commit: 2, entries: [entry(3, 3)] });
    expect(answers(node)).toMatchObject([{ type: 'append-rejected', term: 3, prevIndex: 2 }]);
    expect(node.status()).toMatchObject({ last: 2, commit: 0 });
  });

  it('rule 3: an entry that conflicts goes, with all that follow it', () => {
    const node = withLog('b', abc, [1, 2, 2, 2], { term: 2 });
    node.step('a', { type: 'append', term: 3, prevIndex: 1, prevTerm: 1, commit: 0, entries: [entry(2, 3)] });
    const { persist } = node.takeEffects();
    expect(persist).toMatchObject({ truncateFrom: 2, entries: [{ index: 2, term: 3 }] });
    expect(node.status().last).toBe(2);
  });

  it('rule 4: entries that are not in the log are appended, and those that are stay', () => {
    const node = withLog('b', abc, [1, 1], { term: 1 });
    const entries = [entry(2, 1), entry(3, 1)];
    node.step('a', { type: 'append', term: 1, prevIndex: 1, prevTerm: 1, commit: 0, entries });
    const { persist } = node.takeEffects();
    expect(persist?.truncateFrom).toBeUndefined();
    expect(persist?.entries.map(({ index }) => index)).toEqual([3]);
  });

  it('rule 5: commitIndex is the lower of leaderCommit and the last new entry, and never goes back', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    const append = { type: 'append', term: 1, prevTerm: 1, entries: [] } as const;
    node.step('a', { ...append, prevIndex: 2, commit: 9 });
    expect(node.status().commit).toBe(2);
    node.step('a', { ...append, prevIndex: 3, commit: 1 });
    expect(node.status().commit).toBe(2);
  });
});

describe('Figure 2, RequestVote, receiver implementation', () => {
  it('rule 1: a candidate of an earlier term gets no vote', () => {
    const node = withLog('b', abc, [], { ...classic, term: 5 });
    node.step('a', { ...vote, term: 4, lastIndex: 9, lastTerm: 4 });
    expect(node.status()).toMatchObject({ term: 5, vote: undefined, dropped: { staleTerm: 1 } });
    expect(answers(node)).toMatchObject([{ type: 'vote-reply', term: 5, granted: false }]);
  });

  it('rule 1: a candidate learns the term from the refusal, also while another that cannot win raises it', () => {
    // Found by simulation: a removed node kept ahead of the only one that could win, forever.
    const net = new Net([], { ...classic });
    net.add(withLog('a', abc, [1, 1], { ...classic, term: 1 }));
    net.add(withLog('b', abc, [1], { ...classic, term: 7 }));
    net.add(withLog('c', abc, [], { ...classic, term: 7 }));
    net.allow = ({ from, to }) => from !== 'c' || to !== 'a';
    net.elect('a');
    expect(net.node('a').status()).toMatchObject({ role: 'follower', term: 7 });
    net.elect('a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term: 8 });
  });

  it('rule 2: the vote goes to whom it went before, or to anybody, if the log is up to date', () => {
    const node = withLog('b', abc, [1, 2], classic);
    node.step('a', { ...vote, term: 3, lastIndex: 9, lastTerm: 1 });
    expect(node.status()).toMatchObject({ term: 3, vote: undefined });
    node.step('c', { ...vote, term: 3, lastIndex: 2, lastTerm: 2 });
    node.step('a', { ...vote, term: 3, lastIndex: 9, lastTerm: 3 });
    node.step('c', { ...vote, term: 3, lastIndex: 2, lastTerm: 2 });
    expect(answers(node)).toMatchObject([
      { granted: false },
      { granted: true },
      { granted: false },
      { granted: true },
    ]);
    expect(node.status().vote).toBe('c');
  });
});

describe('Figure 2, rules for servers', () => {
  it('all servers, rule 1: what is committed and not applied is handed out, in order, once', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    node.step('a', { type: 'append', term: 1, prevIndex: 3, prevTerm: 1, commit: 2, entries: [] });
    expect(node.takeEffects().committed.map(({ index }) => index)).toEqual([1, 2]);
    node.step('a', { type: 'append', term: 1, prevIndex: 3, prevTerm: 1, commit: 3, entries: [] });
    expect(node.takeEffects().committed.map(({ index }) => index)).toEqual([3]);
    node.applied(3);
    expect(node.status()).toMatchObject({ commit: 3, applied: 3 });
  });

  it.each<RaftMessage>([
    { type: 'append-accepted', term: 9, match: 0 },
    { type: 'append-rejected', term: 9, prevIndex: 0, hintIndex: 0, hintTerm: 0 },
    { type: 'heartbeat-reply', term: 9, round: 0 },
    { type: 'vote-reply', term: 9, commit: 0, commitTerm: 0, pre: false, granted: false },
    { ...vote, term: 9, lastIndex: 0, lastTerm: 0 },
    { type: 'heartbeat', term: 9, commit: 0, round: 0 },
  ])('all servers, rule 2: a later term in $type makes a leader a follower of it', (message) => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.node('a').step('b', message);
    expect(net.node('a').status()).toMatchObject({ role: 'follower', term: 9 });
  });

  it('followers, rule 1: they answer candidates and leaders', () => {
    const node = withLog('b', abc, [], classic);
    node.step('a', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    node.step('a', { type: 'append', term: 1, prevIndex: 0, prevTerm: 0, commit: 0, entries: [] });
    expect(answers(node).map(({ type }) => type)).toEqual(['vote-reply', 'append-accepted']);
  });

  it('followers, rule 2: without a word of a leader and without giving a vote they campaign', () => {
    const node = withLog('b', abc, [], classic);
    node.setElectionTimeout(10);
    for (let tick = 0; tick < 9; tick++) node.tick();
    node.step('a', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    for (let tick = 0; tick < 9; tick++) node.tick();
    node.step('a', { type: 'heartbeat', term: 1, commit: 0, round: 1 });
    for (let tick = 0; tick < 9; tick++) node.tick();
    expect(node.status().role).toBe('follower');
    for (let tick = 0; tick < 11; tick++) node.tick();
    expect(node.status().role).toBe('candidate');
  });

  it('candidates, rule 1: a larger term, the own vote, a new timeout, and a request to all others', () => {
    const node = withLog('a', abc, [1, 2], classic);
    node.campaign();
    const effects = node.takeEffects();
    expect(node.status()).toMatchObject({ role: 'candidate', term: 3, vote: 'a' });
    expect(effects.sendNow).toMatchObject(
      ['b', 'c'].map((to) => ({
        to,
        message: { type: 'vote', term: 3, lastIndex: 2, lastTerm: 2, pre: false },
      })),
    );
  });

  it('candidates, rules 2 and 4: a majority makes a leader; without one the next timeout begins another election', () => {
    const node = withLog('a', ['a', 'b', 'c', 'd', 'e'], [], classic);
    node.campaign();
    answers(node);
    node.step('b', { type: 'vote-reply', term: 1, commit: 0, commitTerm: 0, pre: false, granted: true });
    expect(node.status().role).toBe('candidate');
    node.setElectionTimeout(5);
    for (let tick = 0; tick < 5; tick++) node.tick();
    expect(node.status()).toMatchObject({ role: 'candidate', term: 2 });
    answers(node);
    // A vote of the election before counts for nothing.
    node.step('b', { type: 'vote-reply', term: 1, commit: 0, commitTerm: 0, pre: false, granted: true });
    for (const id of ['c', 'd'])
      node.step(id, { type: 'vote-reply', term: 2, commit: 0, commitTerm: 0, pre: false, granted: true });
    expect(node.status()).toMatchObject({ role: 'leader', term: 2 });
  });

  it('candidates, rule 3: a message of a new leader of the term makes a follower', () => {
    const node = withLog('a', abc, [], classic);
    node.campaign();
    node.step('b', { type: 'append', term: 1, prevIndex: 0, prevTerm: 0, commit: 0, entries: [] });
    expect(node.status()).toMatchObject({ role: 'follower', leader: 'b', term: 1 });
  });

  it('leaders, rule 1: messages go out upon election and again in every heartbeat interval', () => {
    const net = new Net(abc, { ...classic, heartbeatTicks: 2 });
    net.elect('a');
    expect(
      net.sent.filter(({ from, message }) => from === 'a' && message.type === 'append').length,
    ).toBeGreaterThan(1);
    const heartbeats = () => net.sent.filter(({ message }) => message.type === 'heartbeat').length;
    const before = heartbeats();
    net.tick(6, 'a');
    expect(heartbeats() - before).toBe(3 * 2);
  });

  it('leaders, rule 2: a command is appended at once and handed out when it is committed', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.allow = () => false;
    net.propose('a', 'x');
    expect(net.node('a').status()).toMatchObject({ last: 2, commit: 1 });
    expect(net.commands('a')).toEqual([]);
    net.allow = () => true;
    net.tick(2, 'a');
    expect(net.commands('a')).toEqual(['x']);
  });

  it('leaders, rule 3: nextIndex and matchIndex follow answers, and go back where the logs differ', () => {
    const net = new Net([], classic);
    net.add(withLog('a', abc, [1, 2, 2], { term: 2, ...classic }));
    net.add(withLog('b', abc, [1], { term: 2, ...classic }));
    net.add(withLog('c', abc, [1, 1, 1, 1], { term: 2, ...classic }));
    net.elect('a');
    net.tick(3, 'a');
    for (const id of ['b', 'c']) {
      expect(net.node('a').status().progress.get(id)).toMatchObject({
        state: 'replicate',
        match: 4,
        next: 5,
      });
    }
    expect(net.sent.some(({ from, message }) => from === 'c' && message.type === 'append-rejected')).toBe(
      true,
    );
  });

  it('leaders, rule 4: commitIndex goes to what a majority holds of the present term', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], classic);
    net.elect('a');
    net.allow = () => false;
    net.propose('a', 'x', 'y');
    const { term, last } = net.node('a').status();
    net.node('a').step('b', { type: 'append-accepted', term, match: last });
    net.node('a').step('c', { type: 'append-accepted', term, match: last - 1 });
    expect(net.node('a').status().commit).toBe(last - 1);
    net.node('a').step('d', { type: 'append-accepted', term, match: last });
    expect(net.node('a').status().commit).toBe(last);
  });
});

describe('Figure 13, InstallSnapshot, receiver implementation', () => {
  const known = createRaft({ id: 'x', seed: 1, membership: { voters: abc, learners: [] } }).snapshotMeta();
  const membership = known?.membership ?? new Uint8Array();
  const snapshot = (term: number, index: number, of: number) =>
    ({ type: 'snapshot', term, meta: { index, term: of, membership } }) as const;

  it('rule 1: one of an earlier term is answered with the present one', () => {
    const node = withLog('b', abc, [1], { term: 5 });
    node.step('a', snapshot(2, 9, 2));
    expect(answers(node)).toMatchObject([{ type: 'heartbeat-reply', term: 5 }]);
    expect(node.status().last).toBe(1);
  });

  it('rules 2 to 4 are the transport’s and the storage’s: the core hears of a snapshot when all chunks are there', () => {
    const node = withLog('b', abc, [1], { term: 1 });
    node.step('a', snapshot(1, 9, 1));
    expect(node.takeEffects().installSnapshot).toMatchObject({ index: 9, term: 1 });
  });

  it('rule 5: it replaces what covers less, and one that covers less than is committed replaces nothing', () => {
    const node = withLog('b', abc, [], { term: 1 });
    node.step('a', snapshot(1, 9, 1));
    answers(node);
    node.applied(9);
    node.step('a', snapshot(1, 5, 1));
    const effects = node.takeEffects();
    expect(effects.installSnapshot).toBeUndefined();
    expect(effects.sendAfterPersist).toMatchObject([{ message: { type: 'append-accepted', match: 9 } }]);
  });

  it('rule 6: where the log has its last entry, what follows it is kept', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    node.step('a', snapshot(1, 2, 1));
    expect(node.takeEffects().installSnapshot).toBeUndefined();
    expect(node.status()).toMatchObject({ last: 3, commit: 2 });
  });

  it('rule 7: otherwise the whole log goes', () => {
    const node = withLog('b', abc, [1, 1, 1, 1, 1], { term: 2 });
    node.step('a', snapshot(2, 3, 2));
    expect(node.takeEffects().installSnapshot).toMatchObject({ index: 3, term: 2 });
    expect(node.status()).toMatchObject({ first: 4, last: 3, commit: 3 });
  });

  it('rule 8: the configuration of the snapshot is in force, and nothing is applied before the state is replaced', () => {
    const node = createRaft({ id: 'd', seed: 3, membership: { voters: [], learners: [] } });
    node.step('a', snapshot(1, 3, 1));
    node.step('a', { type: 'append', term: 1, prevIndex: 3, prevTerm: 1, commit: 4, entries: [entry(4, 1)] });
    expect(node.status().membership).toEqual({ voters: abc, learners: [] });
    const { seq, committed } = node.takeEffects();
    expect(committed).toEqual([]);
    node.persisted(seq);
    node.applied(3);
    expect(node.takeEffects().committed).toMatchObject([{ index: 4 }]);
  });

  it('one whose membership is none, or that is of a term to come, is dropped and counted', () => {
    const node = withLog('b', abc, [1], { term: 1 });
    node.step('a', {
      type: 'snapshot',
      term: 1,
      meta: { index: 5, term: 1, membership: new Uint8Array([1, 2, 3]) },
    });
    node.step('a', snapshot(1, 5, 2));
    expect(node.status()).toMatchObject({ last: 1, dropped: { impossible: 2 } });
  });
});

describe('section 6: cluster membership changes', () => {
  it('entries go to the nodes of both configurations, and any of them may lead', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], {}, { voters: abc, learners: [] });
    net.elect('a');
    net.node('a').changeMembership({ voters: ['c', 'd', 'e'], outgoing: abc, learners: [] }, 'joint');
    net.run();
    net.tick(3, 'a');
    net.propose('a', 'x');
    net.tick(2, 'a');
    for (const id of ['a', 'b', 'c', 'd', 'e']) expect(net.commands(id)).toEqual(['x']);
    net.node('a').transferLeadership('e');
    net.tick(2, 'a');
    expect(net.node('e').status().role).toBe('leader');
  });

  it('first issue: a new node catches up as a learner, which holds nobody up', () => {
    const net = new Net(['a', 'b', 'c', 'd'], {}, { voters: abc, learners: [] });
    net.elect('a');
    net.allow = ({ to }) => to !== 'd';
    net.node('a').changeMembership({ voters: abc, learners: ['d'] }, 'learner');
    net.run();
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual(['x']);
    net.allow = () => true;
    net.tick(3, 'a');
    expect(net.commands('d')).toEqual(['x']);
  });

  it('second issue: a leader that is not in the new configuration manages it, does not count itself, and steps down', () => {
    const net = new Net(['a', 'b', 'c', 'd', 'e'], {}, { voters: abc, learners: ['d', 'e'] });
    net.elect('a');
    net.node('a').changeMembership({ voters: ['b', 'd', 'e'], learners: [] }, 'without');
    net.run();
    net.tick(5);
    expect(net.node('a').status()).toMatchObject({
      role: 'follower',
      membership: { voters: ['b', 'd', 'e'] },
    });
    net.tick(45, 'b', 'd', 'e');
    expect(['b', 'd', 'e'].map((id) => net.node(id).status().role)).toContain('leader');
  });

  it('third issue: a removed node does not disturb those that hear from a leader', () => {
    const net = new Net(abc, { preVote: false });
    net.elect('a');
    net.allow = ({ to }) => to !== 'c';
    net.node('a').changeMembership({ voters: ['a', 'b'], learners: [] }, 'remove');
    net.run();
    net.allow = () => true;
    const { term } = net.node('a').status();
    for (let tick = 0; tick < 60; tick++) net.tick(1);
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term });
  });
});
