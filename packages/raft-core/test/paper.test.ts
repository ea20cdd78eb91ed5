import { describe, expect, it } from 'vitest';
import { createRaft, type RaftMessage } from '@quorate/raft-core';
import { Net, withLog } from './net.js';

const abc = ['a', 'b', 'c'];
const five = ['a', 'b', 'c', 'd', 'e'];

/** What a lone node says in answer to messages, once everything is durable. */
function answers(node: ReturnType<typeof createRaft>): RaftMessage[] {
  const said: RaftMessage[] = [];
  while (node.hasEffects()) {
    const effects = node.takeEffects();
    said.push(...effects.sendNow.map(({ message }) => message));
    node.persisted(effects.seq);
    said.push(...effects.sendAfterPersist.map(({ message }) => message));
  }
  return said;
}

const vote = { type: 'vote', commit: 0, commitTerm: 0, pre: false, transfer: false } as const;
const classic = { preVote: false, checkQuorum: false };

describe('section 5.1: terms', () => {
  it('a node enters a larger term that it sees, and a leader or candidate steps down', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term: 1 });
    net.node('a').step('b', { type: 'heartbeat-reply', term: 5, round: 0 });
    expect(net.node('a').status()).toMatchObject({ role: 'follower', term: 5, leader: undefined });
  });

  it('a request of a smaller term is refused and counted', () => {
    const node = withLog('a', abc, [1, 2], { term: 5 });
    node.step('b', { ...vote, term: 3, lastIndex: 9, lastTerm: 3 });
    expect(node.status().dropped.staleTerm).toBe(1);
    expect(answers(node)).toMatchObject([{ type: 'vote-reply', term: 5, granted: false }]);
  });
});

describe('section 5.2: leader election', () => {
  it('a follower that hears from nobody for an election timeout campaigns, and leads with a majority', () => {
    const net = new Net(abc, classic);
    net.node('a').setElectionTimeout(12);
    net.tick(11, 'a');
    expect(net.node('a').status().role).toBe('follower');
    net.tick(1, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term: 1 });
    expect(net.node('b').status()).toMatchObject({ role: 'follower', leader: 'a', term: 1 });
  });

  it('a candidate without a majority stays one, and tries again in a later term', () => {
    const net = new Net(five, classic);
    net.allow = ({ to }) => to === 'b' || to === 'a';
    net.elect('a');
    expect(net.node('a').status()).toMatchObject({ role: 'candidate', term: 1 });
    net.node('a').setElectionTimeout(10);
    net.tick(10, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'candidate', term: 2 });
  });

  it('a candidate that hears of a leader of its term follows it', () => {
    const net = new Net(abc, classic);
    net.allow = () => false;
    net.elect('a');
    net.node('a').step('b', { type: 'heartbeat', term: 1, commit: 0, round: 0 });
    expect(net.node('a').status()).toMatchObject({ role: 'follower', leader: 'b', term: 1 });
  });

  it('a voter gives one vote in a term, first come, first served', () => {
    const node = withLog('a', abc, [], classic);
    node.step('b', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    node.step('c', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    node.step('b', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    expect(answers(node)).toMatchObject([{ granted: true }, { granted: false }, { granted: true }]);
  });

  it('a vote is durable before it is given, and the own one before it counts', () => {
    const voter = withLog('a', abc, [], classic);
    voter.step('b', { ...vote, term: 1, lastIndex: 0, lastTerm: 0 });
    const effects = voter.takeEffects();
    expect(effects.sendNow).toEqual([]);
    expect(effects).toMatchObject({ mustSync: true, persist: { entries: [] } });
    expect(effects.sendAfterPersist).toMatchObject([{ to: 'b', message: { granted: true } }]);

    const alone = createRaft({ id: 'a', seed: 1, membership: { voters: ['a'], learners: [] } });
    alone.campaign();
    const { seq } = alone.takeEffects();
    expect(alone.status().role).toBe('candidate');
    alone.persisted(seq);
    expect(alone.status().role).toBe('leader');
  });

  it('a vote is kept across a restart', () => {
    const voter = withLog('a', abc, [], classic);
    voter.step('b', { ...vote, term: 4, lastIndex: 0, lastTerm: 0 });
    const state = voter.takeEffects().persist?.state ?? new Uint8Array();
    const again = createRaft({
      id: 'a',
      seed: 2,
      membership: { voters: abc, learners: [] },
      recovered: { loaded: { state, first: 1, last: 0 }, entries: [] },
      ...classic,
    });
    expect(again.status()).toMatchObject({ term: 4, vote: 'b' });
    again.step('c', { ...vote, term: 4, lastIndex: 0, lastTerm: 0 });
    expect(answers(again)).toMatchObject([{ granted: false }]);
  });

  it('election timeouts differ between nodes and lie between one and two times the minimum', () => {
    const timeouts = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
      const node = createRaft({ id: 'a', seed, membership: { voters: abc, learners: [] }, ...classic });
      let ticks = 0;
      while (node.status().role === 'follower') {
        node.tick();
        ticks++;
      }
      expect(ticks).toBeGreaterThanOrEqual(10);
      expect(ticks).toBeLessThan(20);
      timeouts.add(ticks);
    }
    expect(timeouts.size).toBeGreaterThan(5);
  });
});

