import type { Entry } from '@quorate/durable-log';
import { createRaft, type RaftCore, type RaftMessage } from '@quorate/raft-core';
import { describe, expect, it } from 'vitest';
import { Net, withLog } from './net.js';

/*
 * What the paper says of crashes and of time: Figure 2, State, and sections 5.5 and 5.6, which are sections 3.7 to 3.9 of
 * the dissertation.
 */

const abc = ['a', 'b', 'c'];
const classic = { preVote: false, checkQuorum: false };
const entry = (index: number, term: number): Entry => ({
  index,
  term,
  kind: 'command',
  data: Buffer.from(`${String(term)}.${String(index)}`),
});

/** The node that starts from what this one has written. */
function restarted(node: RaftCore, entries: readonly Entry[]): RaftCore {
  let state = new Uint8Array();
  const log = [...entries];
  while (node.hasEffects()) {
    const { seq, persist } = node.takeEffects();
    if (persist?.state !== undefined) state = Uint8Array.from(persist.state);
    log.push(...(persist?.entries ?? []));
    node.persisted(seq);
  }
  return createRaft({
    id: node.id,
    seed: 9,
    membership: { voters: abc, learners: [] },
    recovered: { loaded: { state, first: 1, last: log.length }, entries: log },
    ...classic,
  });
}

describe('Figure 2, State; section 3.8: persisted state and restarts', () => {
  it('currentTerm and the log are durable before a request is answered', () => {
    const node = withLog('b', abc, [1], classic);
    node.step('a', {
      type: 'append',
      term: 4,
      prevIndex: 1,
      prevTerm: 1,
      commit: 0,
      entries: [entry(2, 4)],
    });
    const { sendNow, sendAfterPersist, persist, mustSync } = node.takeEffects();
    expect(sendNow).toEqual([]);
    expect(mustSync).toBe(true);
    expect(persist?.entries).toEqual([entry(2, 4)]);
    expect(persist?.state).toBeDefined();
    expect(sendAfterPersist).toMatchObject([{ to: 'a', message: { type: 'append-accepted', match: 2 } }]);
  });

  it('a restart brings back currentTerm, votedFor and the log, and applies the log from the beginning', () => {
    const node = withLog('b', abc, [1], classic);
    node.step('c', {
      type: 'vote',
      term: 6,
      lastIndex: 5,
      lastTerm: 5,
      commit: 0,
      commitTerm: 0,
      pre: false,
      transfer: false,
    });
    node.step('c', {
      type: 'append',
      term: 6,
      prevIndex: 1,
      prevTerm: 1,
      commit: 0,
      entries: [entry(2, 6)],
    });
    const again = restarted(node, [entry(1, 1)]);
    expect(again.status()).toMatchObject({
      role: 'follower',
      term: 6,
      vote: 'c',
      last: 2,
      commit: 0,
      applied: 0,
    });
    again.step('c', { type: 'append', term: 6, prevIndex: 2, prevTerm: 6, commit: 2, entries: [] });
    expect(again.takeEffects().committed.map(({ index }) => index)).toEqual([1, 2]);
  });
});

describe('section 5.5, 3.7: follower and candidate crashes', () => {
  it('requests to a node that is down are made again until it answers', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.allow = ({ from, to }) => from !== 'c' && to !== 'c';
    net.propose('a', 'x');
    net.tick(500, 'a', 'b');
    net.allow = () => true;
    net.tick(3, 'a');
    expect(net.commands('c')).toEqual(['x']);
  });

  it('a vote is asked for again, in the next election, of a node that was down', () => {
    const net = new Net(abc, classic);
    net.allow = () => false;
    net.elect('a');
    net.tick(25, 'a');
    net.allow = () => true;
    net.tick(25, 'a');
    expect(net.node('a').status().role).toBe('leader');
  });

  it.each<RaftMessage>([
    { type: 'append', term: 2, prevIndex: 1, prevTerm: 1, commit: 1, entries: [entry(2, 2)] },
    {
      type: 'vote',
      term: 2,
      lastIndex: 2,
      lastTerm: 2,
      commit: 0,
      commitTerm: 0,
      pre: false,
      transfer: false,
    },
  ])('a $type that comes again is answered alike, and changes nothing', (message) => {
    const node = withLog('b', abc, [1], classic);
    node.step('a', message);
    const first = node.takeEffects();
    node.persisted(first.seq);
    const before = node.status();
    node.step('a', message);
    const second = node.takeEffects();
    expect(second.sendAfterPersist).toEqual(first.sendAfterPersist);
    expect(second.persist).toBeUndefined();
    expect(second.committed).toEqual([]);
    expect(node.status()).toMatchObject({ term: before.term, vote: before.vote, last: before.last });
  });
});

describe('section 5.6, 3.9: timing and availability', () => {
  /** Which terms there were while messages took so many ticks. */
  function terms(broadcastTicks: number): number {
    const net = new Net(abc, { ...classic, electionTicks: 10 });
    net.elect('a');
    for (let round = 0; round < 400 / broadcastTicks; round++) {
      for (let tick = 0; tick < broadcastTicks; tick++) for (const id of abc) net.node(id).tick();
      net.run();
    }
    return Math.max(...abc.map((id) => net.node(id).status().term));
  }

  it('a leader stays while messages take much less than an election timeout', () => {
    expect(terms(1)).toBe(1);
    expect(terms(5)).toBe(1);
  });

  it('and no longer when they take more: elections go on', () => {
    expect(terms(25)).toBeGreaterThan(5);
  });
});
