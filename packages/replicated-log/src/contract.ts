import type { Entry, Index, LoadedLog, PersistBatch, SnapshotMeta, Term } from '@quorate/durable-log';
import type { NodeId } from '@quorate/transport';

/** Names a proposal for its proposer: unique for ever across the cluster. */
export type ProposalId = string;

/** Names a read barrier on its node: unique while it is open. */
export type ReadId = string;

/** Who takes part. */
export interface Membership {
  /** The nodes whose majority decides. */
  readonly voters: readonly NodeId[];
  /** The former voters while a joint configuration is in force: then a majority of both decides. */
  readonly outgoing?: readonly NodeId[];
  /** Nodes that receive the log and do not vote. */
  readonly learners: readonly NodeId[];
  /** Voters that acknowledge and vote without keeping a state machine; a subset of `voters` and `outgoing`. */
  readonly witnesses?: readonly NodeId[];
}

/**
 * Why a proposal, a read or a change of membership did not happen.
 *
 * - `not-leader`: this node cannot and knows nobody else who can, or forwarding is off; `leader` names it if known
 * - `queue-full`: a limit on uncommitted or waiting bytes is reached; try again later
 * - `too-large`: the command alone is above the limit
 * - `transferring`: leadership is being handed over
 * - `config-pending`: another change of membership is not applied yet
 * - `config-invalid`: the membership asked for cannot be; `detail` says why
 * - `superseded`: another entry was committed in its place: it certainly did not and will not happen
 * - `unknown-outcome`: it may or may not have happened, or may still
 * - `closed`: the node is stopped
 */
export type RefusalReason =
  | 'not-leader'
  | 'queue-full'
  | 'too-large'
  | 'transferring'
  | 'config-pending'
  | 'config-invalid'
  | 'superseded'
  | 'unknown-outcome'
  | 'closed';

/**
 * How a proposal, a read barrier or a change of membership ended, as far as the core can tell. A proposal that
 * succeeds has no result: its entry is among `committed`, with its id, on every node.
 */
export type Result =
  /** The state machine answers linearizably for this read once it has applied `index`. */
  | { readonly id: ReadId; readonly ok: true; readonly index: Index }
  | {
      readonly id: ProposalId;
      readonly ok: false;
      readonly reason: RefusalReason;
      readonly leader?: NodeId;
      readonly detail?: string;
    };

/** A message with its recipient. */
export interface Envelope<M> {
  readonly to: NodeId;
  readonly message: M;
}

/**
 * What a core wants done, as data. The order is the contract:
 *
 * 1. `sendNow` may go out at once, in parallel with the disk
 * 2. `installSnapshot`, then `persist`, are made durable (with a sync where `mustSync`), in the order of `seq`
 *    across takes; then `persisted(seq)` is called
 * 3. `sendAfterPersist` goes out once everything up to this `seq` is durable: it promises what was written
 * 4. `committed` is applied in order; then `applied(index)` is called. It may overtake the disk: what a quorum
 *    holds is committed also where this node's own write is still under way
 * 5. `results` settle at any time
 */
export interface Effects<M> {
  /** Rises by one with every take. */
  readonly seq: number;
  /**
   * A snapshot that the core accepted from `step`: the received chunks replace storage and state machine, which
   * then stand at `meta.index`; `applied(meta.index)` is called like for entries. Committed entries up to there
   * that were handed out before and are not applied yet are skipped.
   */
  readonly installSnapshot?: SnapshotMeta;
  readonly persist?: PersistBatch;
  readonly mustSync: boolean;
  readonly sendNow: readonly Envelope<M>[];
  readonly sendAfterPersist: readonly Envelope<M>[];
  /**
   * Peers that need the newest snapshot of the storage: its chunks are streamed to them beside
   * {@link ConsensusCore.snapshotMessage}, and the end is told by `reportSnapshot`.
   */
  readonly sendSnapshots: readonly NodeId[];
  readonly committed: readonly Entry[];
  readonly results: readonly Result[];
}

/** What every core tells about itself. A core adds what is its own. */
export interface CoreStatus {
  readonly id: NodeId;
  readonly term: Term;
  readonly role: string;
  readonly leader: NodeId | undefined;
  readonly commit: Index;
  readonly applied: Index;
  readonly first: Index;
  readonly last: Index;
  readonly membership: Membership;
}

/**
 * The core's side of a replicated log: a deterministic state machine without clock, I/O, promises or ambient
 * chance. Raft, paxos and zab all are one of these. Inputs never throw for what came over the network: such
 * messages are dropped and counted in the status.
 */
