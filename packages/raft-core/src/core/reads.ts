import type { Index } from '@quorate/durable-log';
import type { ReadId } from '@quorate/replicated-log';
import type { NodeId } from '@quorate/transport';
import type { ReadReply, ReadRequest } from '../messages.js';
import { quorumIndex, voteOutcome } from './quorum.js';
import type { RaftState } from './state.js';

interface Barrier {
  readonly id: ReadId;
  /** The node that asked; undefined for this one. */
  readonly origin: NodeId | undefined;
  readonly lease: boolean;
}

interface Round {
  readonly number: number;
  readonly index: Index;
  readonly barriers: readonly Barrier[];
  readonly tick: number;
}

/**
 * Read barriers by ReadIndex (dissertation, section 6.4): the leader notes its commit index, makes sure by a round
 * of heartbeats that it still leads, and answers with the noted index. All barriers that arrive between two takes
 * of effects share a round; rounds are numbered within a term, and an answer counts for a round only in that term,
 * so that no answer can be taken for another's.
 */
export class Reads {
  /** The number of the latest round of heartbeats. */
  round = 0;
  /** Barriers for which no round has begun. */
  waiting: Barrier[] = [];
  /** Rounds that no majority has answered, oldest first. */
  rounds: Round[] = [];
  /** The tick at which each round not yet behind the lease began, oldest first. */
  begun: { readonly number: number; readonly tick: number }[] = [];
  /** Barriers that this node asked its leader for, with the tick at which it did. */
  readonly asked = new Map<ReadId, number>();
  /** How many barriers of this and other nodes wait here. */
  size = 0;
}

/** A barrier of this node's user. */
export function readBarrier(state: RaftState, id: ReadId, kind: 'quorum' | 'lease'): void {
  const { reads } = state;
  if (reads.size + reads.asked.size >= state.options.maxPendingReads) {
    refuse(state, id, 'queue-full');
  } else if (state.role === 'leader') {
    admit(state, { id, origin: undefined, lease: kind === 'lease' });
  } else if (state.leader === undefined) {
    refuse(state, id, 'not-leader');
  } else {
    reads.asked.set(id, state.ticks);
    state.send(state.leader, { type: 'read-request', term: state.term, id });
  }
}

/** A barrier of a follower's user. */
export function onReadRequest(state: RaftState, from: NodeId, message: ReadRequest): void {
  const { reads } = state;
  if (state.role !== 'leader' || reads.size >= state.options.maxPendingReads) return;
  admit(state, { id: message.id, origin: from, lease: false });
}

/** The leader's answer to a barrier of this node. */
export function onReadReply(state: RaftState, message: ReadReply): void {
  if (!state.reads.asked.delete(message.id)) return;
  state.results.push({ id: message.id, ok: true, index: message.index });
}

function admit(state: RaftState, barrier: Barrier): void {
  const { reads } = state;
  if (barrier.lease && holdsLease(state)) {
    answer(state, barrier, state.log.commit);
    return;
  }
  reads.waiting.push(barrier);
  reads.size++;
}

/** Whether a round of heartbeats is wanted: there are barriers, and the commit index is one of this term. */
export function wantsRound(state: RaftState): boolean {
  return state.role === 'leader' && state.reads.waiting.length > 0 && hasCommittedInTerm(state);
}

/**
 * Until it has committed an entry of its term, a leader does not know what is committed (section 8; dissertation,
 * section 6.4, step 1).
 */
function hasCommittedInTerm(state: RaftState): boolean {
  return state.log.term(state.log.commit) === state.term;
}

/** Begins a round: the barriers that wait join it, if they may. Returns its number. */
export function beginRound(state: RaftState): number {
  const { reads } = state;
  const number = ++reads.round;
  reads.begun.push({ number, tick: state.ticks });
  if (wantsRound(state)) {
    reads.rounds.push({ number, index: state.log.commit, barriers: reads.waiting, tick: state.ticks });
    reads.waiting = [];
  }
  const own = state.progress.get(state.id);
  if (own !== undefined) own.round = number;
  return number;
}

