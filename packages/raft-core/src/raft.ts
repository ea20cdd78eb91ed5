import type { Index, SnapshotMeta } from '@quorate/durable-log';
import type {
  ConsensusCore,
  CoreStatus,
  Effects,
  Membership,
  ProposalId,
  ReadId,
} from '@quorate/replicated-log';
import { InvalidOptionError, integerOption } from '@quorate/runtime';
import type { NodeId } from '@quorate/transport';
import { changeMembership } from './core/configuration.js';
import {
  askToCampaign,
  becomeFollower,
  campaign,
  keepsToLeader,
  onElectionTimeout,
  onTimeoutNow,
  onVote,
  onVoteReply,
  ownVoteDurable,
  replyToVote,
} from './core/election.js';
import { encodeConfiguration, toMembership } from './core/membership.js';
import type { Progress } from './core/progress.js';
import { onForward, onForwardRefused, propose } from './core/proposals.js';
import { voteOutcome } from './core/quorum.js';
import { expireReads, onReadReply, onReadRequest, onStall, readBarrier } from './core/reads.js';
import {
  heartbeat,
  isPlausible,
  onAppend,
  onAppendAccepted,
  onAppendRejected,
  onApplied,
  onHeartbeat,
  onHeartbeatReply,
  onSnapshot,
  onSnapshotReport,
  ownEntriesDurable,
  replicate,
} from './core/replication.js';
import { type Dropped, RaftState, type Role } from './core/state.js';
import type { Append, Heartbeat, RaftMessage, Snapshot } from './messages.js';
import { checkOptions, type RaftOptions } from './options.js';

/** How a leader stands with one peer. */
export interface PeerProgress {
  readonly state: Progress['state'];
  readonly match: Index;
  readonly next: Index;
  readonly active: boolean;
  readonly inflightMessages: number;
  readonly inflightBytes: number;
}

/** What a raft node tells about itself. */
export interface RaftStatus extends CoreStatus {
  readonly role: Role;
  readonly vote: NodeId | undefined;
  /** Entries up to here are durable on this node. */
  readonly stable: Index;
  /** Bytes of commands that a leader holds uncommitted. */
  readonly uncommittedBytes: number;
  /** To whom leadership is being handed. */
  readonly transferee: NodeId | undefined;
  /** Of a leader: every member, itself included. */
  readonly progress: ReadonlyMap<NodeId, PeerProgress>;
  /** Messages that were not acted on. */
  readonly dropped: Readonly<Dropped>;
}

/** A raft node without clock, network and disk, steppable by an outside harness. */
export interface RaftCore extends ConsensusCore<RaftMessage, RaftStatus> {
  /** Starts an election now, as if the timeout had passed. */
  campaign(): void;
  /** A follower forgets its leader, so that it may vote for another at once. Does nothing with lease reads. */
  forgetLeader(): void;
  /** Sets the present election timeout: for tests. The next one is random again. */
  setElectionTimeout(ticks: number): void;
}

/**
 * Creates the raft node that `options` describe. Throws `InvalidOptionError` for options that cannot be, and
 * `MalformedBytesError` where `recovered` holds a state or membership that is none.
 *
 * Raft as in D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), and
 * D. Ongaro's dissertation "Consensus: Bridging Theory and Practice" (2014).
 */
export function createRaft(options: RaftOptions): RaftCore {
  return new Raft(new RaftState(checkOptions(options)));
}

class Raft implements RaftCore {
  constructor(private readonly state: RaftState) {}

  get id(): NodeId {
    return this.state.id;
  }

  tick(): void {
    const { state } = this;
    const { electionTicks, heartbeatTicks, checkQuorum } = state.options;
    state.ticks++;
    state.electionElapsed++;
    expireReads(state);
    if (state.role !== 'leader') {
      if (state.electionElapsed >= state.electionTimeout) onElectionTimeout(state);
      return;
    }
    if (state.transferee !== undefined && ++state.transferElapsed >= electionTicks)
      state.transferee = undefined;
    if (state.electionElapsed >= electionTicks) {
      state.electionElapsed = 0;
      if (checkQuorum && !this.#hearsFromQuorum()) {
        becomeFollower(state, state.term, undefined);
        return;
      }
    }
    if (++state.heartbeatElapsed >= heartbeatTicks) heartbeat(state);
  }