describe('section 5.3: log replication', () => {
  it('a command is committed once a majority holds it, and applied everywhere in order', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.propose('a', 'x', 'y');
    net.tick(1);
    for (const id of abc) expect(net.commands(id)).toEqual(['x', 'y']);
  });

  it('without a majority nothing is committed', () => {
    const net = new Net(five, classic);
    net.elect('a');
    net.allow = ({ from, to }) => ['a', 'b'].includes(from) && ['a', 'b'].includes(to);
    net.propose('a', 'x');
    net.tick(5, 'a', 'b');
    expect(net.commands('a')).toEqual([]);
    net.allow = () => true;
    net.tick(3, 'a');
    expect(net.commands('e')).toEqual(['x']);
  });

  it('Figure 2, receiver rule 2: a follower refuses what it cannot join, and says where the logs may agree', () => {
    const node = withLog('b', abc, [1, 1, 4, 4, 4], { term: 4 });
    node.step('a', { type: 'append', term: 6, prevIndex: 9, prevTerm: 6, commit: 0, entries: [] });
    node.step('a', { type: 'append', term: 6, prevIndex: 5, prevTerm: 2, commit: 0, entries: [] });
    expect(answers(node)).toMatchObject([
      { type: 'append-rejected', prevIndex: 9, hintIndex: 5, hintTerm: 4 },
      { type: 'append-rejected', prevIndex: 5, hintIndex: 2, hintTerm: 1 },
    ]);
  });

  it('rules 3 and 4: it removes what conflicts, with all behind it, and keeps what agrees', () => {
    const node = withLog('b', abc, [1, 1, 2, 2, 2], { term: 2 });
    const entries = [
      { index: 3, term: 2, kind: 'command', data: Buffer.from('2.3') },
      { index: 4, term: 3, kind: 'command', data: Buffer.from('new') },
    ] as const;
    node.step('a', { type: 'append', term: 3, prevIndex: 2, prevTerm: 1, commit: 0, entries });
    const { persist } = node.takeEffects();
    expect(persist?.truncateFrom).toBe(4);
    expect(persist?.entries.map(({ index, term }) => [index, term])).toEqual([[4, 3]]);
    expect(node.status().last).toBe(4);
  });

  it('a message that arrives late does not shorten a log that agrees with it', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    node.step('a', {
      type: 'append',
      term: 1,
      prevIndex: 0,
      prevTerm: 0,
      commit: 0,
      entries: [{ index: 1, term: 1, kind: 'command', data: Buffer.from('1.1') }],
    });
    expect(node.status().last).toBe(3);
    expect(answers(node)).toMatchObject([{ type: 'append-accepted', match: 1 }]);
  });

  it('rule 5: the commit index follows the leader, not beyond the last new entry', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    node.step('a', { type: 'append', term: 1, prevIndex: 2, prevTerm: 1, commit: 3, entries: [] });
    expect(node.status().commit).toBe(2);
  });

  it.each([
    ['a', 'too short', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['b', 'far too short', [1, 1, 1, 4]],
    ['c', 'with an entry of the leader’s own term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['d', 'with entries of a later term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['e', 'with a run of another term', [1, 1, 1, 4, 4, 4, 4]],
    ['f', 'with long runs of other terms', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ])('Figure 7 (%s): a leader brings a log that is %s into line with its own', (_, __, terms) => {
    const net = new Net([], classic);
    const own = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    net.add(withLog('a', abc, own, { term: 7, ...classic }));
    net.add(withLog('b', abc, terms, { term: 7, ...classic }));
    net.add(withLog('c', abc, own, { term: 7, ...classic }));
    net.elect('a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', term: 8 });
    net.tick(3, 'a');
    expect(net.node('b').status()).toMatchObject({ last: 11, commit: 11 });
    expect(net.commands('b')).toEqual(net.commands('a'));
  });

  it('conflicting runs are skipped term by term, not entry by entry', () => {
    const net = new Net([], classic);
    net.add(withLog('a', abc, [1, 1, ...Array<number>(500).fill(5)], { term: 6, ...classic }));
    net.add(withLog('b', abc, [1, 1, ...Array<number>(400).fill(3)], { term: 6, ...classic }));
    net.add(withLog('c', abc, [1, 1, ...Array<number>(500).fill(5)], { term: 6, ...classic }));
    net.elect('a');
    net.tick(2, 'a');
    const refusals = net.sent.filter(
      ({ from, message }) => from === 'b' && message.type === 'append-rejected',
    );
    expect(refusals.length).toBeLessThanOrEqual(3);
    expect(net.node('b').status().last).toBe(503);
  });
});

