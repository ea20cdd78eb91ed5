import type { Entry, EntryKind, Index, SnapshotMeta, Term } from '@quorate/durable-log';
import type { ProposalId } from '@quorate/replicated-log';
import type { NodeId } from '@quorate/transport';
import type {
  Append,
  AppendAccepted,
  AppendRejected,
  Heartbeat,
  HeartbeatReply,
  Snapshot,
} from '../messages.js';
import { configurationApplies, leaveJointIfDue, leavesTo } from './configuration.js';
import { askToCampaign } from './election.js';
import { decodeConfiguration, isConfiguration } from './membership.js';
import type { Progress } from './progress.js';
import { quorumIndex } from './quorum.js';
import { beginRound, confirmRounds, wantsRound } from './reads.js';
import type { RaftState } from './state.js';

const EMPTY = new Uint8Array();

/** Appends an entry of the leader's term to its own log; peers get it when the effects are taken. */
export function appendEntry(
  state: RaftState,
  kind: EntryKind,
  data: Uint8Array,
  id: ProposalId | undefined,
): Index {
  const index = state.log.last + 1;
  state.log.append(
    id === undefined ? { index, term: state.term, kind, data } : { index, term: state.term, kind, data, id },
  );
  if (kind === 'config') state.configurationIndex = index;
  state.uncommittedBytes += data.length;
  state.replicationPending = true;
  return index;
}

/** Entries up to `last` of `term` are durable on this node, so that as a leader it counts itself. */
export function ownEntriesDurable(state: RaftState, last: Index): void {
  if (last <= state.log.stable) return;
  state.log.stable = last;
  if (state.role !== 'leader') return;
  if (state.configuration.witnesses.length > 0) state.replicationPending = true;
  // A leader that is being removed is not in the configuration and does not count itself (dissertation, 4.2.2).
  if (state.progress.get(state.id)?.accept(last) === true) advanceCommit(state);
}

/** Commits what a majority holds, if it is of this term: Figure 8 shows why an older one is not enough. */
export function advanceCommit(state: RaftState): void {
  const held = quorumIndex(state.voters, (voter) => state.progress.get(voter)?.match ?? 0);
  const reached =
    heldBySuccessor(state) >= state.log.last ? held : Math.min(held, state.configurationIndex - 1);
  const { log } = state;
  if (!Number.isFinite(reached) || reached <= log.commit || log.term(reached) !== state.term) return;
  for (let index = log.commit + 1; index <= reached; index++) {
    state.uncommittedBytes -= log.entry(index)?.data.length ?? 0;
  }
  log.commit = reached;
  state.replicationPending = true;
}

/**
 * Up to where a full voter holds the log that stays when this leader leaves the others to themselves, and witnesses among
 * them; infinite where it does not. What the witnesses hold beyond that would make them vote for none of them.
 */
function heldBySuccessor(state: RaftState): Index {
  const next = leavesTo(state);
  if (next === undefined) return Number.POSITIVE_INFINITY;
  const full = next.voters.filter((id) => !next.witnesses.includes(id));
  return Math.max(0, ...full.map((id) => state.progress.get(id)?.match ?? 0));
}

/** Makes the messages that peers are due: called once before effects are handed out, so that entries batch. */
export function replicate(state: RaftState): void {
  if (wantsRound(state)) heartbeat(state);
  if (!state.replicationPending) return;
  state.replicationPending = false;
  for (const [id, progress] of state.progress) {
    if (id !== state.id) feed(state, id, progress);
  }
}

/** Sends heartbeats to all members. */
export function heartbeat(state: RaftState): void {
  state.heartbeatElapsed = 0;
  const round = beginRound(state);
  for (const [id, progress] of state.progress) {
    if (id === state.id) continue;
    // Not beyond what the peer is known to hold: behind that its log may conflict.
    const commit = Math.min(progress.match, state.log.commit);
    progress.toldCommit = Math.max(progress.toldCommit, commit);
    state.send(id, { type: 'heartbeat', term: state.term, commit, round });
  }
  confirmRounds(state);
}

