import type { Index, Term } from '@quorate/durable-log';
import type { NodeId } from '@quorate/transport';
import type { TimeoutNow, Vote, VoteReply } from '../messages.js';
import { encodeConfiguration } from './membership.js';
import { failReads } from './reads.js';
import { appendEntry } from './replication.js';
import { voteOutcome } from './quorum.js';
import type { RaftState } from './state.js';

const EMPTY = new Uint8Array();

/** Follows `leader`, if known, in `term`, which is not below the present one. */
export function becomeFollower(state: RaftState, term: Term, leader: NodeId | undefined): void {
  const led = state.role === 'leader';
  const changed = state.term !== term || state.leader !== leader;
  state.enterTerm(term);
  state.role = 'follower';
  state.leader = leader;
  state.electionElapsed = 0;
  state.votes.clear();
  if (led) {
    state.progress.clear();
    state.transferee = undefined;
    state.replicationPending = false;
  }
  if (changed || led) failReads(state);
  state.resetElectionTimeout();
}

/** Whether an election timeout of this node leads to a campaign. */
export function mayCampaign(state: RaftState): boolean {
  if (!state.isElectable || state.role === 'leader') return false;
  // A configuration that is committed but not applied could leave this node, or its majority, out.
  for (let index = state.log.applied + 1; index <= state.log.commit; index++) {
    if (state.log.entry(index)?.kind === 'config') return false;
  }
  return true;
}

/** Nobody has led this node for a while. */
export function onElectionTimeout(state: RaftState): void {
  if (mayCampaign(state)) {
    campaign(state, false);
    return;
  }
  // Who cannot stand for election must still let go of the leader, or it would refuse its vote to others. And it
  // tells the voters what it knows to be committed: one of them may hold the configuration by which it could lead,
  // and not know that it is in force.
  if (state.leader !== undefined) failReads(state);
  state.leader = undefined;
  state.electionElapsed = 0;
  state.resetElectionTimeout();
  askForVotes(state, state.term + 1, true, false);
}

/** Starts an election (section 5.2), rehearsed first where the options ask for it. */
export function campaign(state: RaftState, transfer: boolean): void {
  if (!mayCampaign(state)) return;
  if (state.options.preVote && !transfer) rehearse(state);
  else stand(state, transfer);
}

/** Asks whether it could win, and changes nothing: neither the term nor the vote (dissertation, section 9.6). */
function rehearse(state: RaftState): void {
  failReads(state);
  state.role = 'pre-candidate';
  state.leader = undefined;
  state.electionElapsed = 0;
  state.resetElectionTimeout();
  state.votes.clear();
  state.votes.set(state.id, true);
  askForVotes(state, state.term + 1, true, false);
  settleVote(state);
}

/** Stands for election in the next term. Its own vote counts once it is durable. */
function stand(state: RaftState, transfer: boolean): void {
  failReads(state);
  state.enterTerm(state.term + 1);
  state.role = 'candidate';
  state.leader = undefined;
  state.electionElapsed = 0;
  state.resetElectionTimeout();
  state.votes.clear();
  state.vote = state.id;
  state.voteAfterPersist = true;
  askForVotes(state, state.term, false, transfer);
}

function askForVotes(state: RaftState, term: Term, pre: boolean, transfer: boolean): void {
  const { last: lastIndex, lastTerm } = state.log;
  const vote: Vote = { type: 'vote', term, lastIndex, lastTerm, ...committed(state), pre, transfer };
  for (const id of new Set([...state.voters.incoming, ...state.voters.outgoing])) {
    if (id !== state.id) state.send(id, vote);
  }
}

function committed({ log }: RaftState): { commit: Index; commitTerm: Term } {
  return { commit: log.commit, commitTerm: log.term(log.commit) ?? 0 };
}

/** Answers a rehearsal or an election, once what it rests on is durable. */
export function replyToVote(state: RaftState, to: NodeId, term: Term, pre: boolean, granted: boolean): void {
  state.promise(to, { type: 'vote-reply', term, ...committed(state), pre, granted });
}

/** Another node knows an entry to be committed that this one holds, and so everything before it (Log Matching). */
function commitByHearsay({ log, role }: RaftState, { commit, commitTerm }: Vote | VoteReply): void {
  if (role !== 'leader' && commit > log.commit && commit <= log.last && log.has(commit, commitTerm))
    log.commit = commit;
}

