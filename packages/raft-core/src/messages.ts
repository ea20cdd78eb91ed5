import type { Entry, Index, SnapshotMeta, Term } from '@quorate/durable-log';

/** AppendEntries (Figure 2). */
export interface Append {
  readonly type: 'append';
  readonly term: Term;
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly commit: Index;
  readonly entries: readonly Entry[];
}

/** The sender holds, durably, everything that the leader has up to `match`. */
export interface AppendAccepted {
  readonly type: 'append-accepted';
  readonly term: Term;
  readonly match: Index;
}

/** The sender has no entry (prevIndex, prevTerm); the logs may agree at (hintIndex, hintTerm). */
export interface AppendRejected {
  readonly type: 'append-rejected';
  readonly term: Term;
  readonly prevIndex: Index;
  readonly hintIndex: Index;
  readonly hintTerm: Term;
}

/** Keeps leadership, carries the commit index as far as the recipient matches, and asks for the answer of `round`. */
export interface Heartbeat {
  readonly type: 'heartbeat';
  readonly term: Term;
  readonly commit: Index;
  readonly round: number;
}

/** Answers the heartbeat of `round` in `term`: the sender had not taken part in a later term at that moment. */
export interface HeartbeatReply {
  readonly type: 'heartbeat-reply';
  readonly term: Term;
  readonly round: number;
}

/** RequestVote (Figure 2), or its rehearsal (dissertation, section 9.6). */
export interface Vote {
  readonly type: 'vote';
  /** Of a rehearsal: the term that the candidate would enter. */
  readonly term: Term;
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /** What the sender knows to be committed; see {@link VoteReply}. */
  readonly commit: Index;
  readonly commitTerm: Term;
  readonly pre: boolean;
  /** The leader asked for it, so that voters need not keep to that leader (dissertation, section 4.2.3). */
  readonly transfer: boolean;
}

/**
 * The answer to a {@link Vote}. Both carry what their sender knows to be committed: a node that holds that very entry
 * knows as much. Without it, a leader that was removed could leave voters behind that hold the configuration without
 * it, do not know that it is committed, and cannot win by the one before.
 */
export interface VoteReply {
  readonly type: 'vote-reply';
  readonly term: Term;
  readonly commit: Index;
  readonly commitTerm: Term;
  readonly pre: boolean;
  readonly granted: boolean;
}

/** InstallSnapshot (section 7): comes when all chunks of the snapshot have arrived. */
export interface Snapshot {
  readonly type: 'snapshot';
  readonly term: Term;
  readonly meta: SnapshotMeta;
}

/** The leader asks the recipient to start an election at once (dissertation, section 3.10). */
export interface TimeoutNow {
  readonly type: 'timeout-now';
  readonly term: Term;
}

/**
 * Commands for the leader of exactly this term. `sequence` rises within one life (`incarnation`) of the sender, so
 * that a duplicate of the network is not appended twice.
 */
export interface Forward {
  readonly type: 'forward';
  readonly term: Term;
  readonly incarnation: number;
  readonly sequence: number;
  readonly commands: readonly Uint8Array[];
  readonly ids: readonly string[];
}

/** The leader refused forwarded commands. */
export interface ForwardRefused {
  readonly type: 'forward-refused';
  readonly term: Term;
  readonly ids: readonly string[];
  readonly reason: 'queue-full' | 'transferring' | 'too-large';
}

/** Asks the leader of this term for a read index (dissertation, section 6.4). */
export interface ReadRequest {
  readonly type: 'read-request';
  readonly term: Term;
  readonly id: string;
}

/** The read is linearizable once `index` is applied. */
export interface ReadReply {
  readonly type: 'read-reply';
  readonly term: Term;
  readonly id: string;
  readonly index: Index;
}

/** Everything that raft nodes say to each other. */
export type RaftMessage =
  | Append
  | AppendAccepted
  | AppendRejected
  | Heartbeat
  | HeartbeatReply
  | Vote
  | VoteReply
  | Snapshot
  | TimeoutNow
  | Forward
  | ForwardRefused
  | ReadRequest
  | ReadReply;