/** A peer has answered a round: those that a majority has answered are confirmed. */
export function confirmRounds(state: RaftState): void {
  const { reads } = state;
  const confirmed = answeredRound(state);
  let done = 0;
  for (const round of reads.rounds) {
    if (round.number > confirmed) break;
    for (const barrier of round.barriers) {
      reads.size--;
      answer(state, barrier, round.index);
    }
    done++;
  }
  if (done > 0) reads.rounds.splice(0, done);
  // The newest confirmed round is what the lease counts from; older ones say nothing any more.
  let stale = 0;
  while ((reads.begun[stale + 1]?.number ?? Number.POSITIVE_INFINITY) <= confirmed) stale++;
  if (stale > 0) reads.begun.splice(0, stale);
}

/** The latest round that a majority has answered. */
function answeredRound(state: RaftState): number {
  const round = quorumIndex(state.voters, (voter) => state.progress.get(voter)?.round ?? 0);
  return Number.isFinite(round) ? round : 0;
}

/**
 * Lease reads (dissertation, section 6.4.1). Followers that answered a round keep to this leader for
 * `electionTicks` of their own from then on, which is no earlier than the sending of the round. Ticks are whole, and
 * one may come late by less than its length: the first may follow the answer at once, and the second sooner than
 * a tick later, so that two of them say nothing about time. What is left, divided by the drift bound, is how long nobody
 * else can lead, by this node's clock. Not once this leader has asked a node to campaign: voters do not keep to
 * it then, and the request may still be under way long after the hand-over was given up.
 */
function holdsLease(state: RaftState): boolean {
  const { leaseDriftBound, electionTicks } = state.options;
  if (leaseDriftBound === undefined || state.transferee !== undefined || state.askedToCampaign) return false;
  if (!hasCommittedInTerm(state)) return false;
  const confirmed = answeredRound(state);
  const oldest = state.reads.begun[0];
  if (oldest === undefined || oldest.number > confirmed)
    return state.voters.incoming.length === 1 && alone(state);
  // Ticks are whole here too: the round may have begun just after one and be asked about just before another.
  return (state.ticks - oldest.tick + 1) * leaseDriftBound < electionTicks - 2;
}

/** Time has passed that was not ticked: rounds that began before it say nothing about a lease. */
export function onStall({ reads }: RaftState): void {
  reads.begun = [];
}

function alone(state: RaftState): boolean {
  return voteOutcome(state.voters, (voter) => (voter === state.id ? true : undefined)) === 'won';
}

function answer(state: RaftState, barrier: Barrier, index: Index): void {
  if (barrier.origin === undefined) state.results.push({ id: barrier.id, ok: true, index });
  else state.send(barrier.origin, { type: 'read-reply', term: state.term, id: barrier.id, index });
}

function refuse(state: RaftState, id: ReadId, reason: 'not-leader' | 'queue-full'): void {
  state.results.push({
    id,
    ok: false,
    reason,
    ...(state.leader !== undefined && state.leader !== state.id && { leader: state.leader }),
  });
}

/** Leadership changed: nobody will answer. A barrier has no effect, so its user may simply ask again. */
export function failReads(state: RaftState): void {
  const { reads } = state;
  for (const { barriers } of reads.rounds) for (const barrier of barriers) failOne(state, barrier);
  for (const barrier of reads.waiting) failOne(state, barrier);
  for (const id of reads.asked.keys()) refuse(state, id, 'not-leader');
  reads.asked.clear();
  reads.rounds = [];
  reads.waiting = [];
  reads.begun = [];
  reads.round = 0;
  reads.size = 0;
}

function failOne(state: RaftState, barrier: Barrier): void {
  if (barrier.origin === undefined) refuse(state, barrier.id, 'not-leader');
}

/** Gives up barriers whose request or answer was lost. */
export function expireReads(state: RaftState): void {
  const { asked } = state.reads;
  for (const [id, tick] of asked) {
    if (state.ticks - tick < 2 * state.options.electionTicks) break;
    asked.delete(id);
    refuse(state, id, 'not-leader');
  }
}
