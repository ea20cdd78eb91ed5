import type { AddressInfo, Server, Socket } from 'node:net';
import { type SecureContextOptions, Server as TlsServer } from 'node:tls';
import {
  type Backoff,
  backoff,
  InvalidOptionError,
  numberOption,
  type Runtime,
  type Timer,
} from '@quorate/runtime';
import { TransportError } from '@quorate/transport';
import type { Capabilities, DownReason, LinkEvents, LinkPeer, NodeId, SendOutcome } from './contract.js';
import { arbitrate, type EndedSession, follows, isArbiter, type RemoteEnd } from './core/handshake.js';
import { type Incarnation, isNewer, type Refusal } from './core/handshake-messages.js';
import { Dial } from './tcp-dial.js';
import { tcpEvents } from './tcp-events.js';
import {
  type Established,
  type HandshakeContext,
  type HandshakeFailure,
  TcpHandshake,
} from './tcp-handshake.js';
import {
  authSettings,
  type PeerAddress,
  peerAddresses,
  type TcpAuthSettings,
  type TcpLink,
  type TcpLinkOptions,
  type TcpSettings,
  tcpSettings,
  type TcpTlsOptions,
} from './tcp-options.js';
import { FAREWELL_MS, listen, remoteOf, secureContext } from './tcp-sockets.js';
import { ChunkPool, type SessionOwner, TcpSession } from './tcp-session.js';

/** How many accepted connections may be in their handshake at a time; further ones are cut. */
const MAX_PENDING_HANDSHAKES = 256;
/** A peer that is listed, connected, or both. */
interface Peer {
  readonly id: NodeId;
  /** Where to dial it; undefined for one that is not listed. */
  address: PeerAddress | undefined;
  readonly delays: Backoff;
  session: TcpSession | undefined;
  /** The last session that was over, for the arbiter to know. */
  ended: EndedSession | undefined;
  /** The one attempt that is under way. */
  dial: Dial | undefined;
  retry: Timer | undefined;
}

/**
 * Makes a link over TCP, or over TLS with `auth: { tls }`. Nothing happens before `start`.
 *
 * It connects to every peer listed and keeps trying; two nodes that list each other share one connection. Frames
 * of one session arrive in order, none twice; frames that were queued or under way when a session ends are lost
 * and never sent again. Throws `InvalidOptionError`.
 *
 * @example
 * ```ts
 * const link = createTcpLink({
 *   self: 'orders',
 *   clusterId: 'shop',
 *   listen: { host: '0.0.0.0', port: 7000 },
 *   peers: { payment: 'payment.internal:7000' },
 *   auth: { secret: process.env.CLUSTER_SECRET },
 * });
 * ```
 */
export function createTcpLink(options: TcpLinkOptions): TcpLink {
  return new SocketLink(tcpSettings(options));
}

class SocketLink implements TcpLink, SessionOwner {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly runtime: Runtime;
  readonly pool = new ChunkPool();
  readonly maxFrameBytes: number;
  readonly maxQueueBytes: number;
  readonly heartbeatMs: number;
  readonly heartbeatMisses: number;

  readonly #settings: TcpSettings;
  readonly #incarnation: Incarnation;
  readonly #peers = new Map<NodeId, Peer>();
  /** Every socket that is not closed yet, and whether it came in. */
  readonly #sockets = new Map<Socket, 'inbound' | 'outbound'>();
  readonly #handshakes = new Set<TcpHandshake>();
  #state: 'new' | 'starting' | 'started' | 'closed' = 'new';
  #events: LinkEvents | undefined;
  #listening: Promise<void> | undefined;
  #server: Server | undefined;
  #auth: TcpAuthSettings;
  #tls: SecureContextOptions | undefined;
  #closed: Promise<void> | undefined;
  /** Numbers of sessions: those announced, and those that this end decides on as an arbiter. */
  #sessions = 0;
  #commits = 0;

