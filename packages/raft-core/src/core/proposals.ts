import type { ProposalId, RefusalReason } from '@quorate/replicated-log';
import type { NodeId } from '@quorate/transport';
import type { Forward, ForwardRefused } from '../messages.js';
import { leavesTo } from './configuration.js';
import { appendEntry } from './replication.js';
import type { RaftState } from './state.js';

/** Forwarded commands that are remembered of one life of one follower, to know a duplicate. */
const REMEMBERED_FORWARDS = 1_024;

/** What a leader has had forwarded in this term from one life of one node. */
interface ForwardedFrom {
  highest: number;
  readonly seen: Set<number>;
}

/** What this node has forwarded, and what it has received as the leader of `term`. */
export class Forwards {
  sequence = 0;
  term = 0;
  /** By origin and incarnation. */
  readonly received = new Map<string, ForwardedFrom>();
}

/** Appends commands at the leader, or hands them to it. */
export function propose(state: RaftState, commands: readonly Uint8Array[], ids: readonly ProposalId[]): void {
  if (state.role === 'leader') {
    for (const [at, data] of commands.entries()) {
      const id = ids[at] ?? '';
      const refusal = admits(state, data);
      if (refusal === undefined) appendEntry(state, 'command', data, id);
      else refuseProposal(state, id, refusal);
    }
    return;
  }
  if (state.leader === undefined || !state.options.forwardProposals) {
    for (const id of ids) refuseProposal(state, id, 'not-leader');
    return;
  }
  const sendable: { commands: Uint8Array[]; ids: ProposalId[] } = { commands: [], ids: [] };
  for (const [at, data] of commands.entries()) {
    const id = ids[at] ?? '';
    if (data.length > state.options.maxCommandBytes) {
      refuseProposal(state, id, 'too-large');
    } else {
      sendable.commands.push(data);
      sendable.ids.push(id);
    }
  }
  if (sendable.ids.length === 0) return;
  state.send(state.leader, {
    type: 'forward',
    term: state.term,
    incarnation: state.options.seed,
    sequence: ++state.forwards.sequence,
    ...sendable,
  });
}

/** Commands that another node's user proposed. */
export function onForward(state: RaftState, from: NodeId, message: Forward): void {
  if (state.role !== 'leader') {
    state.dropped.staleTerm++;
    return;
  }
  if (isDuplicate(state, from, message)) {
    state.dropped.duplicate++;
    return;
  }
  const refused = new Map<ForwardRefused['reason'], ProposalId[]>();
  for (const [at, data] of message.commands.entries()) {
    const id = message.ids[at] ?? '';
    const reason = admits(state, data);
    if (reason === undefined) appendEntry(state, 'command', data, id);
    else {
      const ids = refused.get(reason);
      if (ids === undefined) refused.set(reason, [id]);
      else ids.push(id);
    }
  }
  for (const [reason, ids] of refused) {
    state.send(from, { type: 'forward-refused', term: state.term, ids, reason });
  }
}

/** The leader did not take forwarded commands. */
export function onForwardRefused(state: RaftState, message: ForwardRefused): void {
  for (const id of message.ids) refuseProposal(state, id, message.reason);
}

/** Tells the proposer on this node that nothing was appended. */
export function refuseProposal(
  state: RaftState,
  id: ProposalId,
  reason: RefusalReason,
  detail?: string,
): void {
  state.results.push({
    id,
    ok: false,
    reason,
    ...(state.leader !== undefined && state.leader !== state.id && { leader: state.leader }),
    ...(detail !== undefined && { detail }),
  });
}

function admits(state: RaftState, data: Uint8Array): ForwardRefused['reason'] | undefined {
  if (data.length > state.options.maxCommandBytes) return 'too-large';
  if (state.transferee !== undefined || leavesTo(state) !== undefined) return 'transferring';
  // One command always fits, however large, so that progress is possible.
  const { uncommittedBytes } = state;
  if (uncommittedBytes > 0 && uncommittedBytes + data.length > state.options.maxUncommittedBytes)
    return 'queue-full';
  return undefined;
}

/**
 * A network may deliver a message twice, and a command must not be appended twice for that. A forward is for the
 * leader of one term, so only that one can see it again, and it remembers. What is older than it remembers counts
 * as seen.
 */
function isDuplicate(state: RaftState, from: NodeId, message: Forward): boolean {
  const { forwards } = state;
  if (forwards.term !== state.term) {
    forwards.term = state.term;
    forwards.received.clear();
  }
  const life = `${String(message.incarnation)} ${from}`;
  let known = forwards.received.get(life);
  if (known === undefined) {
    known = { highest: 0, seen: new Set() };
    forwards.received.set(life, known);
  }
  if (known.seen.has(message.sequence) || message.sequence <= known.highest - REMEMBERED_FORWARDS)
    return true;
  known.seen.add(message.sequence);
  known.highest = Math.max(known.highest, message.sequence);
  if (known.seen.size > 2 * REMEMBERED_FORWARDS) {
    for (const sequence of known.seen) {
      if (sequence <= known.highest - REMEMBERED_FORWARDS) known.seen.delete(sequence);
    }
  }
  return false;
}
