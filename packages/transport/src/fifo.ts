import {
  abortable,
  integerOption,
  InvalidOptionError,
  numberOption,
  QuorateError,
  type Timer,
} from '@quorate/runtime';
import {
  type Capabilities,
  type DownReason,
  FRAME_OVERHEAD_BYTES,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type NodeId,
  type SendOutcome,
  type Transport,
} from './contract.js';
import { FIFO_OVERHEAD, type FifoBounds, type FifoEffect, FifoSession } from './core/fifo.js';
import { TransportError } from './errors.js';
import { transportEvents } from './events.js';
import { SignalWatch } from './signals.js';
import { createTransport } from './transport.js';

/** How {@link withFifo} behaves. */
export interface FifoOptions {
  /**
   * How long a missing message is waited for, in milliseconds, before the session ends. Longer than the medium may
   * hold a message back.
   * @defaultValue 200
   */
  readonly gapMs?: number;
  /**
   * How often each side shows the other what it sent, in milliseconds: so long it takes to notice that the last
   * message before a silence was lost, and so often a session is offered until it begins.
   * @defaultValue 250
   */
  readonly helloMs?: number;
  /**
   * How many bytes of one peer may wait for a missing message.
   * @defaultValue 16_777_216
   */
  readonly windowBytes?: number;
}

/**
 * A transport that delivers in order and at most once within a session, over one that loses, repeats or reorders.
 *
 * Within a session everything that a peer sends arrives without gaps, in order and once. A message that is lost ends
 * the session: `down`, and `up` with the next one, on both sides; nothing is sent again. Both sides must be wrapped.
 * Its messages are {@link FRAME_OVERHEAD_BYTES} and a few bytes smaller than those of `inner`, which is started and
 * closed with it.
 */
export function withFifo(inner: Transport, options: FifoOptions = {}): Transport {
  const bounds: FifoBounds = {
    gapMs: numberOption('gapMs', options.gapMs ?? 200, { min: 1 }),
    helloMs: numberOption('helloMs', options.helloMs ?? 250, { min: 1 }),
    windowBytes: integerOption('windowBytes', options.windowBytes ?? 16 * 1024 * 1024),
  };
  return createTransport(new FifoLink(inner, bounds), { runtime: inner.runtime });
}

const CHANNEL = 'quorate.fifo';

interface FifoPeer {
  readonly innerSession: number;
  readonly state: FifoSession;
  session: number | undefined;
  /** Aborts when the session ends. */
  ended: AbortController;
}

/** A link whose medium is another transport's messages on one channel. */
class FifoLink implements Link {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly #inner: Transport;
  readonly #bounds: FifoBounds;
  readonly #peers = new Map<NodeId, FifoPeer>();
  readonly #signals = new SignalWatch();
  #events: LinkEvents | undefined;
  #timer: Timer | undefined;
  #sessions = 0;
  #lastEpoch = 0;

  constructor(inner: Transport, bounds: FifoBounds) {
    this.#inner = inner;
    this.#bounds = bounds;
    this.self = inner.self;
    const maxPayload = inner.capabilities.maxPayload - FRAME_OVERHEAD_BYTES - FIFO_OVERHEAD;
    if (maxPayload < 1) {
      const least = FRAME_OVERHEAD_BYTES + FIFO_OVERHEAD + 1;
      throw new InvalidOptionError(
        'inner',
        inner.capabilities.maxPayload,
        `a transport with a maxPayload of at least ${String(least)}`,
      );
    }
    if (inner.capabilities.peerEvents === 'none') {
      throw new InvalidOptionError('inner', 'none', 'a transport whose peerEvents tell when a peer comes');
    }
    this.capabilities = {
      ...inner.capabilities,
      maxPayload,
      ordering: 'fifo-per-session',
      duplicates: 'never',
      multicast: 'fan-out',
    };
  }