  constructor(settings: TcpSettings) {
    this.#settings = settings;
    this.self = settings.self;
    this.runtime = settings.runtime;
    this.maxFrameBytes = settings.maxFrameBytes;
    this.maxQueueBytes = settings.maxQueueBytes;
    this.heartbeatMs = settings.heartbeatMs;
    this.heartbeatMisses = settings.heartbeatMisses;
    const { auth } = settings;
    this.#auth = auth;
    if (auth.mode === 'mtls') this.#tls = secureContext(auth.tls);
    this.capabilities = {
      maxPayload: settings.maxPayload,
      ordering: 'fifo-per-session',
      duplicates: 'never',
      multicast: 'fan-out',
      peerEvents: 'heartbeat',
      identity: auth.mode === 'secret' ? 'shared-secret' : auth.mode,
    };
    this.#incarnation = {
      startedAtMs: Math.max(0, Math.floor(this.runtime.now())),
      random: Buffer.from(this.runtime.randomBytes(8)).toString('hex'),
    };
    for (const [id, address] of settings.peers) this.#peers.set(id, this.#peer(id, address));
  }

  async start(events: LinkEvents): Promise<void> {
    if (this.#state !== 'new') {
      throw new TransportError('CLOSED', 'this link was started or closed before; make a new one', {
        definite: true,
      });
    }
    this.#state = 'starting';
    const { listen } = this.#settings;
    try {
      if (listen !== undefined) await (this.#listening = this.#listen(listen));
    } catch (error) {
      if (!this.#isClosed()) this.#state = 'new';
      throw error;
    }
    if (this.#isClosed()) {
      throw new TransportError('CLOSED', 'the link was closed while it started', { definite: true });
    }
    this.#events = events;
    this.#state = 'started';
    for (const peer of this.#peers.values()) this.#dial(peer);
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    const session = this.#peers.get(to)?.session;
    if (session === undefined) {
      if (this.#state !== 'started') return 'dropped-closed';
      return this.#peers.has(to) ? 'dropped-down' : 'dropped-unknown';
    }
    if (frame.length > this.maxFrameBytes || frame.length > session.maxFrameBytes) {
      const most = Math.min(this.maxFrameBytes, session.maxFrameBytes);
      throw new TransportError(
        'TOO_LARGE',
        `a frame of ${frame.length} bytes to ${JSON.stringify(to)}, where ${most} is the most that both ends take`,
        { definite: true, peer: to },
      );
    }
    return session.send(frame);
  }

  peers(): readonly LinkPeer[] {
    return Array.from(this.#peers.values(), ({ id, session }) => ({
      id,
      session: session?.number,
      queuedBytes: session?.queuedBytes ?? 0,
    }));
  }

  writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (code: 'ABORTED' | 'CLOSED' | 'PEER_DOWN' | 'UNKNOWN_PEER', text: string): void => {
        const cause = code === 'ABORTED' ? { cause: signal?.reason as unknown } : {};
        reject(new TransportError(code, text, { definite: true, peer: to, ...cause }));
      };
      const name = JSON.stringify(to);
      const session = this.#peers.get(to)?.session;
      if (signal?.aborted === true) fail('ABORTED', `the wait for room in the queue to ${name} was aborted`);
      else if (this.#state !== 'started') fail('CLOSED', 'this link is closed, or was never started');
      else if (!this.#peers.has(to)) fail('UNKNOWN_PEER', `no peer is called ${name}`);
      else if (session === undefined) fail('PEER_DOWN', `there is no session with ${name}`);
      else if (session.writable) resolve();
      else {
        const abort = (): void => {
          forget();
          fail('ABORTED', `the wait for room in the queue to ${name} was aborted`);
        };
        const forget = session.whenWritable(() => {
          signal?.removeEventListener('abort', abort);
          if (!session.over) resolve();
          else if (this.#isClosed()) fail('CLOSED', 'this link was closed');
          else fail('PEER_DOWN', `the session with ${name} ended`);
        });
        signal?.addEventListener('abort', abort, { once: true });
      }
    });
  }

  address(): PeerAddress | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address ? { host: address.address, port: address.port } : undefined;
  }

  setPeers(peers: Readonly<Record<NodeId, string>> | ReadonlyMap<NodeId, string>): void {
    const addresses = peerAddresses(peers, this.self);
    if (this.#isClosed()) return;
    for (const [id, address] of addresses) {
      const known = this.#peers.get(id);
      if (known === undefined) {
        const added = this.#peer(id, address);
        this.#peers.set(id, added);
        this.#dial(added);
      } else if (known.address?.host !== address.host || known.address.port !== address.port) {
        known.address = address;
        cancelDial(known);
        known.delays.reset();
        this.#dial(known);
      }
    }
    for (const peer of [...this.#peers.values()]) {
      if (!addresses.has(peer.id) && peer.address !== undefined) this.#unlist(peer);
    }
  }

  setTls(tls: TcpTlsOptions): void {
    if (this.#tls === undefined) {
      throw new InvalidOptionError('auth', 'no TLS', '{ tls } for a link whose certificate is replaced');
    }
    const auth = authSettings({ tls });
    this.#tls = secureContext(tls);
    this.#auth = auth;
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(this.#tls);
  }

  close(drainMs: number): Promise<void> {
    numberOption('drainMs', drainMs);
    return (this.#closed ??= this.#close(drainMs));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close(0);
  }

  received(session: TcpSession, bytes: Uint8Array): void {
    this.#events?.frame(session.peer, session.number, bytes);
  }

  ended(session: TcpSession, reason: DownReason, detail: string | undefined): void {
    const peer = this.#peers.get(session.peer);
    if (peer?.session !== session) return;
    peer.session = undefined;
    peer.ended = session.agreed;
    if (this.runtime.monotonic() - session.startedAtMs >= this.#settings.reconnect.maxMs) peer.delays.reset();
    if (peer.address === undefined) this.#peers.delete(peer.id);
    if (tcpEvents.down.active) {
      tcpEvents.down.publish({ self: this.self, peer: peer.id, session: session.number, reason, detail });
    }
    this.#events?.down(peer.id, reason);
    this.#redial(peer);
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #peer(id: NodeId, address: PeerAddress | undefined): Peer {
    return {
      id,
      address,
      delays: backoff(this.runtime, this.#settings.reconnect),
      session: undefined,
      ended: undefined,
      dial: undefined,
      retry: undefined,
    };
  }

  #unlist(peer: Peer): void {
    peer.address = undefined;
    cancelDial(peer);
    peer.retry?.cancel();
    if (peer.session === undefined) this.#peers.delete(peer.id);
    else void peer.session.farewell('removed', 'left', FAREWELL_MS);
  }

  // Connections

  #context(): HandshakeContext {
    const { self, clusterId, maxFrameBytes, handshakeTimeoutMs, runtime } = this.#settings;
    return {
      self,
      clusterId,
      maxFrameBytes,
      auth: this.#auth,
      handshakeTimeoutMs,
      runtime,
      incarnation: this.#incarnation,
    };
  }

  #track(socket: Socket, direction: 'inbound' | 'outbound'): void {
    this.#sockets.set(socket, direction);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  async #listen(address: PeerAddress): Promise<void> {
    const { handshakeTimeoutMs } = this.#settings;
    const server = await listen(address, this.#tls, handshakeTimeoutMs, {
      connection: (socket) => {
        const admitted = this.#pendingInbound() < MAX_PENDING_HANDSHAKES && !this.#isClosed();
        if (admitted) this.#track(socket, 'inbound');
        else socket.destroy();
      },
      accept: (socket) => {
        if (socket.destroyed || this.#isClosed()) socket.destroy();
        else this.#accept(socket);
      },
      tlsFailed: (socket, { message }) => {
        const remote = remoteOf(socket);
        this.#refused({ by: 'network', code: 'unauthenticated', text: message, claimed: undefined, remote });
      },
    });
    this.#server = server;
  }

  #pendingInbound(): number {
    let pending = 0;
    for (const direction of this.#sockets.values()) if (direction === 'inbound') pending++;
    for (const { session } of this.#peers.values()) if (session?.inbound === true) pending--;
    return pending;
  }

  #accept(socket: Socket): void {
    const handshake = new TcpHandshake(this.#context(), socket, {
      authenticated: (remote) => this.#decide(remote),
      established: (connection) => {
        this.#handshakes.delete(handshake);
        this.#establish(connection, true);
      },
      failed: (failure) => {
        this.#handshakes.delete(handshake);
        this.#refused(failure);
      },
    });
    this.#handshakes.add(handshake);
  }

  /** Begins an attempt to reach a listed peer, unless there is one, or a session. */
  #dial(peer: Peer): void {
    const { address } = peer;
    const busy = peer.session !== undefined || peer.dial !== undefined;
    if (address === undefined || busy || this.#state !== 'started') return;
    peer.retry?.cancel();
    const context = this.#context();
    const { connectTimeoutMs } = this.#settings;
    const target = { id: peer.id, ended: peer.ended };
    peer.dial = new Dial(
      { context, address, tls: this.#tls, connectTimeoutMs, target },
      {
        authenticated: (remote) => this.#decide(remote),
        established: (connection) => {
          peer.dial = undefined;
          this.#establish(connection, false);
        },
        failed: (failure) => {
          peer.dial = undefined;
          if (failure instanceof Error) this.#unreachable(peer, failure);
          else this.#refused(failure);
          this.#redial(peer);
        },
      },
    );
    this.#track(peer.dial.socket, 'outbound');
  }

  #redial(peer: Peer): void {
    if (peer.address === undefined || peer.session !== undefined || this.#state !== 'started') return;
    peer.retry?.cancel();
    peer.retry = this.runtime.setTimer(peer.delays.nextMs(), () => {
      this.#dial(peer);
    });
  }

  // Who gets the session

  #decide(remote: RemoteEnd): number | undefined | Refusal {
    const peer = this.#peers.get(remote.id);
    if (this.#isClosed()) return { code: 'closing', text: 'this node is shutting down' };
    if (peer?.address === undefined && !this.#settings.acceptUnknown) {
      return { code: 'unknown-node', text: `${JSON.stringify(remote.id)} is not among the peers` };
    }
    const current = peer?.session?.agreed;
    if (isArbiter(this.self, remote.id)) {
      const verdict = arbitrate(current, remote);
      if (verdict === 'accept') return ++this.#commits;
      return { code: verdict, text: REASONS[verdict] };
    }
    if (current !== undefined && isNewer(current.incarnation, remote.incarnation)) {
      return { code: 'superseded', text: REASONS.superseded };
    }
    return undefined;
  }

  #establish({ socket, decoder, peer: remote, session }: Established, inbound: boolean): void {
    const agreed = { incarnation: remote.incarnation, number: session };
    const current = this.#peers.get(remote.id)?.session;
    if (this.#isClosed() || !follows(current?.agreed, agreed)) {
      decoder.stop();
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    void current?.farewell('replaced', 'closed', FAREWELL_MS);
    let peer = this.#peers.get(remote.id);
    if (peer === undefined) {
      peer = this.#peer(remote.id, undefined);
      this.#peers.set(remote.id, peer);
    }
    peer.retry?.cancel();
    cancelDial(peer);
    const number = ++this.#sessions;
    peer.session = new TcpSession(this, socket, decoder, {
      peer: remote,
      localNumber: number,
      agreed,
      inbound,
    });
    if (tcpEvents.up.active) {
      tcpEvents.up.publish({
        self: this.self,
        peer: remote.id,
        session: number,
        direction: inbound ? 'inbound' : 'outbound',
        remote: remoteOf(socket),
      });
    }
    this.#events?.up(remote.id, number);
  }

  #refused(failure: HandshakeFailure): void {
    if (!tcpEvents.refused.active) return;
    const { by, code, text, claimed, remote } = failure;
    tcpEvents.refused.publish({ self: this.self, peer: claimed, remote, by, code, text });
  }

  #unreachable(peer: Peer, error: Error): void {
    if (!tcpEvents.unreachable.active || peer.address === undefined) return;
    const { host, port } = peer.address;
    tcpEvents.unreachable.publish({ self: this.self, peer: peer.id, address: `${host}:${port}`, error });
  }

  async #close(drainMs: number): Promise<void> {
    const starting = this.#state === 'starting';
    this.#state = 'closed';
    if (starting) await this.#listening?.catch(() => {});
    const server = this.#server;
    const serverClosed = new Promise<void>((resolve) => {
      if (server === undefined) resolve();
      else server.close(() => resolve());
    });
    const sessions: TcpSession[] = [];
    for (const peer of this.#peers.values()) {
      peer.retry?.cancel();
      cancelDial(peer);
      if (peer.session !== undefined) sessions.push(peer.session);
    }
    for (const handshake of this.#handshakes) handshake.refuse('closing', 'this node is shutting down');
    await Promise.all(sessions.map((session) => session.farewell('closing', 'closed', drainMs)));
    this.#events = undefined;
    await Promise.all(
      Array.from(
        this.#sockets.keys(),
        (socket) =>
          new Promise<void>((resolve) => {
            socket.once('close', resolve);
            socket.destroy();
          }),
      ),
    );
    await serverClosed;
  }
}

function cancelDial(peer: Peer): void {
  peer.dial?.cancel();
  peer.dial = undefined;
}

const REASONS = {
  duplicate: 'there is a session between these two nodes already',
  superseded: 'a process of that name which started later has the session; is the name used twice?',
} as const;
