import type { LogStorage } from '@quorate/durable-log';
import {
  functionOption,
  identifierOption,
  integerOption,
  numberOption,
  type Runtime,
} from '@quorate/runtime';
import type { Transport } from '@quorate/transport';
import type { ConsensusCore, CoreStatus, MessageCodec, Recovered, StateMachine } from './contract.js';

/** What `startNode` joins. */
export interface NodeOptions<M, S extends CoreStatus, R, Q, A> {
  /**
   * Makes the core from what the storage holds. `seed` differs from one start of a node to the next.
   */
  readonly core: (recovered: Recovered, seed: number) => ConsensusCore<M, S>;
  readonly codec: MessageCodec<M>;
  /** Started by its owner, before or after; stays open when the node closes. Its clock and timers are the node's. */
  readonly transport: Transport;
  /** Loaded, and closed, by the node. */
  readonly storage: LogStorage;
  readonly stateMachine: StateMachine<R, Q, A>;
  /**
   * The channel of this log on the transport, the same on every node.
   * @defaultValue 'log'
   */
  readonly channel?: string;
  /**
   * How long one tick of the core is, in milliseconds. Danger: an election timeout below a few round trips and syncs
   * leads to elections without need.
   * @defaultValue 50
   */
  readonly tickMs?: number;
  /**
   * How long proposals, reads and changes wait unless told otherwise, in milliseconds. Danger: below an election, calls
   * fail that would have succeeded.
   * @defaultValue 10_000
   */
  readonly timeoutMs?: number;
  /**
   * A snapshot is taken after so many applied entries. Danger: each one writes the whole state; few entries between them
   * make writing the state what the node does most.
   * @defaultValue 10_000
   */
  readonly snapshotEntries?: number;
  /**
   * A snapshot is also taken after so many bytes of applied commands. Danger: the log takes so much more memory and disk.
   * @defaultValue 67_108_864
   */
  readonly snapshotBytes?: number;
  /**
   * So many entries behind a snapshot stay in the log, so that a peer that is a little behind needs no snapshot.
   * Danger: with few, every peer that restarts is sent the whole state; they are held in memory.
   * @defaultValue 1_000
   */
  readonly keepEntries?: number;
  /**
   * Bytes of a piece of a snapshot on its way to a peer, of which two are under way at a time. Danger: large ones make
   * the heartbeats behind them late, a small one makes the transfer wait for round trips.
   * @defaultValue 65_536
   */
  readonly snapshotChunkBytes?: number;
  /**
   * A piece of a snapshot is taken by the peer within this time, or its sending has failed, in milliseconds.
   * Danger: below a sync of the peer's disk no transfer succeeds.
   * @defaultValue 30_000
   */
  readonly snapshotChunkTimeoutMs?: number;
  /**
   * Proposals, reads and changes, each for itself, that wait at this node; beyond, they are refused with `QUEUE_FULL`.
   * Danger: so many callers may wait for as long as no leader is found.
   * @defaultValue 10_000
   */
  readonly maxWaiting?: number;
  /**
   * Bytes of proposals that wait at this node; beyond, they are refused with `QUEUE_FULL`. One always fits.
   * Danger: so much memory may be taken while no leader is found.
   * @defaultValue 67_108_864
   */
  readonly maxWaitingBytes?: number;
}

/** Node options with their defaults, checked. */
export interface CheckedNodeOptions {
  readonly channel: string;
  readonly runtime: Runtime;
  readonly tickMs: number;
  readonly timeoutMs: number;
  readonly snapshotEntries: number;
  readonly snapshotBytes: number;
  readonly keepEntries: number;
  readonly snapshotChunkBytes: number;
  readonly snapshotChunkTimeoutMs: number;
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
}

/** Throws `InvalidOptionError` for what cannot be honoured. */
export function checkNodeOptions<M, S extends CoreStatus, R, Q, A>(
  options: NodeOptions<M, S, R, Q, A>,
): CheckedNodeOptions {
  functionOption('core', options.core);
  return {
    channel: identifierOption('channel', options.channel ?? 'log'),
    runtime: options.transport.runtime,
    tickMs: numberOption('tickMs', options.tickMs ?? 50, { min: 1 }),
    timeoutMs: numberOption('timeoutMs', options.timeoutMs ?? 10_000, { min: 1 }),
    snapshotEntries: integerOption('snapshotEntries', options.snapshotEntries ?? 10_000, { min: 1 }),
    snapshotBytes: integerOption('snapshotBytes', options.snapshotBytes ?? 67_108_864, { min: 1 }),
    keepEntries: integerOption('keepEntries', options.keepEntries ?? 1_000),
    snapshotChunkBytes: integerOption('snapshotChunkBytes', options.snapshotChunkBytes ?? 65_536, { min: 1 }),
    snapshotChunkTimeoutMs: numberOption('snapshotChunkTimeoutMs', options.snapshotChunkTimeoutMs ?? 30_000, {
      min: 1,
    }),
    maxWaiting: integerOption('maxWaiting', options.maxWaiting ?? 10_000, { min: 1 }),
    maxWaitingBytes: integerOption('maxWaitingBytes', options.maxWaitingBytes ?? 67_108_864, { min: 1 }),
  };
}
