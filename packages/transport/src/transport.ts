import {
  abortable,
  functionOption,
  integerOption,
  InvalidOptionError,
  numberOption,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import type {
  Capabilities,
  DownReason,
  Link,
  Message,
  NodeId,
  PeerEvent,
  PeerStatus,
  RequestOptions,
  SendOutcome,
  Transport,
  Unsubscribe,
} from './contract.js';
import { ChannelTable, type Responder } from './core/channels.js';
import * as envelope from './core/envelope.js';
import { Deadlines } from './deadlines.js';
import { TransportError, type TransportErrorCode } from './errors.js';
import { tellPeerEvent, transportEvents } from './events.js';
import { FrameEncoder } from './frames.js';
import { Loopback } from './loopback.js';
import { Receiver } from './receiver.js';
import { aborted, notOpen, notSent, refused, sessionEnded, timedOut } from './request-errors.js';
import { Peer, PendingRequest, RecentIds } from './requests.js';
import { SignalWatch } from './signals.js';
import { UnderWay } from './under-way.js';

/** How {@link createTransport} behaves. */
export interface TransportOptions {
  /**
   * Clock, timers and chance.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Runtime;
  /**
   * How many requests of one peer may be in their handlers at a time. A further one is refused with `OVERLOADED`
   * (definite) before its handler runs.
   * @defaultValue 1024
   */
  readonly maxConcurrentRequestsPerPeer?: number;
  /**
   * Gives the trace context that travels with each message and request, in the form of the W3C header `traceparent`:
   * printable ASCII of at most 255 characters. Called once per message; `undefined` sends none.
   */
  readonly traceparent?: () => string | undefined;
}

/**
 * Joins a {@link Link} with channels, requests, deadlines and cancellation. The transport owns the link: it starts it
 * and closes it.
 *
 * Throws `InvalidOptionError` for an option that cannot be honoured.
 */
export function createTransport(link: Link, options: TransportOptions = {}): Transport {
  return new LinkTransport(link, options);
}

/** The longest deadline: more does not fit the envelope. */
const MAX_TIMEOUT_MS = 2 ** 32 - 1;
const DEFAULT_DRAIN_MS = 1_000;
/** On links that may deliver twice, a second arrival is noticed among this many requests of a peer. */
const REMEMBERED_REQUESTS = 4_096;
const LOOPBACK_BYTES = 16 * 1024 * 1024;
const SELF_SESSION = 0;

class LinkTransport implements Transport {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly runtime: Runtime;
  readonly #link: Link;
  readonly #channels = new ChannelTable();
  readonly #peers = new Map<NodeId, Peer>();
  readonly #deadlines: Deadlines;
  readonly #signals = new SignalWatch();
  readonly #loopback: Loopback;
  readonly #frames: FrameEncoder;
  readonly #receiver: Receiver;
  readonly #reader = new envelope.EnvelopeReader();
  /** Requests that are pending here, and handlers that are at work here. */
  readonly #underWay = new UnderWay();
  #listeners: readonly ((event: PeerEvent) => void)[] = [];
  #state: 'new' | 'open' | 'closing' | 'closed' = 'new';
  #starting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(link: Link, options: TransportOptions) {
    this.#link = link;
    this.self = link.self;
    this.capabilities = link.capabilities;
    this.runtime = options.runtime ?? systemRuntime;
    const { maxPayload } = this.capabilities;
    const { maxConcurrentRequestsPerPeer = 1024, traceparent } = options;
    this.#deadlines = new Deadlines(this.runtime);
    this.#frames = new FrameEncoder(
      traceparent === undefined ? undefined : functionOption('traceparent', traceparent),
    );
    this.#receiver = new Receiver({
      self: this.self,
      runtime: this.runtime,
      maxPayload,
      maxConcurrent: integerOption('maxConcurrentRequestsPerPeer', maxConcurrentRequestsPerPeer, { min: 1 }),
      channels: this.#channels,
      deadlines: this.#deadlines,
      frames: this.#frames,
      closing: () => this.#state === 'closing',
      transmit: (to, frame) => this.#transmit(to, frame),
      writable: (to, signal) => this.#writable(to, signal),
      began: (peer) => {
        peer.running++;
        this.#underWay.begin();
      },
      ended: (peer) => {
        peer.running--;
        this.#oneLess(peer);
      },
    });
    this.#loopback = new Loopback(Math.max(LOOPBACK_BYTES, maxPayload), (frame) =>
      this.#receive(this.self, SELF_SESSION, frame),
    );
    const self = this.#newPeer(this.self);
    self.session = SELF_SESSION;
    this.#peers.set(this.self, self);
  }

  start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return (this.#starting ??= this.#start(options.signal));
  }

  send(to: NodeId, channel: string, body: Uint8Array): SendOutcome {
    const { wire } = this.#channels.named(channel);
    this.#checkBody(body, to);
    if (this.#state !== 'open') return 'dropped-closed';
    return this.#transmit(to, this.#frames.message(wire, body));
  }

  broadcast(channel: string, body: Uint8Array, to?: Iterable<NodeId>): number {
    const { wire } = this.#channels.named(channel);
    this.#checkBody(body, undefined);
    if (this.#state !== 'open') return 0;
    // Read to its end before the frame is made: an iterator is free to send something itself.
    const receivers = to === undefined ? undefined : new Set(to);
    const frame = this.#frames.message(wire, body);
    if (receivers === undefined && this.#link.broadcast !== undefined) return this.#link.broadcast(frame);
    let queued = 0;
    for (const peer of receivers ?? this.#link.peers().map(({ id }) => id)) {
      if (peer !== this.self && this.#link.send(peer, frame) === 'queued') queued++;
    }
    return queued;
  }

  request(to: NodeId, channel: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      // What is thrown in here rejects the promise.
      const { wire } = this.#channels.named(channel);
      const { signal } = options;
      const timeoutMs = numberOption('timeoutMs', options.timeoutMs, { max: MAX_TIMEOUT_MS });
      this.#checkBody(body, to);
      if (this.#state !== 'open') throw notOpen(to);
      if (signal?.aborted === true) throw aborted(signal.reason, { peer: to, channel }, false);
      if (timeoutMs === 0) throw timedOut(0, { peer: to, channel }, false);
      const peer = this.#peers.get(to) ?? this.#newPeer(to);
      const id = peer.pending.nextId();
      const outcome = this.#transmit(to, this.#frames.request(id, timeoutMs, wire, body));
      if (outcome !== 'queued') throw notSent(outcome, { peer: to, channel });
      const startedMs = this.runtime.monotonic();
      const request = new PendingRequest(
        peer,
        id,
        channel,
        timeoutMs,
        startedMs,
        signal,
        resolve,
        reject,
        this.#giveUp,
      );
      // A new peer, or one that would be forgotten while nothing is under way with it.
      if (peer.forgettable) this.#peers.set(to, peer);
      peer.pending.add(request);
      this.#underWay.begin();
      this.#deadlines.add(request, startedMs + timeoutMs);
      if (signal !== undefined) this.#signals.add(signal, request);
    });
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'open') throw notOpen(to);
    await this.#writable(to, signal);
  }

  subscribe(channel: string, handle: (message: Message) => void): Unsubscribe {
    functionOption('handle', handle);
    const one = this.#channels.named(channel);
    // A function of its own, so that one handler may be subscribed twice and unsubscribed once.
    const subscriber = (message: Message): unknown => handle(message);
    one.subscribers = [...one.subscribers, subscriber];
    return () => {
      one.subscribers = one.subscribers.filter((other) => other !== subscriber);
    };
  }

  respond(channel: string, handle: Responder): Unsubscribe {
    functionOption('handle', handle);
    const one = this.#channels.named(channel);
    if (one.responder !== undefined) {
      throw new TransportError(
        'ALREADY_HANDLED',
        `channel ${JSON.stringify(channel)} has a handler; end it before setting another`,
        { definite: true },
      );
    }
    const responder: Responder = (request) => handle(request);
    one.responder = responder;
    return () => {
      if (one.responder === responder) one.responder = undefined;
    };
  }

  peers(): readonly PeerStatus[] {
    return this.#link
      .peers()
      .map(({ id, session, queuedBytes }) => ({ id, up: session !== undefined, session, queuedBytes }));
  }

  onPeer(listen: (event: PeerEvent) => void): Unsubscribe {
    functionOption('listen', listen);
    const listener = (event: PeerEvent): void => listen(event);
    this.#listeners = [...this.#listeners, listener];
    for (const { id, session } of [...this.#peers.values()]) {
      if (session !== undefined && id !== this.self)
        tellPeerEvent(listener, this.self, { type: 'up', peer: id, session });
    }
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async close(options: { readonly drainMs?: number } = {}): Promise<void> {
    const drainMs = numberOption('drainMs', options.drainMs ?? DEFAULT_DRAIN_MS);
    if (drainMs === 0) this.#underWay.hurry();
    await (this.#closing ??= this.#close(drainMs));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    if (this.#state !== 'new') throw notOpen(undefined);
    this.#state = 'open';
    try {
      signal?.throwIfAborted();
      const started = this.#link.start({
        frame: (from, session, bytes) => this.#receive(from, session, bytes),
        up: (peer, session) => this.#up(peer, session),
        down: (peer, reason) => this.#down(peer, reason),
      });
      await abortable(started, signal);
    } catch (error) {
      await this.close({ drainMs: 0 });
      if (signal?.aborted !== true) throw error;
      const message = `starting ${JSON.stringify(this.self)} was aborted`;
      throw new TransportError('ABORTED', message, { definite: true, cause: signal.reason });
    }
    if (this.#closing !== undefined) throw notOpen(undefined);
  }

  async #close(drainMs: number): Promise<void> {
    const until = this.runtime.monotonic() + drainMs;
    this.#state = 'closing';
    await this.#underWay.drain(this.runtime, drainMs);
    this.#state = 'closed';
    for (const peer of [...this.#peers.values()]) this.#end(peer, 'closed');
    this.#deadlines.clear();
    this.#peers.clear();
    this.#listeners = [];
    await this.#link.close(Math.max(0, until - this.runtime.monotonic()));
  }

  #newPeer(id: NodeId): Peer {
    const firstId = Math.floor(this.runtime.random() * 2 ** 32);
    const seen = this.capabilities.duplicates === 'never' ? undefined : new RecentIds(REMEMBERED_REQUESTS);
    return new Peer(id, firstId, seen);
  }

  #up(id: NodeId, session: number): void {
    if (this.#state === 'closed' || id === this.self) return;
    if (this.#peers.get(id)?.session !== undefined) this.#down(id, 'error');
    const peer = this.#peers.get(id) ?? this.#newPeer(id);
    this.#peers.set(id, peer);
    peer.session = session;
    peer.refused = 0;
    if (transportEvents.peerUp.active) transportEvents.peerUp.publish({ self: this.self, peer: id, session });
    for (const listener of this.#listeners)
      tellPeerEvent(listener, this.self, { type: 'up', peer: id, session });
  }

  #down(id: NodeId, reason: DownReason): void {
    const peer = this.#peers.get(id);
    if (peer === undefined || id === this.self) return;
    this.#end(peer, reason);
    if (peer.forgettable) this.#peers.delete(id);
  }

  /** Ends the session: settles what is pending, tells the handlers at work, and then the listeners. */
  #end(peer: Peer, reason: DownReason): void {
    const { id, session } = peer;
    const code = this.#state === 'closed' ? 'CLOSED' : 'PEER_DOWN';
    peer.session = undefined;
    for (const request of peer.pending.values()) {
      this.#settle(request, code);
      request.reject(sessionEnded(code, request.subject));
    }
    for (const request of [...peer.handling.values()]) request.abort(sessionEnded(code, request.subject));
    peer.handling.clear();
    if (session === undefined || id === this.self) return;
    if (transportEvents.peerDown.active) {
      transportEvents.peerDown.publish({ self: this.self, peer: id, session, reason });
    }
    for (const listener of this.#listeners)
      tellPeerEvent(listener, this.self, { type: 'down', peer: id, session, reason });
  }

  #transmit(to: NodeId, frame: Uint8Array): SendOutcome {
    return to === this.self ? this.#loopback.send(frame) : this.#link.send(to, frame);
  }

  async #writable(to: NodeId, signal: AbortSignal | undefined): Promise<void> {
    try {
      signal?.throwIfAborted();
      await (to === this.self
        ? abortable(this.#loopback.writable(), signal)
        : this.#link.writable(to, signal));
    } catch (error) {
      if (error instanceof TransportError) throw error;
      const code = signal?.aborted === true ? 'ABORTED' : this.#state === 'open' ? 'PEER_DOWN' : 'CLOSED';
      const message = `waiting until ${JSON.stringify(to)} takes messages ended`;
      throw new TransportError(code, message, { definite: true, peer: to, cause: error });
    }
  }

  #checkBody(body: Uint8Array, to: NodeId | undefined): void {
    if (!(body instanceof Uint8Array)) throw new InvalidOptionError('body', body, 'a Uint8Array');
    const { maxPayload } = this.capabilities;
    if (body.length <= maxPayload) return;
    throw new TransportError(
      'TOO_LARGE',
      `a body of ${String(body.length)} bytes exceeds maxPayload of ${String(maxPayload)}; sendBlob sends large ones in pieces`,
      { definite: true, peer: to },
    );
  }

  readonly #giveUp = (request: PendingRequest, code: 'TIMEOUT' | 'ABORTED'): void => {
    const { peer, id, subject, timeoutMs, signal } = request;
    this.#settle(request, code);
    this.#transmit(peer.id, envelope.cancelFrame(id));
    request.reject(
      code === 'TIMEOUT' ? timedOut(timeoutMs, subject, true) : aborted(signal?.reason, subject, true),
    );
  };

  /** Takes a request out of the table; the caller then resolves or rejects it. */
  #settle(request: PendingRequest, outcome: 'ok' | TransportErrorCode): void {
    const { peer, signal, channel, startedMs } = request;
    peer.pending.delete(request.id);
    this.#deadlines.remove(request);
    if (signal !== undefined) this.#signals.remove(signal, request);
    this.#oneLess(peer);
    if (!transportEvents.requestSettled.active) return;
    const durationMs = this.runtime.monotonic() - startedMs;
    transportEvents.requestSettled.publish({ self: this.self, peer: peer.id, channel, outcome, durationMs });
  }

  #oneLess(peer: Peer): void {
    if (peer.forgettable) this.#peers.delete(peer.id);
    this.#underWay.end();
  }

  #receive(from: NodeId, session: number, bytes: Uint8Array): void {
    if (this.#state === 'closed') return;
    const peer = this.#peers.get(from);
    if (peer?.session !== session) return;
    const reader = this.#reader;
    const fault = reader.read(bytes);
    if (fault !== undefined) {
      this.#receiver.refused(peer, bytes, fault);
      return;
    }
    switch (reader.kind) {
      case envelope.KIND_MESSAGE:
        this.#receiver.message(peer, session, bytes, reader);
        return;
      case envelope.KIND_REQUEST:
        this.#receiver.request(peer, session, bytes, reader);
        return;
      case envelope.KIND_CANCEL: {
        const message = `${JSON.stringify(from)} cancelled its request`;
        peer.handling
          .get(reader.id)
          ?.abort(new TransportError('ABORTED', message, { definite: false, peer: from }));
        return;
      }
      default:
        this.#onReply(peer, bytes, reader);
    }
  }

  /** The answer to a request of this side, or the error that takes its place. */
  #onReply(peer: Peer, bytes: Uint8Array, { kind, id, code, bodyStart }: envelope.EnvelopeReader): void {
    const request = peer.pending.get(id);
    if (request === undefined) {
      this.#receiver.dropped(peer, 'late-reply');
      return;
    }
    const rest = envelope.viewFrom(bytes, bodyStart);
    if (kind === envelope.KIND_RESPONSE) {
      this.#settle(request, 'ok');
      request.resolve(rest);
      return;
    }
    const error = refused(code, decoder.decode(rest), request.subject);
    this.#settle(request, error.code);
    request.reject(error);
  }
}

const decoder = new TextDecoder();
