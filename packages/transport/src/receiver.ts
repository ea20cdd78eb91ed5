import { InvalidOptionError, type Runtime } from '@quorate/runtime';
import type { Message, NodeId, SendOutcome } from './contract.js';
import { type ChannelTable, decodeName } from './core/channels.js';
import * as envelope from './core/envelope.js';
import type { Deadlines } from './deadlines.js';
import { TransportError } from './errors.js';
import { type HandlerFailedEvent, type MessageDroppedEvent, transportEvents } from './events.js';
import { type FrameEncoder, readTrace } from './frames.js';
import { sessionEnded } from './request-errors.js';
import { InboundRequest, type Peer } from './requests.js';

/** What handling messages needs of the transport around it. */
export interface ReceiverHost {
  readonly self: NodeId;
  readonly runtime: Runtime;
  readonly maxPayload: number;
  readonly maxConcurrent: number;
  readonly channels: ChannelTable;
  readonly deadlines: Deadlines;
  readonly frames: FrameEncoder;
  /** Whether new requests are refused because the transport drains. */
  closing(): boolean;
  transmit(to: NodeId, frame: Uint8Array): SendOutcome;
  writable(to: NodeId, signal: AbortSignal): Promise<void>;
  /** A handler began to work beyond the turn in which its request arrived. */
  began(peer: Peer): void;
  ended(peer: Peer): void;
}

