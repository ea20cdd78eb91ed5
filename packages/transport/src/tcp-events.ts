import { type EventChannel, eventChannel } from '@quorate/runtime';
import type { DownReason, NodeId } from './contract.js';
import type { RefusalCode } from './core/handshake-messages.js';

/** A session began. */
export interface TcpUpEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly session: number;
  /** Who made the connection: the peer (`inbound`) or this node. */
  readonly direction: 'inbound' | 'outbound';
  /** The other end's address and port. */
  readonly remote: string;
}

/** A session ended. */
export interface TcpDownEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly session: number;
  readonly reason: DownReason;
  /** What exactly happened, for people. */
  readonly detail: string | undefined;
}

/** A connection came to nothing in its handshake. `duplicate` is normal where both nodes dial at once. */
export interface TcpRefusedEvent {
  readonly self: NodeId;
  /** The name that the other end goes by; not proved. */
  readonly peer: NodeId | undefined;
  /** The other end's address and port. */
  readonly remote: string;
  /** Who gave up: this node, the other end, or the network. */
  readonly by: 'self' | 'peer' | 'network';
  readonly code: RefusalCode;
  /** The reason in words; the other end's own where it refused. */
  readonly text: string;
}

/** A peer could not be connected to; it is tried again. */
export interface TcpUnreachableEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly address: string;
  readonly error: Error;
}

/** What TCP links report on `node:diagnostics_channel`, for logs and metrics. */
export const tcpEvents: {
  readonly up: EventChannel<TcpUpEvent>;
  readonly down: EventChannel<TcpDownEvent>;
  readonly refused: EventChannel<TcpRefusedEvent>;
  readonly unreachable: EventChannel<TcpUnreachableEvent>;
} = {
  up: eventChannel('transport', 'tcp-up'),
  down: eventChannel('transport', 'tcp-down'),
  refused: eventChannel('transport', 'tcp-refused'),
  unreachable: eventChannel('transport', 'tcp-unreachable'),
};
