import { QuorateError } from '@quorate/runtime';
import type { NodeId } from './contract.js';

/**
 * Why a request, a wait or a call failed.
 *
 * - `TIMEOUT`: the deadline passed
 * - `ABORTED`: the caller's signal aborted; its reason is the `cause`
 * - `PEER_DOWN`: there is no session with the peer, or it ended while the request was under way
 * - `UNKNOWN_PEER`: nobody of that name is known
 * - `OVERLOADED`: the queue to the peer is at its bound, or the peer refused for that reason
 * - `TOO_LARGE`: the body is above `maxPayload`
 * - `NO_HANDLER`: the peer has no handler for the channel
 * - `HANDLER_ERROR`: the peer's handler threw; its message is in this one
 * - `UNAUTHENTICATED`: the peer could not prove who it is, or it belongs to another cluster
 * - `PROTOCOL`: the peer sent what cannot be understood
 * - `CLOSED`: this transport is closed, or was never started
 * - `ALREADY_HANDLED`: the channel has a handler
 */
export type TransportErrorCode =
  | 'TIMEOUT'
  | 'ABORTED'
  | 'PEER_DOWN'
  | 'UNKNOWN_PEER'
  | 'OVERLOADED'
  | 'TOO_LARGE'
  | 'NO_HANDLER'
  | 'HANDLER_ERROR'
  | 'UNAUTHENTICATED'
  | 'PROTOCOL'
  | 'CLOSED'
  | 'ALREADY_HANDLED';

/** What a {@link TransportError} carries besides its code and message. */
export interface TransportErrorDetails {
  readonly definite: boolean;
  readonly peer?: NodeId | undefined;
  readonly cause?: unknown;
}

/** A failure of the transport. See {@link TransportErrorCode}. */
export class TransportError extends QuorateError {
  static override readonly brand: string = '@quorate/transport#TransportError';

  declare readonly code: TransportErrorCode;
  /**
   * True: the remote handler did not run and never will because of this call, so that repeating it is safe.
   * False: it may have run, may be running, or may still run.
   */
  readonly definite: boolean;
  /** The peer that the call was meant for. */
  readonly peer: NodeId | undefined;

  constructor(code: TransportErrorCode, message: string, details: TransportErrorDetails) {
    super(code, message, 'cause' in details ? { cause: details.cause } : {});
    this.definite = details.definite;
    this.peer = details.peer;
  }
}
