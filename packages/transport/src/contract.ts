import type { Runtime } from '@quorate/runtime';

/** The name of a node: 1 to 255 bytes of UTF-8 without control characters. */
export type NodeId = string;

/** Ends a subscription. Calling it again does nothing. */
export type Unsubscribe = () => void;

/**
 * What became of a message handed to `send`. Only `queued` means that it may arrive; every other outcome means
 * that it certainly will not.
 *
 * - `queued`: accepted by the local queue; nothing is said about delivery
 * - `dropped-full`: the queue to that peer is at its bound in bytes; wait for `writable`
 * - `dropped-down`: the peer is known and there is no session with it
 * - `dropped-unknown`: nobody of that name is known
 * - `dropped-closed`: this side is closed or was never started
 */
export type SendOutcome = 'queued' | 'dropped-full' | 'dropped-down' | 'dropped-unknown' | 'dropped-closed';

/** Why a peer went down. */
export type DownReason = 'closed' | 'error' | 'timeout' | 'left';

/** What a link, and so a transport, promises. */
export interface Capabilities {
  /** The largest body of one message, in bytes. A larger one throws before anything is sent. */
  readonly maxPayload: number;
  /** `fifo-per-session`: what arrives from a peer within one session arrives in the order in which it was sent. */
  readonly ordering: 'fifo-per-session' | 'none';
  /** `never`: no message arrives twice, also not across a reconnection. */
  readonly duplicates: 'never' | 'possible';
  /** `native`: a broadcast costs one send on the medium; `fan-out`: one per peer. */
  readonly multicast: 'native' | 'fan-out';
  /** How the going of a peer is noticed; `none`: not at all, and only deadlines tell. */
  readonly peerEvents: 'connection' | 'heartbeat' | 'none';
  /** Who vouches for the sender's name; `none`: nobody, it is what the sender says. */
  readonly identity: 'mtls' | 'shared-secret' | 'process' | 'broker' | 'none';
}

/**
 * What a {@link Link} tells the transport above it. The link never calls these before `start` was called, and never
 * from within `send`. They do not throw.
 */
export interface LinkEvents {
  /**
   * A frame arrived. `session` is the one announced by the latest `up` of that peer. The bytes belong to the
   * receiver from now on: the link does not write into them again.
   */
  frame(from: NodeId, session: number, bytes: Uint8Array): void;
  /** A session with `peer` began. Its number is one that this link never announced for this peer before. */
  up(peer: NodeId, session: number): void;
  /** The session with `peer` ended: called once for each `up`, and no frame of that session follows. */
  down(peer: NodeId, reason: DownReason): void;
}

/**
 * The author's side of a transport: opaque frames between named nodes. An adapter is these few functions; run
 * `@quorate/transport/conformance` against it. Everything else (channels, requests, deadlines, cancellation) is
 * added by `createTransport`.
 */
export interface Link {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  /** Begins to accept and to connect. Resolves when frames can be received. Called once. */
  start(events: LinkEvents): Promise<void>;
  /**
   * Hands one frame of at most `capabilities.maxPayload` bytes plus {@link FRAME_OVERHEAD_BYTES} over. Never
   * blocks and never throws for the network. The caller may reuse the frame's buffer as soon as this returns.
   */
  send(to: NodeId, frame: Uint8Array): SendOutcome;
  /** Where the medium has a broadcast: one frame to every peer; returns how many peers it was queued for. */
  broadcast?(frame: Uint8Array): number;
  /** Names the peers that the link knows, up or not, itself excluded. */
  peers(): readonly LinkPeer[];
  /** Resolves when `send` would be accepted again. Rejects when the peer goes down, on close and on abort. */
  writable(to: NodeId, signal?: AbortSignal): Promise<void>;
  /**
   * Flushes for at most `drainMs` milliseconds what is queued, then ends every session. Idempotent. Afterwards
   * no event is emitted and no handle is open.
   */
  close(drainMs: number): Promise<void>;
}

/**
 * How many bytes the transport may add to a body to make a frame of it (channel, request id, budget, trace
 * context). A link accepts frames of `maxPayload` and this many bytes.
 */
export const FRAME_OVERHEAD_BYTES = 1024;

