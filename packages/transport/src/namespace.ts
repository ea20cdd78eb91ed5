import { functionOption, identifierOption, numberOption, type Runtime } from '@quorate/runtime';
import type {
  Capabilities,
  Message,
  NodeId,
  PeerEvent,
  PeerStatus,
  RequestContext,
  RequestOptions,
  SendOutcome,
  Transport,
  Unsubscribe,
} from './contract.js';
import type { Responder } from './core/channels.js';
import { TransportError } from './errors.js';
import { tellPeerEvent } from './events.js';
import { notOpen } from './request-errors.js';
import { SignalWatch } from './signals.js';
import { UnderWay } from './under-way.js';

/**
 * A transport whose channels all begin with `prefix`, so that several protocols share one transport and never meet.
 * Prefix and channel together take at most 255 bytes.
 *
 * Starting it starts `inner`. Closing it ends its own subscriptions, handlers and requests, and leaves `inner` open
 * for the others: close that one where it was made.
 */
export function namespace(inner: Transport, prefix: string): Transport {
  return new Namespace(inner, identifierOption('prefix', prefix));
}

const DEFAULT_DRAIN_MS = 1_000;

class Namespace implements Transport {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly runtime: Runtime;
  readonly #inner: Transport;
  readonly #prefix: string;
  /** What ends at close: each subscription, handler and listener. */
  readonly #ends = new Set<Unsubscribe>();
  readonly #listeners = new Set<(event: PeerEvent) => void>();
  /** Aborts at close; its reason is known to no one else. */
  readonly #closed = new AbortController();
  readonly #signals = new SignalWatch();
  readonly #underWay = new UnderWay();
  #open = true;
  #closing: Promise<void> | undefined;

  constructor(inner: Transport, prefix: string) {
    this.#inner = inner;
    this.#prefix = prefix;
    this.self = inner.self;
    this.capabilities = inner.capabilities;
    this.runtime = inner.runtime;
  }

  async start(options?: { readonly signal?: AbortSignal }): Promise<void> {
    if (!this.#open) throw notOpen(undefined);
    await this.#inner.start(options);
  }

  send(to: NodeId, channel: string, body: Uint8Array): SendOutcome {
    return this.#open ? this.#inner.send(to, this.#prefix + channel, body) : 'dropped-closed';
  }

  broadcast(channel: string, body: Uint8Array, to?: Iterable<NodeId>): number {
    return this.#open ? this.#inner.broadcast(this.#prefix + channel, body, to) : 0;
  }

  async request(to: NodeId, channel: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    if (!this.#open) throw notOpen(to);
    return this.#untilClosed(to, options.signal, (signal) =>
      this.#inner.request(to, this.#prefix + channel, body, { timeoutMs: options.timeoutMs, signal }),
    );
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    if (!this.#open) throw notOpen(to);
    await this.#untilClosed(to, signal, (both) => this.#inner.writable(to, both));
  }

  subscribe(channel: string, handle: (message: Message) => void): Unsubscribe {
    functionOption('handle', handle);
    return this.#own(
      this.#inner.subscribe(this.#prefix + channel, (message): unknown => handle({ ...message, channel })),
    );
  }

  respond(channel: string, handle: Responder): Unsubscribe {
    functionOption('handle', handle);
    return this.#own(
      this.#inner.respond(this.#prefix + channel, (request) => {
        const answer = handle(new NamespacedRequest(request, channel));
        return answer instanceof Uint8Array ? answer : this.#counted(answer);
      }),
    );
  }

  peers(): readonly PeerStatus[] {
    return this.#inner.peers();
  }

  onPeer(listen: (event: PeerEvent) => void): Unsubscribe {
    functionOption('listen', listen);
    const listener = (event: PeerEvent): void => listen(event);
    this.#listeners.add(listener);
    const end = this.#own(this.#inner.onPeer(listener));
    return () => {
      this.#listeners.delete(listener);
      end();
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

  async #close(drainMs: number): Promise<void> {
    this.#open = false;
    await this.#underWay.drain(this.runtime, drainMs);
    for (const end of [...this.#ends]) end();
    this.#closed.abort();
    for (const { id, session } of this.#inner.peers()) {
      if (session === undefined) continue;
      for (const listener of this.#listeners) {
        tellPeerEvent(listener, this.self, { type: 'down', peer: id, session, reason: 'closed' });
      }
    }
    this.#listeners.clear();
  }

  #own(end: Unsubscribe): Unsubscribe {
    const once = (): void => {
      if (this.#ends.delete(once)) end();
    };
    this.#ends.add(once);
    return once;
  }

  async #counted<T>(work: Promise<T>): Promise<T> {
    this.#underWay.begin();
    try {
      return await work;
    } finally {
      this.#underWay.end();
    }
  }

  /** Runs `work` with a signal that also aborts when this namespace closes, which then is the error. */
  async #untilClosed<T>(
    to: NodeId,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const closed = this.#closed.signal;
    const either = this.#signals.link(signal, closed);
    try {
      return await this.#counted(work(either.signal));
    } catch (error) {
      if (!(error instanceof TransportError) || error.code !== 'ABORTED' || !closed.aborted) throw error;
      const { definite } = error;
      throw new TransportError('CLOSED', 'the namespace was closed meanwhile', { definite, peer: to });
    } finally {
      either[Symbol.dispose]();
    }
  }
}

/** A request under the channel's name within the namespace. */
class NamespacedRequest implements RequestContext {
  readonly #inner: RequestContext;

  constructor(
    inner: RequestContext,
    readonly channel: string,
  ) {
    this.#inner = inner;
  }

  get from(): NodeId {
    return this.#inner.from;
  }
  get body(): Uint8Array {
    return this.#inner.body;
  }
  get session(): number {
    return this.#inner.session;
  }
  get traceparent(): string | undefined {
    return this.#inner.traceparent;
  }
  get signal(): AbortSignal {
    return this.#inner.signal;
  }
  remainingMs(): number {
    return this.#inner.remainingMs();
  }
}