  step(from: NodeId, message: RaftMessage): void {
    const { state } = this;
    if (from === state.id) {
      state.dropped.impossible++;
    } else if (this.#acceptTerm(from, message) && this.#acceptLeader(from, message)) {
      this.#handle(from, message);
    }
  }

  propose(commands: readonly Uint8Array[], ids: readonly ProposalId[]): void {
    if (commands.length !== ids.length) throw new InvalidOptionError('ids', ids, 'one for each command');
    propose(this.state, commands, ids);
  }

  readBarrier(id: ReadId, kind: 'quorum' | 'lease' = 'quorum'): void {
    readBarrier(this.state, id, kind);
  }

  changeMembership(next: Membership, id: ProposalId): void {
    changeMembership(this.state, next, id);
  }

  transferLeadership(to: NodeId): void {
    const { state } = this;
    const progress = state.progress.get(to);
    const { voters, outgoing, witnesses } = state.configuration;
    const electable = (voters.includes(to) || outgoing.includes(to)) && !witnesses.includes(to);
    if (state.role !== 'leader' || progress === undefined || to === state.id || !electable) return;
    state.transferee = to;
    state.transferElapsed = 0;
    if (progress.match === state.log.last) askToCampaign(state, to);
    else state.replicationPending = true;
  }

  campaign(): void {
    campaign(this.state, false);
  }

  forgetLeader(): void {
    const { state } = this;
    if (state.role === 'follower' && state.options.leaseDriftBound === undefined) state.leader = undefined;
  }

  setElectionTimeout(ticks: number): void {
    this.state.electionTimeout = integerOption('ticks', ticks, { min: 1 });
  }

  reportUnreachable(peer: NodeId): void {
    const progress = this.state.progress.get(peer);
    if (progress?.state === 'replicate') progress.becomeProbe();
  }

  reportStall(): void {
    onStall(this.state);
  }

  reportSnapshot(peer: NodeId, outcome: 'finished' | 'failed'): void {
    const progress = this.state.progress.get(peer);
    if (progress !== undefined) onSnapshotReport(this.state, progress, outcome);
  }

  snapshotMessage(to: NodeId, meta: SnapshotMeta): Snapshot | undefined {
    const { state } = this;
    const progress = state.progress.get(to);
    if (state.role !== 'leader' || progress?.state !== 'snapshot') return undefined;
    progress.pendingSnapshot = meta.index;
    return { type: 'snapshot', term: state.term, meta };
  }

  hasEffects(): boolean {
    return this.state.hasEffects();
  }

  takeEffects(): Effects<RaftMessage> {
    if (this.state.role === 'leader') replicate(this.state);
    return this.state.takeEffects();
  }

  persisted(seq: number): void {
    const { promises, term } = this.state;
    let last = 0;
    for (let own = promises[0]; own !== undefined && own.seq <= seq; own = promises[0]) {
      promises.shift();
      if (own.vote && own.term === term) ownVoteDurable(this.state, own.term);
      last = Math.max(last, own.last);
    }
    ownEntriesDurable(this.state, last);
  }

  applied(index: Index): void {
    const { log, handedToApply } = this.state;
    if (index < log.applied || index > handedToApply) {
      throw new InvalidOptionError('index', index, `from ${String(log.applied)} to ${String(handedToApply)}`);
    }
    onApplied(this.state, index);
  }

  snapshotMeta(): SnapshotMeta | undefined {
    const { log, configuration } = this.state;
    if (configuration.voters.length === 0) return undefined;
    return {
      index: log.applied,
      term: log.term(log.applied) ?? 0,
      membership: encodeConfiguration(configuration),
    };
  }

  compact(meta: SnapshotMeta, to: Index): void {
    this.state.log.compact(meta, to);
  }

