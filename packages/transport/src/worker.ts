import { identifierOption, integerOption } from '@quorate/runtime';
import {
  type Capabilities,
  type DownReason,
  FRAME_OVERHEAD_BYTES,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type NodeId,
  type SendOutcome,
  SendWindow,
} from '@quorate/transport';
import type { MessagePort } from 'node:worker_threads';

/** How {@link createPortLink} behaves. */
export interface PortLinkOptions {
  /** The name of this node. */
  readonly self: NodeId;
  /**
   * The largest body of one message, in bytes.
   * @defaultValue 1_048_576
   */
  readonly maxPayload?: number;
  /**
   * How many bytes may be on their way to one peer and not yet taken by it.
   * @defaultValue 16_777_216
   */
  readonly queueBytes?: number;
}

/** A link between threads: one `MessagePort` for each peer. */
export interface PortLink extends Link {
  /**
   * Names the peer at the other end of a port, whose link must do the same. The session begins when both have
   * started, and ends when the port closes, as it does when its thread ends. Takes the place of an earlier port of
   * that peer, which is closed.
   */
  connect(peer: NodeId, port: MessagePort): void;
}

/** A link over `node:worker_threads`. Throws `InvalidOptionError` for an option that cannot be honoured. */
export function createPortLink(options: PortLinkOptions): PortLink {
  return new WorkerLink(options);
}

/** What travels on a port: a greeting, a frame, or how many bytes of frames were taken. */
type Packet = readonly ['hello'] | readonly ['frame', Uint8Array] | readonly ['taken', number];

class WorkerLink implements PortLink {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly #queueBytes: number;
  readonly #peers = new Map<NodeId, Peer>();
  #events: LinkEvents | undefined;
  #closed = false;
  #sessions = 0;

  constructor({ self, maxPayload = 1024 * 1024, queueBytes }: PortLinkOptions) {
    this.self = identifierOption('self', self);
    const min = integerOption('maxPayload', maxPayload, { min: 1 }) + FRAME_OVERHEAD_BYTES;
    this.#queueBytes = integerOption('queueBytes', queueBytes ?? Math.max(16 * 1024 * 1024, min), { min });
    this.capabilities = {
      maxPayload,
      ordering: 'fifo-per-session',
      duplicates: 'never',
      multicast: 'fan-out',
      peerEvents: 'connection',
      identity: 'process',
    };
  }

  connect(id: NodeId, port: MessagePort): void {
    identifierOption('peer', id);
    this.#drop(id, 'closed');
    const gone = new Promise<void>((resolve) => port.once('close', resolve));
    const peer: Peer = { port, gone, live: undefined };
    this.#peers.set(id, peer);
    if (this.#closed) port.close();
    else if (this.#events !== undefined) this.#greet(id, peer);
  }

  start(events: LinkEvents): Promise<void> {
    this.#events = events;
    for (const [id, peer] of this.#peers) this.#greet(id, peer);
    return Promise.resolve();
  }

  #greet(id: NodeId, peer: Peer): void {
    const isCurrent = (): boolean => this.#peers.get(id) === peer && !this.#closed;
    peer.port.on('message', (packet: unknown) => {
      if (isCurrent()) this.#receive(id, peer, packet);
    });
    peer.port.on('messageerror', () => {
      if (isCurrent()) this.#drop(id, 'error');
    });
    peer.port.on('close', () => {
      if (isCurrent()) this.#drop(id, 'closed');
    });
    peer.port.postMessage(['hello'] satisfies Packet);
  }

  #receive(id: NodeId, peer: Peer, packet: unknown): void {
    if (isPacket(packet, this.capabilities.maxPayload + FRAME_OVERHEAD_BYTES)) {
      const [kind, value] = packet;
      if (kind === 'hello' && peer.live === undefined) {
        peer.live = { session: ++this.#sessions, window: new SendWindow(id, this.#queueBytes) };
        this.#events?.up(id, peer.live.session);
        return;
      }
      if (kind === 'taken' && peer.live?.window.remove(value) === true) return;
      if (kind === 'frame' && peer.live !== undefined) {
        this.#events?.frame(id, peer.live.session, value);
        peer.port.postMessage(['taken', value.length] satisfies Packet);
        return;
      }
    }
    // Whoever sends this does not speak our protocol. Only this peer is affected.
    this.#drop(id, 'error');
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    if (this.#events === undefined || this.#closed) return 'dropped-closed';
    const peer = this.#peers.get(to);
    if (peer === undefined) return 'dropped-unknown';
    if (peer.live === undefined) return 'dropped-down';
    if (peer.live.window.add(frame.length) === 'dropped-full') return 'dropped-full';
    const copy = new Uint8Array(frame);
    peer.port.postMessage(['frame', copy] satisfies Packet, [copy.buffer]);
    return 'queued';
  }

  writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const window = this.#peers.get(to)?.live?.window ?? SendWindow.ended(to);
    return window.writable(signal);
  }

  peers(): readonly LinkPeer[] {
    return [...this.#peers].map(([id, { live }]) => ({
      id,
      session: live?.session,
      queuedBytes: live?.window.queuedBytes ?? 0,
    }));
  }

  /** Ends a session; the peer stays known. */
  #drop(id: NodeId, reason: DownReason): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    const { live } = peer;
    // Another object: what the port still says is not heard any more.
    this.#peers.set(id, { ...peer, live: undefined });
    peer.port.close();
    if (live === undefined) return;
    this.#events?.down(id, reason);
    live.window.end();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // What was posted before is delivered: a port closes behind its messages.
    for (const peer of this.#peers.values()) {
      peer.port.close();
      peer.live?.window.end();
      peer.live = undefined;
    }
    await Promise.all([...this.#peers.values()].map(({ gone }) => gone));
  }
}

interface Peer {
  readonly port: MessagePort;
  /** Resolves when the port is closed. */
  readonly gone: Promise<void>;
  /** The session, and what of it the other side has not reported as taken. */
  live: { readonly session: number; readonly window: SendWindow } | undefined;
}

function isPacket(packet: unknown, maxFrame: number): packet is Packet {
  if (!Array.isArray(packet)) return false;
  const [kind, value] = packet as readonly unknown[];
  if (kind === 'frame') return value instanceof Uint8Array && value.length > 0 && value.length <= maxFrame;
  if (kind === 'taken') return Number.isSafeInteger(value) && (value as number) > 0;
  return kind === 'hello' && packet.length === 1;
}
