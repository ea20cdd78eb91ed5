import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

/*
 * Where each rule is tested: the numbered rules of the boxes, and the sections that state rules in prose. "Paper" is
 * Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)", 2014; "dissertation" is
 * D. Ongaro, "Consensus: Bridging Theory and Practice", 2014. What is said of all nodes at all times (Figure 3, section
 * 5.4.3, the availability arguments of 4.2.4) is checked after every step of the simulations instead.
 */

const PAPER = 'paper.test.ts';
const FIGURES = 'figures.test.ts';
const CRASHES = 'crashes.test.ts';
const THESIS = 'dissertation.test.ts';
const NODE = 'node.test.ts';
const KV = 'node-kv.test.ts';
const MEMBERSHIP = 'membership.test.ts';
const LEASE = 'lease.test.ts';
const SESSIONS = '../../replicated-log/test/machines.test.ts';

/** A rule, the file, and how the title of the test begins. */
const RULES: readonly (readonly [rule: string, file: string, title: string])[] = [
  ['Figure 2, State: votedFor is persistent', PAPER, 'a vote is durable before it is given'],
  [
    'Figure 2, State: currentTerm and log are persistent',
    CRASHES,
    'currentTerm and the log are durable before',
  ],
  [
    'Figure 2, State: commitIndex and lastApplied begin at zero',
    CRASHES,
    'a restart brings back currentTerm',
  ],
  ['Figure 2, State: nextIndex and matchIndex', FIGURES, 'leaders, rule 3'],
  ['Figure 2, AppendEntries 1', FIGURES, 'rule 1: %s of an earlier term is answered'],
  ['Figure 2, AppendEntries 2', FIGURES, 'rule 2: without an entry'],
  ['Figure 2, AppendEntries 3', FIGURES, 'rule 3: an entry that conflicts goes'],
  ['Figure 2, AppendEntries 4', FIGURES, 'rule 4: entries that are not in the log'],
  ['Figure 2, AppendEntries 5', FIGURES, 'rule 5: commitIndex is the lower'],
  ['Figure 2, RequestVote 1', FIGURES, 'rule 1: a candidate of an earlier term gets no vote'],
  ['Figure 2, RequestVote 2', FIGURES, 'rule 2: the vote goes to'],
  ['Figure 2, all servers 1', FIGURES, 'all servers, rule 1'],
  ['Figure 2, all servers 2', FIGURES, 'all servers, rule 2'],
  ['Figure 2, followers 1', FIGURES, 'followers, rule 1'],
  ['Figure 2, followers 2', FIGURES, 'followers, rule 2'],
  ['Figure 2, candidates 1', FIGURES, 'candidates, rule 1'],
  ['Figure 2, candidates 2', FIGURES, 'candidates, rules 2 and 4'],
  ['Figure 2, candidates 3', FIGURES, 'candidates, rule 3'],
  ['Figure 2, candidates 4', FIGURES, 'candidates, rules 2 and 4'],
  ['Figure 2, leaders 1', FIGURES, 'leaders, rule 1'],
  ['Figure 2, leaders 2', FIGURES, 'leaders, rule 2'],
  ['Figure 2, leaders 3', FIGURES, 'leaders, rule 3'],
  ['Figure 2, leaders 4', FIGURES, 'leaders, rule 4'],
  ['Figure 7', PAPER, 'Figure 7 (%s)'],
  ['Figure 8', PAPER, '5.4.2, Figure 8'],
  ['Figure 13, InstallSnapshot 1', FIGURES, 'rule 1: one of an earlier term'],
  ['Figure 13, InstallSnapshot 2, 3, 4: the chunks', NODE, 'Figure 13, rules 2 to 4'],
  ['Figure 13, InstallSnapshot 4: done', FIGURES, 'rules 2 to 4 are the transport’s'],
  ['Figure 13, InstallSnapshot 5', FIGURES, 'rule 5: it replaces what covers less'],
  ['Figure 13, InstallSnapshot 6', FIGURES, 'rule 6: where the log has its last entry'],
  ['Figure 13, InstallSnapshot 7', FIGURES, 'rule 7: otherwise the whole log goes'],
  ['Figure 13, InstallSnapshot 8', FIGURES, 'rule 8: the configuration of the snapshot'],

  ['Paper 5.1: terms', PAPER, 'a node enters a larger term'],
  ['Paper 5.1: stale terms', PAPER, 'a request of a smaller term'],
  ['Paper 5.2: election timeout', PAPER, 'a follower that hears from nobody'],
  ['Paper 5.2: first come, first served', PAPER, 'a voter gives one vote in a term'],
  ['Paper 5.2: a leader of a term at least as large', PAPER, 'a candidate that hears of a leader'],
  ['Paper 5.2: split votes', PAPER, 'a candidate without a majority stays one'],
  ['Paper 5.2: randomised timeouts', PAPER, 'election timeouts differ between nodes'],
  ['Paper 5.3: commitment by a majority', PAPER, 'a command is committed once a majority holds it'],
  ['Paper 5.3: the consistency check', PAPER, 'Figure 2, receiver rule 2'],
  ['Paper 5.3: fast back-off', PAPER, 'conflicting runs are skipped term by term'],
  ['Paper 5.4.1: election restriction', PAPER, '5.4.1: a voter with the log'],
  ['Paper 5.4.2: entries of earlier terms', PAPER, '5.4.2, Figure 8'],
  ['Paper 5.5: retries', CRASHES, 'requests to a node that is down are made again'],
  ['Paper 5.5: retries of candidates', CRASHES, 'a vote is asked for again'],
  ['Paper 5.5: requests are idempotent', CRASHES, 'a $type that comes again'],
  ['Paper 5.6: timing', CRASHES, 'a leader stays while messages take much less'],
  ['Paper 6: entries go to both configurations', FIGURES, 'entries go to the nodes of both configurations'],
  ['Paper 6: separate majorities', THESIS, 'while a joint configuration is in force, both majorities'],
  ['Paper 6, first issue: catching up', FIGURES, 'first issue'],
  ['Paper 6, second issue: a leader outside', FIGURES, 'second issue'],
  ['Paper 6, third issue: disruptive servers', FIGURES, 'third issue'],

  ['Dissertation 3.3: terms', PAPER, 'a node enters a larger term'],
  ['Dissertation 3.4: election', PAPER, 'a follower that hears from nobody'],
  ['Dissertation 3.5: replication', PAPER, 'a command is committed once a majority holds it'],
  ['Dissertation 3.6.1: election restriction', PAPER, '5.4.1: a voter with the log'],
  ['Dissertation 3.6.2: entries of earlier terms', PAPER, '5.4.2, Figure 8'],
  ['Dissertation 3.7: crashes', CRASHES, 'requests to a node that is down are made again'],
  ['Dissertation 3.8: restarts', CRASHES, 'a restart brings back currentTerm'],
  ['Dissertation 3.8: restarts, the vote', PAPER, 'a vote is kept across a restart'],
  ['Dissertation 3.9: timing', CRASHES, 'and no longer when they take more'],
  ['Dissertation 3.10, steps 1 to 3: transfer', THESIS, 'the target is brought up to date, told to campaign'],
  ['Dissertation 3.10: given up after an election timeout', THESIS, 'is given up after an election timeout'],
  [
    'Figure 4.1, AddServer 1 and RemoveServer 1: not the leader',
    THESIS,
    'an impossible membership and one asked of a',
  ],
  [
    'Figure 4.1, AddServer 2: the new server catches up',
    NODE,
    'adds a node as a learner and then as a voter',
  ],
  ['Figure 4.1, AddServer 3 and RemoveServer 2: one at a time', THESIS, 'one change at a time'],
  ['Figure 4.1, AddServer 4: committed, and counts', THESIS, 'Figure 4.1, AddServer rule 4'],
  ['Figure 4.1, AddServer 5: reply', NODE, 'adds a node as a learner and then as a voter'],
  ['Figure 4.1, RemoveServer 3: committed, and counts', THESIS, 'Figure 4.1, RemoveServer rule 3'],
  ['Figure 4.1, RemoveServer 4: steps down', THESIS, 'section 4.2.2'],
  [
    'Dissertation 4.1: majorities overlap',
    MEMBERSHIP,
    'majorities of a configuration and of the one planned',
  ],
  [
    'Dissertation 4.1: an entry of the own term first',
    THESIS,
    'section 4.1: a leader changes nothing before',
  ],
  ['Dissertation 4.2.1: catching up', THESIS, 'section 4.2.1'],
  ['Dissertation 4.2.2: removing the leader', THESIS, 'section 4.2.2'],
  ['Dissertation 4.2.3: disruptive servers', THESIS, 'section 4.2.3'],
  ['Dissertation 4.3: joint consensus', THESIS, 'section 4.3'],
  [
    'Dissertation 4.4: explicit joint configurations',
    MEMBERSHIP,
    'a joint configuration that was asked for stays',
  ],
  ['Dissertation 6.1: finding the cluster', THESIS, 'who joins later learns the membership from the log'],
  ['Dissertation 6.2: routing to the leader', THESIS, 'without forwarding the leader is named'],
  ['Dissertation 6.2: a leader without a majority', THESIS, 'a leader that hears from no majority'],
  ['Dissertation 6.3: sessions', KV, 'applies every command exactly once while leaders crash'],
  [
    'Dissertation 6.3: sessions expire alike everywhere',
    SESSIONS,
    'have no effect after the session has expired',
  ],
  ['Figure 6.1, ClientRequest 1, RegisterClient 1', NODE, 'says for certain that nothing happened where no'],
  ['Figure 6.1, ClientRequest 2, RegisterClient 2', PAPER, 'a command is committed once a majority holds it'],
  ['Figure 6.1, ClientRequest 3: no session', SESSIONS, 'need a session, which its index in the log names'],
  [
    'Figure 6.1, ClientRequest 4: the stored response',
    SESSIONS,
    'take effect once and give the first result again',
  ],
  ['Figure 6.1, ClientRequest 5: log order', SESSIONS, 'give the same outcomes however the log is cut'],
  ['Figure 6.1, ClientRequest 6: saved', SESSIONS, 'are remembered by a snapshot'],
  ['Figure 6.1, ClientRequest 6: discarded', SESSIONS, 'never take effect once they are acknowledged'],
  ['Figure 6.1, ClientRequest 7: reply', NODE, 'elects a leader and applies a command on every node'],
  ['Figure 6.1, RegisterClient 3 and 4', SESSIONS, 'need a session, which its index in the log names'],
  ['Figure 6.1, ClientQuery 1', THESIS, 'without a leader a barrier is refused'],
  ['Figure 6.1, ClientQuery 2; 6.4, step 1', THESIS, 'step 1: no answer before an entry of the term'],
  ['Figure 6.1, ClientQuery 3; 6.4, step 2', THESIS, 'steps 2 and 3'],
  ['Figure 6.1, ClientQuery 4; 6.4, step 3', THESIS, 'steps 2 and 3'],
  ['Figure 6.1, ClientQuery 5, 6 and 7; 6.4, steps 4 and 5', NODE, 'section 6.4, steps 4 and 5'],
  ['Dissertation 6.4: a deposed leader', THESIS, 'a leader that was deposed without knowing it'],
  ['Dissertation 6.4: follower reads', THESIS, 'a barrier is answered with the commit index'],
  ['Dissertation 6.4.1: leases', THESIS, '6.4.1: with a lease no message is needed'],
  ['Dissertation 6.4.1: the bound on clocks', LEASE, 'leaves out two ticks of the followers'],
];

it.each(RULES)('%s has a test', (_, file, title) => {
  const source = readFileSync(join(import.meta.dirname, file), 'utf8');
  expect(source.includes(`'${title}`), `${file} has no test that begins with "${title}"`).toBe(true);
});
