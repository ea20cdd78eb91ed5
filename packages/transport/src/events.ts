import { type EventChannel, eventChannel } from '@quorate/runtime';
import type { DownReason, NodeId, PeerEvent } from './contract.js';
import type { TransportErrorCode } from './errors.js';

/** A session with a peer began. */
export interface PeerUpEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly session: number;
}

/** A session with a peer ended. */
export interface PeerDownEvent extends PeerUpEvent {
  readonly reason: DownReason;
}

/** A frame arrived that cannot be understood. It was dropped. */
export interface FrameRefusedEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly reason: string;
  readonly bytes: number;
  /** How many frames of this session were refused so far. */
  readonly count: number;
}

/** A message arrived that has no use any more, or not yet. It was dropped. */
export interface MessageDroppedEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  /**
   * - `no-subscriber`: nobody listens on the channel
   * - `late-reply`: the request had been settled before
   * - `duplicate`: the request had arrived before
   */
  readonly reason: 'no-subscriber' | 'late-reply' | 'duplicate';
  readonly channel: string | undefined;
}

/** A handler or listener threw. */
export interface HandlerFailedEvent {
  readonly self: NodeId;
  /** Of whom the message was, or about whom the event. */
  readonly peer: NodeId;
  readonly kind: 'message' | 'request' | 'peer';
  /** `undefined` for a listener to peers. */
  readonly channel: string | undefined;
  readonly error: unknown;
}

/** A request that this side made was settled. */
export interface RequestSettledEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly channel: string;
  readonly outcome: 'ok' | TransportErrorCode;
  readonly durationMs: number;
}

/** A request of a peer was handled. */
export interface RequestHandledEvent {
  readonly self: NodeId;
  readonly peer: NodeId;
  readonly channel: string;
  readonly outcome: 'ok' | 'HANDLER_ERROR' | 'ABORTED';
  readonly durationMs: number;
  readonly traceparent: string | undefined;
}

/** What every transport of the process reports on `node:diagnostics_channel`; free without a subscriber. */
export interface TransportEvents {
  /** `quorate:transport:peer-up` */
  readonly peerUp: EventChannel<PeerUpEvent>;
  /** `quorate:transport:peer-down` */
  readonly peerDown: EventChannel<PeerDownEvent>;
  /** `quorate:transport:frame-refused` */
  readonly frameRefused: EventChannel<FrameRefusedEvent>;
  /** `quorate:transport:message-dropped` */
  readonly messageDropped: EventChannel<MessageDroppedEvent>;
  /** `quorate:transport:handler-failed` */
  readonly handlerFailed: EventChannel<HandlerFailedEvent>;
  /** `quorate:transport:request-settled` */
  readonly requestSettled: EventChannel<RequestSettledEvent>;
  /** `quorate:transport:request-handled` */
  readonly requestHandled: EventChannel<RequestHandledEvent>;
}

/** {@inheritDoc TransportEvents} */
export const transportEvents: TransportEvents = Object.freeze({
  peerUp: eventChannel<PeerUpEvent>('transport', 'peer-up'),
  peerDown: eventChannel<PeerDownEvent>('transport', 'peer-down'),
  frameRefused: eventChannel<FrameRefusedEvent>('transport', 'frame-refused'),
  messageDropped: eventChannel<MessageDroppedEvent>('transport', 'message-dropped'),
  handlerFailed: eventChannel<HandlerFailedEvent>('transport', 'handler-failed'),
  requestSettled: eventChannel<RequestSettledEvent>('transport', 'request-settled'),
  requestHandled: eventChannel<RequestHandledEvent>('transport', 'request-handled'),
});

/** Calls a listener to peers, whose failure harms nobody else. */
export function tellPeerEvent(listener: (event: PeerEvent) => void, self: NodeId, event: PeerEvent): void {
  try {
    listener(event);
  } catch (error) {
    if (!transportEvents.handlerFailed.active) return;
    transportEvents.handlerFailed.publish({
      self,
      peer: event.peer,
      kind: 'peer',
      channel: undefined,
      error,
    });
  }
}
