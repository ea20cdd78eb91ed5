import type { Entry } from '@quorate/durable-log';
import type { Membership, ProposalId } from '@quorate/replicated-log';
import { becomeFollower } from './election.js';
import {
  type Configuration,
  decodeConfiguration,
  encodeConfiguration,
  isVoter,
  leaveJoint,
  members,
  planChange,
} from './membership.js';
import { advanceCommit, appendEntry } from './replication.js';
import { refuseProposal } from './proposals.js';
import type { RaftState } from './state.js';

/**
 * A request for another membership (dissertation, chapter 4). One at a time: the next is refused until the last is
 * applied, which also keeps a leader from changing anything before it knows what is committed.
 */
export function changeMembership(state: RaftState, next: Membership, id: ProposalId): void {
  if (state.role !== 'leader') {
    refuseProposal(state, id, 'not-leader');
  } else if (state.transferee !== undefined) {
    refuseProposal(state, id, 'transferring');
  } else if (state.configurationIndex > state.log.applied) {
    refuseProposal(state, id, 'config-pending', 'another change is not applied yet');
  } else if (state.log.term(state.log.commit) !== state.term) {
    refuseProposal(state, id, 'config-pending', 'the leader has not committed an entry of its term yet');
  } else {
    const planned = planChange(state.configuration, next);
    if (planned.ok) appendEntry(state, 'config', encodeConfiguration(planned.next), id);
    else refuseProposal(state, id, planned.reason, planned.detail);
  }
}

/**
 * The configuration under way by which this leader will be no full voter any more, where that leaves witnesses behind.
 * Until it is applied the leader appends nothing to it, so that another node can catch up with the whole log.
 */
export function leavesTo({ configurationIndex, id, log }: RaftState): Configuration | undefined {
  if (configurationIndex <= log.applied) return undefined;
  const entry = log.entry(configurationIndex);
  if (entry === undefined) return undefined;
  const next = decodeConfiguration(entry.data);
  return next.witnesses.length === 0 || isVoter(next, id) ? undefined : next;
}

/** A configuration entry is applied: from now on it is in force. */
export function configurationApplies(state: RaftState, entry: Entry): void {
  const before = members(state.configuration);
  const configuration = decodeConfiguration(entry.data);
  const led = state.role === 'leader';
  if (led) for (const id of before) if (!members(configuration).has(id)) tellRemoved(state, id);
  state.setConfiguration(configuration);
  if (!led) {
    if (!state.isElectable && state.role !== 'follower') becomeFollower(state, state.term, undefined);
    return;
  }
  if (!isVoter(configuration, state.id)) {
    // Dissertation, section 4.2.2: a leader steps down once the configuration without it is committed.
    becomeFollower(state, state.term, undefined);
    return;
  }
  if (state.transferee !== undefined && !isVoter(configuration, state.transferee))
    state.transferee = undefined;
  // Fewer may be needed now.
  advanceCommit(state);
  state.replicationPending = true;
}

/** Whoever leads when a joint configuration is applied ends it, unless its user wants to (section 4.3). */
export function leaveJointIfDue(state: RaftState): void {
  const { configuration, log } = state;
  if (state.role !== 'leader' || !configuration.autoLeave || configuration.outgoing.length === 0) return;
  if (state.configurationIndex > log.applied || log.term(log.applied) !== state.term) return;
  appendEntry(state, 'config', encodeConfiguration(leaveJoint(configuration)), undefined);
}

/** A removed node learns of it by a last message, if it arrives: nobody will tell it afterwards. */
function tellRemoved(state: RaftState, id: string): void {
  const progress = state.progress.get(id);
  if (progress === undefined || id === state.id) return;
  const commit = Math.min(progress.match, state.log.commit);
  state.send(id, { type: 'heartbeat', term: state.term, commit, round: state.reads.round });
}