/** This node's own vote for itself is durable. */
export function ownVoteDurable(state: RaftState, term: Term): void {
  if (state.role !== 'candidate' || state.term !== term) return;
  state.votes.set(state.id, true);
  settleVote(state);
}

function settleVote(state: RaftState): void {
  switch (voteOutcome(state.voters, (voter) => state.votes.get(voter))) {
    case 'won':
      if (state.role === 'pre-candidate') stand(state, false);
      else becomeLeader(state);
      break;
    case 'lost':
      becomeFollower(state, state.term, undefined);
      break;
    case 'pending':
  }
}

function becomeLeader(state: RaftState): void {
  state.role = 'leader';
  state.leader = state.id;
  state.electionElapsed = 0;
  state.heartbeatElapsed = 0;
  state.transferee = undefined;
  state.askedToCampaign = false;
  state.uncommittedBytes = 0;
  for (let index = state.log.commit + 1; index <= state.log.last; index++) {
    state.uncommittedBytes += state.log.entry(index)?.data.length ?? 0;
  }
  state.progress.clear();
  state.trackMembers();
  const own = state.progress.get(state.id);
  if (own !== undefined) {
    own.becomeReplicate();
    own.accept(state.log.stable);
  }
  // An entry of the new term commits those of earlier ones (section 5.4.2) and allows reads (section 8). The first of
  // all says who began, so that those who join later find it in the log.
  if (state.configurationIndex === 0 && state.log.snapshot === undefined) {
    appendEntry(state, 'config', encodeConfiguration(state.configuration), undefined);
  } else {
    appendEntry(state, 'noop', EMPTY, undefined);
  }
}

/**
 * A request for a vote (section 5.2), of this term by now. At most one candidate of a term gets the vote, and none
 * whose log lacks an entry that may be committed (section 5.4.1).
 */
export function onVote(state: RaftState, from: NodeId, message: Vote): void {
  const upToDate = state.log.isUpToDate(message.lastIndex, message.lastTerm);
  commitByHearsay(state, message);
  if (message.pre) {
    // A grant answers for the term asked about; a refusal tells a node that fell behind where the others are.
    const granted = message.term > state.term && upToDate;
    replyToVote(state, from, granted ? message.term : state.term, true, granted);
    return;
  }
  const free = state.vote === from || (state.vote === undefined && state.leader === undefined);
  const granted = message.term === state.term && free && upToDate;
  if (granted) {
    state.electionElapsed = 0;
    if (state.vote !== from) {
      state.vote = from;
      state.hardStateChanged = true;
    }
  }
  replyToVote(state, from, state.term, false, granted);
}

/** An answer to a request for a vote. */
export function onVoteReply(state: RaftState, from: NodeId, message: VoteReply): void {
  commitByHearsay(state, message);
  const asked = message.pre ? 'pre-candidate' : 'candidate';
  if (state.role !== asked) return;
  if (message.granted && message.term !== (message.pre ? state.term + 1 : state.term)) return;
  if (!state.votes.has(from)) state.votes.set(from, message.granted);
  settleVote(state);
}

/**
 * Whether a voter keeps to its leader and ignores a candidate of a later term (dissertation, section 4.2.3). With
 * lease reads this is what the lease rests on, so a node that has just started keeps to the leader that it may
 * have forgotten.
 */
export function keepsToLeader(state: RaftState, message: Vote): boolean {
  if (!state.options.checkQuorum || message.transfer) return false;
  const { electionTicks, leaseDriftBound } = state.options;
  if (leaseDriftBound !== undefined && state.ticks < electionTicks) return true;
  return state.leader !== undefined && state.electionElapsed < electionTicks;
}

/** Asks a voter that is up to date to take over. */
export function askToCampaign(state: RaftState, to: NodeId): void {
  state.askedToCampaign = true;
  state.send(to, { type: 'timeout-now', term: state.term });
}

/** The leader hands over: an election at once, in which voters need not keep to that leader. */
export function onTimeoutNow(state: RaftState, from: NodeId, message: TimeoutNow): void {
  if (message.term === state.term && from === state.leader) campaign(state, true);
}