  async start(events: LinkEvents): Promise<void> {
    this.#events = events;
    this.#inner.subscribe(CHANNEL, ({ from, session, body }) => this.#receive(from, session, body));
    this.#inner.onPeer((event) => {
      this.#forget(event.peer, event.type === 'down' ? event.reason : 'error');
      if (event.type === 'up') this.#greet(event.peer, event.session);
    });
    await this.#inner.start();
    this.#tick();
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    if (this.#events === undefined) return 'dropped-closed';
    const peer = this.#peers.get(to);
    if (peer?.session === undefined) {
      return this.#inner.peers().some(({ id }) => id === to) ? 'dropped-down' : 'dropped-unknown';
    }
    const outcome = this.#inner.send(to, CHANNEL, peer.state.packet(frame));
    // A number is only used up by a frame that is on its way: one that was refused leaves no gap.
    if (outcome === 'queued') peer.state.sent();
    return outcome;
  }

  peers(): readonly LinkPeer[] {
    return this.#inner
      .peers()
      .map(({ id, queuedBytes }) => ({ id, session: this.#peers.get(id)?.session, queuedBytes }));
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const peer = this.#peers.get(to);
    if (peer?.session === undefined) {
      throw new TransportError('PEER_DOWN', `no session with ${JSON.stringify(to)}`, {
        definite: true,
        peer: to,
      });
    }
    const either = this.#signals.link(signal, peer.ended.signal);
    try {
      await abortable(this.#inner.writable(to, either.signal), either.signal);
    } finally {
      either[Symbol.dispose]();
    }
  }

  async close(drainMs: number): Promise<void> {
    this.#events = undefined;
    this.#timer?.cancel();
    for (const { ended } of this.#peers.values()) ended.abort();
    this.#peers.clear();
    await this.#inner.close({ drainMs });
  }

  #greet(id: NodeId, innerSession: number): void {
    // Greater than any of this process's past, and, as long as its clock does not go back, of its predecessors'.
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, this.#inner.runtime.now());
    const state = new FifoSession(this.#lastEpoch, this.#bounds);
    const peer: FifoPeer = { innerSession, state, session: undefined, ended: new AbortController() };
    this.#peers.set(id, peer);
    this.#perform(id, peer, state.tick(this.#inner.runtime.monotonic()));
  }

  #forget(id: NodeId, reason: DownReason): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    this.#lastEpoch = Math.max(this.#lastEpoch, peer.state.epoch);
    this.#end(id, peer, reason);
  }

  #end(id: NodeId, peer: FifoPeer, reason: DownReason): void {
    if (peer.session === undefined) return;
    peer.session = undefined;
    peer.ended.abort();
    this.#events?.down(id, reason);
  }

  #tick(): void {
    if (this.#events === undefined) return;
    const { runtime } = this.#inner;
    for (const [id, peer] of [...this.#peers]) this.#perform(id, peer, peer.state.tick(runtime.monotonic()));
    this.#timer = runtime.setTimer(Math.min(this.#bounds.gapMs, this.#bounds.helloMs) / 2, () =>
      this.#tick(),
    );
  }

  #receive(id: NodeId, innerSession: number, packet: Uint8Array): void {
    const peer = this.#peers.get(id);
    if (peer?.innerSession !== innerSession) return;
    try {
      this.#perform(id, peer, peer.state.receive(packet, this.#inner.runtime.monotonic()));
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      if (!transportEvents.frameRefused.active) return;
      transportEvents.frameRefused.publish({
        self: this.self,
        peer: id,
        reason: error.message,
        bytes: packet.length,
        count: 1,
      });
    }
  }

  #perform(id: NodeId, peer: FifoPeer, effects: readonly FifoEffect[]): void {
    for (const effect of effects) {
      // A handler may have closed this link, or ended the inner session, meanwhile.
      if (this.#peers.get(id) !== peer) return;
      switch (effect.type) {
        case 'send':
          // Lost like any other message if the queue is full: the next hello comes soon.
          this.#inner.send(id, CHANNEL, effect.packet);
          break;
        case 'up':
          peer.session = ++this.#sessions;
          peer.ended = new AbortController();
          this.#events?.up(id, peer.session);
          break;
        case 'down':
          this.#end(id, peer, 'error');
          break;
        case 'deliver':
          if (peer.session !== undefined) this.#events?.frame(id, peer.session, effect.frame);
          break;
      }
    }
  }
}