/** A peer as its link sees it. */
export interface LinkPeer {
  readonly id: NodeId;
  /** The session's number while there is one. */
  readonly session: number | undefined;
  /** Bytes accepted by `send` that have not left this process. */
  readonly queuedBytes: number;
}

/** A peer as {@link Transport.peers} lists it. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly up: boolean;
  readonly session: number | undefined;
  readonly queuedBytes: number;
}

/** A peer came or went. */
export type PeerEvent =
  | { readonly type: 'up'; readonly peer: NodeId; readonly session: number }
  | { readonly type: 'down'; readonly peer: NodeId; readonly session: number; readonly reason: DownReason };

/** A one-way message as its handler gets it. */
export interface Message {
  readonly from: NodeId;
  readonly channel: string;
  /** Owned by the receiver. */
  readonly body: Uint8Array;
  /** Changes whenever the link to `from` was established anew; an ordering holds within one session. */
  readonly session: number;
  /** The sender's trace context in the form of the W3C header `traceparent`, if it sent one. */
  readonly traceparent: string | undefined;
}

/** A request as its handler gets it. */
export interface RequestContext extends Message {
  /** Aborts when the caller's deadline passes, the caller cancels, the link drops, or this transport closes. */
  readonly signal: AbortSignal;
  /** Milliseconds of the caller's budget that are left, by the receiver's clock. */
  remainingMs(): number;
}

/** What every request says about its patience. */
export interface RequestOptions {
  /** The request settles within this many milliseconds. There is no default: a deadline is always a decision. */
  readonly timeoutMs: number;
  /** Cancels the request; the remote handler's signal aborts too. */
  readonly signal?: AbortSignal;
}

/**
 * Messages and requests between named nodes.
 *
 * One-way messages are delivered at most once on links with `duplicates: 'never'`; nothing is retried. A request
 * settles exactly once: with the handler's answer, or with a `TransportError` whose `definite` says whether the
 * handler certainly did not run. No method throws for a failure of the network; only for a bad argument.
 */
export interface Transport extends AsyncDisposable {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly runtime: Runtime;
  /**
   * Begins to accept and to connect. Nothing is delivered before. Calling it again returns the same promise. A
   * failure or an abort closes the transport.
   */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Sends one message, at most once. Throws `TOO_LARGE` before any I/O; never throws for the network. */
  send(to: NodeId, channel: string, body: Uint8Array): SendOutcome;
  /** Sends one message to each of `to`, by default to every known peer; never to oneself. Returns how many were queued. */
  broadcast(channel: string, body: Uint8Array, to?: Iterable<NodeId>): number;
  /**
   * Asks the one handler of `channel` at `to`; asking oneself works too. Rejects with a `TransportError`, whose
   * `definite` says whether the handler certainly did not run. Cancelling or running out of time tells the handler
   * through its signal.
   */
  request(to: NodeId, channel: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array>;
  /** Resolves when `send(to, ...)` would be accepted again. Rejects when the peer goes down, on close and on abort. */
  writable(to: NodeId, signal?: AbortSignal): Promise<void>;
  /**
   * Listens on a channel; several handlers share the same message. A handler that throws or rejects is reported on
   * the event channel `quorate:transport:handler-failed` and does no harm.
   */
  subscribe(channel: string, handle: (message: Message) => void): Unsubscribe;
  /** Answers the requests of a channel. A second handler for one channel throws `ALREADY_HANDLED`. */
  respond(
    channel: string,
    handle: (request: RequestContext) => Uint8Array | Promise<Uint8Array>,
  ): Unsubscribe;
  /** The peers that are known, up or not. */
  peers(): readonly PeerStatus[];
  /**
   * Listens to peers coming and going, and first replays, before it returns, an `up` for each one present. Closing
   * the transport ends every session, with a `down` for each.
   */
  onPeer(listen: (event: PeerEvent) => void): Unsubscribe;
  /**
   * Refuses new work, lets the requests that are under way, in both directions, finish for at most `drainMs`
   * milliseconds (by default 1,000), rejects the rest with `CLOSED`, and closes the link. Idempotent; leaves no
   * handle open. A later call with a `drainMs` of 0 ends the draining of an earlier one.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}