export interface ConsensusCore<M, S extends CoreStatus = CoreStatus> {
  readonly id: NodeId;
  /** One unit of logical time has passed; the driver decides how many milliseconds that is. */
  tick(): void;
  /** A message arrived. */
  step(from: NodeId, message: M): void;
  /** Asks for commands to be appended, here or, where forwarding is on, at the leader. One id per command. */
  propose(commands: readonly Uint8Array[], ids: readonly ProposalId[]): void;
  /** Asks for an index up to which to apply before a read is linearizable; `lease` trusts the clock bound. */
  readBarrier(id: ReadId, kind?: 'quorum' | 'lease'): void;
  /** Asks for another membership, which takes effect when its entry is applied. */
  changeMembership(next: Membership, id: ProposalId): void;
  /** Asks the leader to hand over. Whether it did shows in the status. */
  transferLeadership(to: NodeId): void;
  /**
   * Time may have passed without ticks, as when the process was stopped: by a whole tick or more. What is concluded
   * from ticks about the clocks of others, such as a lease, does not hold until it is established anew.
   */
  reportStall(): void;
  /** A peer's session went down: a hint, never needed for safety. */
  reportUnreachable(peer: NodeId): void;
  /** How the sending of a snapshot to a peer ended. */
  reportSnapshot(peer: NodeId, outcome: 'finished' | 'failed'): void;
  /** The message that accompanies the chunks of the stored snapshot `meta`; undefined when it became pointless. */
  snapshotMessage(to: NodeId, meta: SnapshotMeta): M | undefined;
  /** Whether {@link ConsensusCore.takeEffects} would return anything. */
  hasEffects(): boolean;
  /** Hands out what is to be done since the last take. */
  takeEffects(): Effects<M>;
  /** Everything up to this `seq` is durable. Called in order. */
  persisted(seq: number): void;
  /** The state machine has applied everything up to `index`. Called in order. */
  applied(index: Index): void;
  /**
   * What a snapshot taken now stands for: the applied index, its term, and the membership in force there. Undefined
   * on a node that knows no membership yet.
   */
  snapshotMeta(): SnapshotMeta | undefined;
  /** The storage holds the snapshot `meta`: entries up to `to` (at most `meta.index`) are no longer needed. */
  compact(meta: SnapshotMeta, to: Index): void;
  status(): Readonly<S>;
}

/** What a core remembers from before a restart. */
export interface Recovered {
  readonly loaded: LoadedLog;
  /** All entries from `loaded.first` to `loaded.last`. */
  readonly entries: readonly Entry[];
}

/** How messages of a core travel. Decoding treats its input as hostile and throws `MalformedBytesError`. */
export interface MessageCodec<M> {
  encode(message: M): Uint8Array;
  decode(bytes: Uint8Array): M;
}

/** Brings results of a state machine into bytes and back: what a snapshot remembers for exactly-once sessions. */
export interface ResultCodec<R> {
  encode(result: R): Uint8Array;
  decode(bytes: Uint8Array): R;
}

/**
 * The user's deterministic state machine: the same commands in the same order give the same results and the same
 * state on every node. No clock, no chance, no I/O; time is {@link AppliedCommand.timeMs}.
 */
export interface StateMachine<R, Q, A> {
  /** Applies commands in order and returns one result for each. A throw stops the node. */
  apply(commands: readonly AppliedCommand[]): readonly R[];
  /** Answers from the present state and leaves it alone. */
  query(query: Q): A;
  /**
   * Freezes the present state and yields it in chunks; commands applied meanwhile do not show in it. The first chunk
   * is asked for in the turn of the call, so that a generator which copies what it needs before it first yields or
   * waits is right.
   */
  snapshot(): AsyncIterable<Uint8Array>;
  /**
   * Replaces the state by what {@link StateMachine.snapshot} yielded on some node. Queries may come meanwhile: they
   * are answered from the state before, until this resolves. A rejection stops the node.
   */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /** Needed for sessions. */
  readonly results?: ResultCodec<R>;
  /**
   * Replicated time has come to `timeMs` without a command. Called between commands, on every node at the same place
   * in the log, when the time that {@link StateMachine.nextTimeMs} names has come.
   */
  advance?(timeMs: number): void;
  /** The replicated time at which something happens by itself, such as the end of a lease; undefined when nothing does. */
  nextTimeMs?(): number | undefined;
}

/** A committed command as a state machine gets it. */
export interface AppliedCommand {
  readonly index: Index;
  readonly term: Term;
  readonly data: Uint8Array;
  /**
   * Replicated time in milliseconds since the Unix epoch: the latest wall clock of any proposer of this or an earlier
   * command. The same on every node, and it never goes back. Danger: a node whose clock is ahead takes it along.
   */
  readonly timeMs: number;
}

/**
 * How fresh a read is.
 *
 * - `linearizable`: sees every write that was acknowledged before the read began, under any fault
 * - `lease`: the same while clocks drift less than the core's stated bound; no round trip
 * - `stale`: whatever this node has applied
 * - `{ atLeast }`: waits until this node has applied that index
 */
export type ReadLevel = 'linearizable' | 'lease' | 'stale' | { readonly atLeast: Index };