function feed(state: RaftState, to: NodeId, progress: Progress): void {
  const { log, options } = state;
  // A witness is told what is durable here, or with those whom this leader leaves: it must never be the only one that
  // remembers an entry, for without the command it cannot lead, and would vote for nobody whose log is shorter.
  const isWitness = state.configuration.witnesses.includes(to);
  const last = isWitness ? Math.min(log.last, log.stable, heldBySuccessor(state)) : log.last;
  while (!progress.paused) {
    const prevIndex = progress.next - 1;
    const prevTerm = log.term(prevIndex);
    if (prevTerm === undefined) {
      sendSnapshot(state, to, progress);
      return;
    }
    const hasEntries = progress.next <= last;
    // A probe may be empty: its answer is what matters. Otherwise an empty message is worth a new commit index only.
    const idle = progress.toldCommit >= log.commit && !progress.doubtful;
    if (!hasEntries && progress.state === 'replicate' && idle) return;
    progress.doubtful = false;
    const entries = hasEntries ? log.slice(progress.next, last + 1, options.maxBytesPerMessage) : NO_ENTRIES;
    progress.toldCommit = log.commit;
    state.send(to, {
      type: 'append',
      term: state.term,
      prevIndex,
      prevTerm,
      commit: log.commit,
      entries: isWitness ? entries.map(withoutData) : entries,
    });
    if (progress.state === 'probe') {
      progress.probing = true;
    } else if (entries.length > 0) {
      progress.next += entries.length;
      progress.inflight.add(progress.next - 1, bytesOf(entries));
    }
    if (!hasEntries) return;
  }
}

/** A witness stores that there is a command, not the command (dissertation, section 11.7.2, and its references). */
function withoutData(entry: Entry): Entry {
  return entry.kind === 'command' ? { ...entry, data: EMPTY } : entry;
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const { data } of entries) bytes += data.length;
  return bytes;
}

function sendSnapshot(state: RaftState, to: NodeId, progress: Progress): void {
  // A peer that was not heard of lately would not get it.
  if (!progress.active || state.log.snapshot === undefined) return;
  progress.becomeSnapshot(state.log.snapshot.index);
  state.sendSnapshots.push(to);
}

/** Figure 2, AppendEntries receiver, rules 2 to 5. The term was looked at. */
export function onAppend(state: RaftState, from: NodeId, message: Append): void {
  const { log } = state;
  const { prevIndex, prevTerm, entries } = message;
  const end = prevIndex + entries.length;
  if (prevIndex < log.commit && (log.term(prevIndex) === undefined || end <= log.commit)) {
    // It says nothing that is not known to be committed; what it may overlap is compacted.
    state.promise(from, { type: 'append-accepted', term: state.term, match: log.commit });
    return;
  }
  if (!log.has(prevIndex, prevTerm)) {
    const hint = log.conflictHint(prevIndex, prevTerm);
    state.promise(from, {
      type: 'append-rejected',
      term: state.term,
      prevIndex,
      hintIndex: hint.index,
      hintTerm: hint.term,
    });
    return;
  }
  for (const entry of entries) {
    const own = log.term(entry.index);
    if (own === entry.term && entry.index <= log.last) continue;
    if (entry.index <= log.last) {
      if (entry.index <= log.commit) {
        // A correct leader holds everything that is committed (Leader Completeness): this is none.
        state.dropped.impossible++;
        return;
      }
      state.truncate(entry.index);
    }
    log.append(entry);
    if (entry.kind === 'config') state.configurationIndex = entry.index;
  }
  const commit = Math.min(message.commit, end);
  const isNotice = entries.length === 0 && commit > log.commit;
  log.commit = Math.max(log.commit, commit);
  // Such a message only brings a commit index, and an answer would say what was said before. Where that got lost, the
  // leader asks again after the next heartbeat, with nothing new, and is answered.
  const { accepted } = state;
  if (isNotice && accepted.term === state.term && accepted.match === end) return;
  accepted.term = state.term;
  accepted.match = end;
  state.promise(from, { type: 'append-accepted', term: state.term, match: end });
}

/** Rule 5 of the receiver for a message without entries; the leader knows up to where the logs match. */
export function onHeartbeat(state: RaftState, from: NodeId, message: Heartbeat): void {
  const { log } = state;
  // A leader may know of a match that this node, restarted without its unsynced tail, does not have. It has it:
  // what was acknowledged was durable. Anything else is hostile.
  if (message.commit > log.last) {
    state.dropped.impossible++;
    return;
  }
  log.commit = Math.max(log.commit, message.commit);
  state.send(from, { type: 'heartbeat-reply', term: state.term, round: message.round });
}

/** A peer took entries. */
export function onAppendAccepted(
  state: RaftState,
  from: NodeId,
  progress: Progress,
  message: AppendAccepted,
): void {
  const { log } = state;
  if (message.match > log.last) {
    state.dropped.impossible++;
    return;
  }
  progress.active = true;
  const news = progress.accept(message.match);
  if (progress.state === 'replicate') {
    progress.inflight.freeUpTo(message.match);
  } else if (progress.state === 'probe') {
    // Also where the match is none: the peer agrees with everything up to the point that was probed.
    progress.becomeReplicate();
  } else if (progress.match + 1 >= log.first) {
    progress.becomeProbe();
    progress.becomeReplicate();
  }
  if (news) {
    advanceCommit(state);
    if (state.configuration.witnesses.length > 0) state.replicationPending = true;
  }
  if (progress.next <= log.last || progress.toldCommit < log.commit) state.replicationPending = true;
  if (from === state.transferee && progress.match === log.last) askToCampaign(state, from);
}