describe('section 5.4: safety', () => {
  it.each([
    [[1, 2], 1, 5, false],
    [[1, 2], 2, 1, false],
    [[1, 2], 2, 2, true],
    [[1, 2], 3, 1, true],
  ])(
    '5.4.1: a voter with the log %j and a candidate whose last term is %i at index %i: granted %s',
    (log, lastTerm, lastIndex, granted) => {
      const node = withLog('a', abc, log, classic);
      node.step('b', { ...vote, term: 9, lastIndex, lastTerm });
      expect(answers(node)).toMatchObject([{ type: 'vote-reply', granted }]);
    },
  );

  it('5.4.2, Figure 8: an entry of an earlier term is committed by one of the present term, never by counting copies', () => {
    const net = new Net([], classic);
    net.add(withLog('a', abc, [1, 2], { term: 3, ...classic }));
    net.add(withLog('b', abc, [1, 2], { term: 3, ...classic }));
    net.add(withLog('c', abc, [1], { term: 3, ...classic }));
    // The entry of term 2 is on a majority. The one of the new term reaches nobody yet.
    net.allow = ({ message }) => message.type !== 'append';
    net.elect('a');
    net.tick(3, 'a');
    expect(net.node('a').status()).toMatchObject({ role: 'leader', commit: 0 });
    net.node('a').step('b', { type: 'append-accepted', term: 4, match: 2 });
    net.node('a').step('c', { type: 'append-accepted', term: 4, match: 2 });
    expect(net.node('a').status().commit).toBe(0);
    net.node('a').step('b', { type: 'append-accepted', term: 4, match: 3 });
    expect(net.node('a').status().commit).toBe(3);
  });

  it('a leader counts its own copy only once it is durable', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.hold.add('a');
    net.hold.add('c');
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual([]);
    net.release('a');
    expect(net.commands('a')).toEqual(['x']);
  });

  it('two followers commit without the leader’s disk', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.hold.add('a');
    net.propose('a', 'x');
    expect(net.commands('a')).toEqual(['x']);
    expect(net.node('a').status().stable).toBeLessThan(net.node('a').status().commit);
  });
});

describe('section 7: log compaction', () => {
  it('a follower that needs what was compacted gets the snapshot and goes on behind it', () => {
    const net = new Net(abc, classic);
    net.elect('a');
    net.allow = ({ to }) => to !== 'c';
    net.propose('a', 'x', 'y');
    const leader = net.node('a');
    const meta = leader.snapshotMeta();
    if (meta === undefined) throw new Error('no snapshot');
    leader.compact(meta, meta.index);
    expect(leader.status().first).toBe(meta.index + 1);
    net.allow = () => true;
    leader.reportUnreachable('c');
    leader.tick();
    const asked: string[] = [];
    const take = (): void => {
      while (leader.hasEffects()) {
        const effects = leader.takeEffects();
        asked.push(...effects.sendSnapshots);
        leader.persisted(effects.seq);
        for (const { to, message } of effects.sendNow) net.node(to).step('a', message);
        for (const id of ['b', 'c']) {
          const node = net.node(id);
          while (node.hasEffects()) {
            const theirs = node.takeEffects();
            node.persisted(theirs.seq);
            for (const { message } of [...theirs.sendNow, ...theirs.sendAfterPersist])
              leader.step(id, message);
          }
        }
      }
    };
    take();
    expect(asked).toEqual(['c']);
    const message = leader.snapshotMessage('c', meta);
    if (message === undefined) throw new Error('no message');
    net.node('c').step('a', message);
    const effects = net.node('c').takeEffects();
    expect(effects.installSnapshot).toEqual(meta);
    expect(effects.sendAfterPersist).toMatchObject([
      { to: 'a', message: { type: 'append-accepted', match: meta.index } },
    ]);
    expect(net.node('c').status()).toMatchObject({ commit: meta.index, first: meta.index + 1 });
    net.node('c').persisted(effects.seq);
    net.node('c').applied(meta.index);
    leader.reportSnapshot('c', 'finished');
    for (const { message: said } of effects.sendAfterPersist) leader.step('c', said);
    net.propose('a', 'z');
    net.tick(2, 'a');
    expect(net.commands('c')).toEqual(['z']);
  });

  it('rule 6: a snapshot of what is there already changes nothing and is acknowledged', () => {
    const node = withLog('b', abc, [1, 1, 1], { term: 1 });
    const membership = node.snapshotMeta()?.membership ?? new Uint8Array();
    node.step('a', { type: 'snapshot', term: 1, meta: { index: 2, term: 1, membership } });
    const effects = node.takeEffects();
    expect(effects.installSnapshot).toBeUndefined();
    expect(effects.sendAfterPersist).toMatchObject([{ message: { type: 'append-accepted', match: 2 } }]);
    expect(node.status()).toMatchObject({ last: 3, commit: 2 });
  });
});
