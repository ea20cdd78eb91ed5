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
  TransportError,
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
  const maxPayload = integerOption('maxPayload', options.maxPayload ?? 1024 * 1024, { min: 1 });
  const least = maxPayload + FRAME_OVERHEAD_BYTES;
  const queueBytes = options.queueBytes ?? Math.max(16 * 1024 * 1024, least);
  return new WorkerLink(
    identifierOption('self', options.self),
    maxPayload,
    integerOption('queueBytes', queueBytes, { min: least }),
  );
}

/** What travels on a port: a greeting, a frame, or how many bytes of frames were taken. */
type Packet = readonly ['hello'] | readonly ['frame', Uint8Array] | readonly ['taken', number];

class WorkerLink implements PortLink {
  readonly capabilities: Capabilities;
  readonly #peers = new Map<NodeId, Peer>();
  #events: LinkEvents | undefined;
  #closed = false;
  #sessions = 0;

  constructor(
    readonly self: NodeId,
    maxPayload: number,
    readonly queueBytes: number,
  ) {
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
    const peer: Peer = { port, gone, session: undefined, queuedBytes: 0, refusedBytes: 0, wake: [] };
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
      if (kind === 'hello' && peer.session === undefined) {
        peer.session = ++this.#sessions;
        this.#events?.up(id, peer.session);
        return;
      }
      if (kind === 'taken' && value <= peer.queuedBytes) {
        peer.queuedBytes -= value;
        wake(peer);
        return;
      }
      if (kind === 'frame' && peer.session !== undefined) {
        this.#events?.frame(id, peer.session, value);
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
    if (peer.session === undefined) return 'dropped-down';
    if (peer.queuedBytes + frame.length > this.queueBytes) {
      peer.refusedBytes = Math.max(peer.refusedBytes, frame.length);
      return 'dropped-full';
    }
    peer.queuedBytes += frame.length;
    const copy = new Uint8Array(frame);
    peer.port.postMessage(['frame', copy] satisfies Packet, [copy.buffer]);
    return 'queued';
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const peer = this.#peers.get(to);
    while (peer?.session !== undefined && peer.queuedBytes + peer.refusedBytes > this.queueBytes) {
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(signal?.reason as Error);
        signal?.addEventListener('abort', stop, { once: true });
        peer.wake.push(() => {
          signal?.removeEventListener('abort', stop);
          resolve();
        });
      });
    }
    if (peer?.session !== undefined) return;
    throw new TransportError('PEER_DOWN', `no session with ${JSON.stringify(to)}`, {
      definite: true,
      peer: to,
    });
  }

  peers(): readonly LinkPeer[] {
    return [...this.#peers].map(([id, { session, queuedBytes }]) => ({ id, session, queuedBytes }));
  }

  /** Ends a session; the peer stays known. */
  #drop(id: NodeId, reason: DownReason): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    const { session } = peer;
    this.#peers.set(id, { ...peer, session: undefined, queuedBytes: 0, wake: [] });
    peer.session = undefined;
    peer.port.close();
    if (session !== undefined) this.#events?.down(id, reason);
    wake(peer);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // What was posted before is delivered: a port closes behind its messages.
    for (const peer of this.#peers.values()) {
      peer.session = undefined;
      peer.port.close();
      wake(peer);
    }
    await Promise.all([...this.#peers.values()].map(({ gone }) => gone));
  }
}

interface Peer {
  readonly port: MessagePort;
  /** Resolves when the port is closed. */
  readonly gone: Promise<void>;
  session: number | undefined;
  /** Bytes that the other side has not reported as taken. */
  queuedBytes: number;
  /** The largest frame that was refused. */
  refusedBytes: number;
  wake: (() => void)[];
}

function wake(peer: Peer): void {
  if (peer.queuedBytes === 0) peer.refusedBytes = 0;
  for (const one of peer.wake.splice(0)) one();
}

function isPacket(packet: unknown, maxFrame: number): packet is Packet {
  if (!Array.isArray(packet)) return false;
  const [kind, value] = packet as readonly unknown[];
  if (kind === 'frame') return value instanceof Uint8Array && value.length > 0 && value.length <= maxFrame;
  if (kind === 'taken') return Number.isSafeInteger(value) && (value as number) > 0;
  return kind === 'hello' && packet.length === 1;
}