  status(): RaftStatus {
    const { state } = this;
    const { log } = state;
    const progress = new Map<NodeId, PeerProgress>();
    for (const [id, { state: kind, match, next, active, inflight }] of state.progress) {
      progress.set(id, {
        state: kind,
        match,
        next,
        active,
        inflightMessages: inflight.count,
        inflightBytes: inflight.bytes,
      });
    }
    return {
      id: state.id,
      term: state.term,
      vote: state.vote,
      role: state.role,
      leader: state.leader,
      commit: log.commit,
      applied: log.applied,
      stable: log.stable,
      first: log.first,
      last: log.last,
      membership: toMembership(state.configuration),
      uncommittedBytes: state.uncommittedBytes,
      transferee: state.transferee,
      progress,
      dropped: { ...state.dropped },
    };
  }

  #hearsFromQuorum(): boolean {
    const { state } = this;
    const active = (voter: NodeId): boolean =>
      voter === state.id || state.progress.get(voter)?.active === true;
    const outcome = voteOutcome(state.voters, active);
    for (const [id, progress] of state.progress) progress.active = id === state.id;
    return outcome === 'won';
  }

  /** "All servers" of Figure 2, second rule, and what PreVote and CheckQuorum add. False: the message is done with. */
  #acceptTerm(from: NodeId, message: RaftMessage): boolean {
    const { state } = this;
    if (message.term > state.term) {
      if (message.type === 'vote') {
        if (keepsToLeader(state, message)) return false;
        if (message.pre) return true;
      }
      // A rehearsal was granted for a term that nobody has entered.
      if (message.type === 'vote-reply' && message.pre && message.granted) return true;
      becomeFollower(state, message.term, speaksAsLeader(message) ? from : undefined);
    } else if (message.term < state.term) {
      if (message.type === 'vote') {
        // Figure 2, RequestVote, rule 1. A candidate that learns no term might never catch up with one that is refused
        // for its log and goes on raising it.
        replyToVote(state, from, state.term, message.pre, false);
      } else if (speaksAsLeader(message)) {
        // With PreVote or CheckQuorum a node whose term ran ahead does not depose anybody by asking for votes; a
        // leader that is behind learns the term from this answer instead.
        state.promise(from, { type: 'heartbeat-reply', term: state.term, round: 0 });
      }
      state.dropped.staleTerm++;
      return false;
    }
    return true;
  }

  /** Who speaks as the leader of the present term is: Election Safety says that there is no other. */
  #acceptLeader(from: NodeId, message: RaftMessage): boolean {
    const { state } = this;
    if (!speaksAsLeader(message)) return true;
    const rival = state.role === 'leader' || (state.leader !== undefined && state.leader !== from);
    if (rival || !isPlausible(message)) {
      state.dropped.impossible++;
      return false;
    }
    if (state.role !== 'follower' || state.leader === undefined) becomeFollower(state, state.term, from);
    state.electionElapsed = 0;
    return true;
  }

  #handle(from: NodeId, message: RaftMessage): void {
    const { state } = this;
    switch (message.type) {
      case 'append':
        onAppend(state, from, message);
        break;
      case 'heartbeat':
        onHeartbeat(state, from, message);
        break;
      case 'snapshot':
        onSnapshot(state, from, message);
        break;
      case 'vote':
        onVote(state, from, message);
        break;
      case 'vote-reply':
        onVoteReply(state, from, message);
        break;
      case 'timeout-now':
        onTimeoutNow(state, from, message);
        break;
      case 'forward':
        onForward(state, from, message);
        break;
      case 'forward-refused':
        onForwardRefused(state, message);
        break;
      case 'read-request':
        onReadRequest(state, from, message);
        break;
      case 'read-reply':
        onReadReply(state, message);
        break;
      case 'append-accepted':
      case 'append-rejected':
      case 'heartbeat-reply': {
        const progress = state.progress.get(from);
        if (progress === undefined) state.dropped.unknownNode++;
        else if (message.type === 'append-accepted') onAppendAccepted(state, from, progress, message);
        else if (message.type === 'append-rejected') onAppendRejected(state, progress, message);
        else onHeartbeatReply(state, from, progress, message);
      }
    }
  }
}

function speaksAsLeader(message: RaftMessage): message is Append | Heartbeat | Snapshot {
  return message.type === 'append' || message.type === 'heartbeat' || message.type === 'snapshot';
}