/** Hands messages and requests of peers to their handlers, and the answers back. */
export class Receiver {
  readonly #host: ReceiverHost;
  #nowMs: number | undefined;
  readonly #forgetNow = (): void => {
    this.#nowMs = undefined;
  };

  constructor(host: ReceiverHost) {
    this.#host = host;
  }

  message(peer: Peer, session: number, bytes: Uint8Array, reader: envelope.EnvelopeReader): void {
    const { channelStart, channelEnd, bodyStart } = reader;
    const channel = this.#host.channels.at(bytes, channelStart, channelEnd);
    if (channel === undefined || channel.subscribers.length === 0) {
      this.dropped(peer, 'no-subscriber', bytes, reader);
      return;
    }
    const message: Message = {
      from: peer.id,
      channel: channel.name,
      body: envelope.viewFrom(bytes, bodyStart),
      session,
      traceparent: readTrace(bytes, reader),
    };
    for (const subscriber of channel.subscribers) {
      try {
        // The type allows an async function here, and its rejection must not end the process.
        const result = subscriber(message);
        if (result instanceof Promise)
          result.catch((error: unknown) => this.#failed('message', message, error));
      } catch (error) {
        this.#failed('message', message, error);
      }
    }
  }

  request(peer: Peer, session: number, bytes: Uint8Array, reader: envelope.EnvelopeReader): void {
    const { id, budgetMs, bodyStart } = reader;
    // Before anything is decided: a request that was refused must not run when it arrives a second time.
    if (peer.seen?.add(id) === false) {
      this.dropped(peer, 'duplicate', bytes, reader);
      return;
    }
    if (peer.handling.has(id)) {
      this.refused(peer, bytes, 'a request with the id of one that is under way');
      return;
    }
    const host = this.#host;
    const channel = host.channels.at(bytes, reader.channelStart, reader.channelEnd);
    const responder = channel?.responder;
    if (channel === undefined || responder === undefined) {
      host.transmit(peer.id, envelope.errorFrame(id, envelope.FAULT_NO_HANDLER, ''));
      return;
    }
    if (host.closing() || peer.running >= host.maxConcurrent) {
      const code = host.closing() ? envelope.FAULT_CLOSING : envelope.FAULT_OVERLOADED;
      host.transmit(peer.id, envelope.errorFrame(id, code, ''));
      return;
    }
    const request = new InboundRequest(
      peer,
      session,
      id,
      channel.name,
      envelope.viewFrom(bytes, bodyStart),
      readTrace(bytes, reader),
      budgetMs,
      this.#now(),
      host.runtime,
      host.deadlines,
    );
    let answer: Uint8Array | Promise<Uint8Array>;
    try {
      answer = responder(request);
      if (
        answer instanceof Uint8Array &&
        this.#answer(peer, request, answer, request.answerable) !== 'dropped-full'
      ) {
        this.#handled(request, 'ok');
        return;
      }
    } catch (error) {
      this.#fail(peer, request, error);
      return;
    }
    host.began(peer);
    // The handler itself may have ended the session.
    if (peer.session === session) peer.handling.set(id, request);
    else request.abort(sessionEnded('PEER_DOWN', request.subject));
    void this.#finish(peer, request, answer);
  }

  /** A frame cannot be understood. */
  refused(peer: Peer, bytes: Uint8Array, reason: string): void {
    peer.refused++;
    if (!transportEvents.frameRefused.active) return;
    transportEvents.frameRefused.publish({
      self: this.#host.self,
      peer: peer.id,
      reason,
      bytes: bytes.length,
      count: peer.refused,
    });
  }

  /** A message has no use. `reader` holds its channel, where it names one. */
  dropped(
    peer: Peer,
    reason: MessageDroppedEvent['reason'],
    bytes?: Uint8Array,
    reader?: envelope.EnvelopeReader,
  ): void {
    if (!transportEvents.messageDropped.active) return;
    transportEvents.messageDropped.publish({
      self: this.#host.self,
      peer: peer.id,
      reason,
      channel:
        bytes === undefined || reader === undefined
          ? undefined
          : decodeName(bytes, reader.channelStart, reader.channelEnd),
    });
  }

  /** Waits for the handler, and for room in the caller's queue. Never rejects. */
  async #finish(
    peer: Peer,
    request: InboundRequest,
    answer: Uint8Array | Promise<Uint8Array>,
  ): Promise<void> {
    try {
      const body = await answer;
      if (this.#answer(peer, request, body, request.wanted) === 'dropped-full') {
        // The handler may use its buffer again while the answer waits.
        const kept = new Uint8Array(body);
        do await this.#host.writable(peer.id, request.signal);
        while (this.#answer(peer, request, kept, request.wanted) === 'dropped-full');
      }
      this.#handled(request, 'ok');
    } catch (error) {
      this.#fail(peer, request, error);
    }
    if (peer.handling.get(request.id) === request) peer.handling.delete(request.id);
    this.#host.ended(peer);
  }

  /** Sends the answer, unless it is not `wanted` any more. Throws when it is none. */
  #answer(peer: Peer, request: InboundRequest, body: Uint8Array, wanted: boolean): SendOutcome {
    const { maxPayload, frames } = this.#host;
    if (!(body instanceof Uint8Array)) {
      throw new InvalidOptionError(
        `the answer on channel ${JSON.stringify(request.channel)}`,
        body,
        'a Uint8Array',
      );
    }
    if (body.length > maxPayload) {
      throw new TransportError(
        'TOO_LARGE',
        `the answer of ${String(body.length)} bytes exceeds maxPayload of ${String(maxPayload)}`,
        { definite: false },
      );
    }
    return wanted ? this.#host.transmit(peer.id, frames.response(request.id, body)) : 'dropped-down';
  }

  /** Requests that a link hands over in one go have come together, and share one reading of the clock. */
  #now(): number {
    if (this.#nowMs === undefined) {
      this.#nowMs = this.#host.runtime.monotonic();
      void Promise.resolve().then(this.#forgetNow);
    }
    return this.#nowMs;
  }

  #fail(peer: Peer, request: InboundRequest, error: unknown): void {
    // A handler that stops because nobody waits any more has not failed.
    if (!request.wanted) {
      this.#handled(request, 'ABORTED');
      return;
    }
    this.#failed('request', request, error);
    const text = error instanceof Error ? error.message : String(error);
    this.#host.transmit(peer.id, envelope.errorFrame(request.id, envelope.FAULT_HANDLER, text));
    this.#handled(request, 'HANDLER_ERROR');
  }

  #failed(kind: HandlerFailedEvent['kind'], { from, channel }: Message, error: unknown): void {
    if (!transportEvents.handlerFailed.active) return;
    transportEvents.handlerFailed.publish({ self: this.#host.self, peer: from, kind, channel, error });
  }

  #handled(request: InboundRequest, outcome: 'ok' | 'HANDLER_ERROR' | 'ABORTED'): void {
    request.finish();
    if (!transportEvents.requestHandled.active) return;
    transportEvents.requestHandled.publish({
      self: this.#host.self,
      peer: request.from,
      channel: request.channel,
      outcome,
      durationMs: this.#host.runtime.monotonic() - request.startedMs,
      traceparent: request.traceparent,
    });
  }
}
