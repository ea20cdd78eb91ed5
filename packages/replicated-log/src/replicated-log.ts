import type { Index } from '@quorate/durable-log';
import type { NodeId } from '@quorate/transport';
import type { CoreStatus, Membership, ReadLevel } from './contract.js';
import type { Session, SessionOptions } from './session.js';

/** How long a call waits, and what may end the waiting. */
export interface CallOptions {
  /** @defaultValue the node's `timeoutMs` */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * A replicated log as its user sees it: the same for every core. Every call settles: with its value, or with a
 * `ReplicatedLogError` whose `definite` says whether it certainly had no effect.
 */
export interface ReplicatedLog<R, Q, A, S extends CoreStatus = CoreStatus> extends AsyncDisposable {
  readonly id: NodeId;
  /** Aborts when the node stops by itself, with the error that stopped it, or is closed. */
  readonly stopped: AbortSignal;
  /**
   * How many messages of peers were refused since the start because their bytes are none of this log: damaged, of
   * another version or of another group. What a core drops of the others is in its status.
   */
  readonly refusedMessages: number;
  /**
   * Appends a command, on whatever node this is called. Resolves with what the state machine answered on this node
   * once the command is committed: a majority has it, durably. Waits for a leader where there is none. Where the
   * error is not `definite` the command may still take effect, and only a session makes repeating it safe.
   */
  propose(command: Uint8Array, options?: CallOptions): Promise<R>;
  /** Asks the state machine of this node, as fresh as `level` says. Repeats itself where a leader is lost. */
  read(query: Q, level: ReadLevel, options?: CallOptions): Promise<A>;
  /**
   * Begins a session, in which commands take effect exactly once. Rejects with `QUEUE_FULL` where there are 100,000.
   * Throws `InvalidOptionError` where the state machine has no `results`.
   */
  openSession(options?: SessionOptions): Promise<Session<R>>;
  /**
   * Changes who takes part; to be called at the leader. Resolves when the change, and the joint configuration on the
   * way to it, is over.
   */
  changeMembership(next: Membership, options?: CallOptions): Promise<Membership>;
  /** Hands leadership to a voter; to be called at the leader. Resolves when `to` leads. */
  transferLeadership(to: NodeId, options?: CallOptions): Promise<void>;
  /** A copy of what the core tells of itself. */
  status(): Readonly<S>;
  /**
   * The present status and then each change of role, term, leader or membership, until the node stops; the latest
   * where several come between two steps of the reader.
   */
  watch(): AsyncIterable<Readonly<S>>;
  /** Takes a snapshot now and compacts the log. Resolves with the index that it stands for. */
  snapshot(): Promise<Index>;
  /** Rejects what waits, waits for writes under way, and closes the storage. The transport stays open. Idempotent. */
  close(): Promise<void>;
}