/** A peer lacks what was to be built upon. */
export function onAppendRejected(state: RaftState, progress: Progress, message: AppendRejected): void {
  progress.active = true;
  // The leader skips its own run of terms that are too new for the peer, as the peer skipped its own.
  const hint =
    message.hintTerm > 0 && message.hintIndex <= state.log.last
      ? state.log.conflictHint(message.hintIndex, message.hintTerm).index
      : message.hintIndex;
  if (progress.reject(message.prevIndex, Math.min(hint, message.hintIndex))) state.replicationPending = true;
}

/** A peer follows this leader. */
export function onHeartbeatReply(
  state: RaftState,
  from: NodeId,
  progress: Progress,
  message: HeartbeatReply,
): void {
  if (message.round > state.reads.round) {
    state.dropped.impossible++;
    return;
  }
  progress.active = true;
  progress.probing = false;
  // Answers may have been lost; without room nothing would ever be sent again.
  if (progress.state === 'replicate' && progress.inflight.full) progress.inflight.freeFirst();
  if (progress.match < state.log.last) {
    // What was sent last may have been lost, and nothing behind it would tell.
    progress.doubtful = true;
    state.replicationPending = true;
  }
  // The first one was lost, or came before the peer had applied the configuration that lets it campaign.
  if (from === state.transferee && progress.match === state.log.last) {
    state.send(from, { type: 'timeout-now', term: state.term });
  }
  if (message.round > progress.round) {
    progress.round = message.round;
    confirmRounds(state);
  }
}

/** All chunks of a snapshot arrived (section 7, InstallSnapshot). */
export function onSnapshot(state: RaftState, from: NodeId, message: Snapshot): void {
  const { log } = state;
  const { meta } = message;
  if (meta.index <= log.commit || log.has(meta.index, meta.term)) {
    // Rule 6: what it describes is here already, and the log goes on behind it.
    log.commit = Math.max(log.commit, Math.min(meta.index, log.last));
  } else {
    restore(state, meta);
  }
  state.promise(from, { type: 'append-accepted', term: state.term, match: log.commit });
}

function restore(state: RaftState, meta: SnapshotMeta): void {
  const configuration = decodeConfiguration(meta.membership);
  state.log.restore(meta);
  for (const own of state.promises) own.last = Math.min(own.last, meta.index);
  state.handedToStorage = meta.index;
  state.handedToApply = meta.index;
  state.truncateFrom = undefined;
  state.installSnapshot = meta;
  state.installing = meta.index;
  state.configurationIndex = 0;
  state.setConfiguration(configuration);
}

/** The state machine stands at `index`. */
export function onApplied(state: RaftState, index: Index): void {
  const { log } = state;
  const from = log.applied + 1;
  if (index < from) return;
  log.applied = index;
  // What a snapshot brought was not counted.
  for (let at = Math.max(from, log.first); at <= index; at++) {
    const entry = log.entry(at);
    if (entry === undefined) continue;
    if (at > state.installing) state.applyingBytes -= entry.data.length;
    if (entry.kind === 'config') configurationApplies(state, entry);
  }
  if (state.applyingBytes < 0 || state.handedToApply === index) state.applyingBytes = 0;
  leaveJointIfDue(state);
}

/** How the sending of a snapshot ended. */
export function onSnapshotReport(state: RaftState, progress: Progress, outcome: 'finished' | 'failed'): void {
  if (progress.state !== 'snapshot') return;
  if (outcome === 'failed') progress.pendingSnapshot = 0;
  progress.becomeProbe();
  // The answer comes when the peer has installed it; until a heartbeat comes back there is no use in asking.
  progress.probing = true;
}

/** Whether a message is what a leader of its term could send. */
export function isPlausible(message: Append | Heartbeat | Snapshot): boolean {
  if (message.type === 'heartbeat') return true;
  if (message.type === 'snapshot')
    return message.meta.term <= message.term && isConfiguration(message.meta.membership);
  let index = message.prevIndex;
  let term: Term = message.prevTerm;
  for (const entry of message.entries) {
    if (entry.index !== ++index || entry.term < term || entry.term > message.term) return false;
    if (entry.kind === 'config' && !isConfiguration(entry.data)) return false;
    term = entry.term;
  }
  return message.prevTerm <= message.term;
}

const NO_ENTRIES: readonly Entry[] = Object.freeze([]);
