import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import {
  connect as tlsConnect,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContextOptions,
  Server as TlsServer,
} from 'node:tls';
import {
  type Backoff,
  backoff,
  InvalidOptionError,
  numberOption,
  QuorateError,
  type Runtime,
  type Timer,
} from '@quorate/runtime';
import { TransportError } from '@quorate/transport';
import type {
  Capabilities,
  DownReason,
  Link,
  LinkEvents,
  LinkPeer,
  NodeId,
  SendOutcome,
} from './contract.js';
import { arbitrate, type EndedSession, follows, isArbiter, type RemoteEnd } from './core/handshake.js';
import { type Incarnation, isNewer, type Refusal } from './core/handshake-messages.js';
import { tcpEvents } from './tcp-events.js';
import {
  type Established,
  type HandshakeContext,
  type HandshakeEvents,
  type HandshakeFailure,
  TcpHandshake,
} from './tcp-handshake.js';
import {
  type PeerAddress,
  peerAddresses,
  type TcpLinkOptions,
  type TcpSettings,
  tcpSettings,
  type TcpTlsOptions,
} from './tcp-options.js';
import { ChunkPool, type SessionOwner, TcpSession } from './tcp-session.js';

/** How many accepted connections may be in their handshake at a time; further ones are cut. */
const MAX_PENDING_HANDSHAKES = 256;
/** How long a connection that is given up may take to deliver its goodbye. */
const FAREWELL_MS = 1_000;

/** The address to listen on could not be had. Nothing was started. Code `LISTEN_FAILED`. */
export class TcpListenError extends QuorateError {
  static override readonly brand: string = '@quorate/transport#TcpListenError';

  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number, cause: NodeJS.ErrnoException) {
    const hint =
      cause.code === 'EADDRINUSE'
        ? 'another process listens there; choose another port, or 0 for a free one'
        : cause.message;
    super('LISTEN_FAILED', `cannot listen on ${host}:${port} (${cause.code ?? 'unknown'}): ${hint}`, {
      cause,
    });
    this.host = host;
    this.port = port;
  }
}

/** A {@link Link} over TCP or TLS. */
export interface TcpLink extends Link, AsyncDisposable {
  /** Where this link accepts connections, with the port that it really has; undefined unless it does. */
  address(): PeerAddress | undefined;
  /**
   * Replaces the list of peers to connect to. New ones are dialled at once; the session with one that is no longer
   * listed ends with `left`; a changed address is used from the next connection on. With `acceptUnknown` a peer
   * that was taken off the list may still come back by itself.
   */
  setPeers(peers: Readonly<Record<NodeId, string>> | ReadonlyMap<NodeId, string>): void;
  /**
   * Replaces certificate, key and authorities, as when a certificate is renewed. Connections that exist stay.
   * Only with `auth: { tls }`. Throws `InvalidOptionError` for what OpenSSL does not take, and changes nothing.
   */
  setTls(tls: TcpTlsOptions): void;
}

/** A peer that is listed, connected, or both. */
interface Peer {
  readonly id: NodeId;
  /** Where to dial it; undefined for one that is not listed. */
  address: PeerAddress | undefined;
  readonly delays: Backoff;
  session: TcpSession | undefined;
  /** The last session that was over, for the arbiter to know. */
  ended: EndedSession | undefined;
  /** Cancels the one attempt that is under way. */
  cancelDial: (() => void) | undefined;
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
  #server: Server | undefined;
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
      if (listen !== undefined) await this.#listen(listen);
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
        known.cancelDial?.();
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
    this.#tls = secureContext(tls);
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
      cancelDial: undefined,
      retry: undefined,
    };
  }

  #unlist(peer: Peer): void {
    peer.address = undefined;
    peer.cancelDial?.();
    peer.retry?.cancel();
    if (peer.session === undefined) this.#peers.delete(peer.id);
    else void peer.session.farewell('removed', 'left', FAREWELL_MS);
  }

  // Connections

  #context(): HandshakeContext {
    const { self, clusterId, maxFrameBytes, auth, handshakeTimeoutMs, runtime } = this.#settings;
    return {
      self,
      clusterId,
      maxFrameBytes,
      auth,
      handshakeTimeoutMs,
      runtime,
      incarnation: this.#incarnation,
    };
  }

  #track(socket: Socket, direction: 'inbound' | 'outbound'): void {
    this.#sockets.set(socket, direction);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #listen({ host, port }: PeerAddress): Promise<void> {
    const { handshakeTimeoutMs } = this.#settings;
    const accept = (socket: Socket): void => {
      if (this.#isClosed()) socket.destroy();
      else this.#accept(socket);
    };
    let server: Server;
    if (this.#tls === undefined) {
      server = createServer({ noDelay: true }, accept);
    } else {
      server = createTlsServer(
        {
          ...this.#tls,
          requestCert: true,
          rejectUnauthorized: true,
          handshakeTimeout: handshakeTimeoutMs,
          noDelay: true,
        },
        accept,
      );
      server.on('tlsClientError', (error: Error, socket: Socket) => {
        const remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
        this.#refused({
          by: 'network',
          code: 'unauthenticated',
          text: error.message,
          claimed: undefined,
          remote,
        });
      });
    }
    server.on('connection', (socket: Socket) => {
      if (this.#pendingInbound() >= MAX_PENDING_HANDSHAKES || this.#isClosed()) {
        socket.destroy();
        return;
      }
      this.#track(socket, 'inbound');
    });
    this.#server = server;
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        this.#server = undefined;
        reject(new TcpListenError(host, port, error));
      };
      server.once('error', failed);
      server.listen({ host, port }, () => {
        server.off('error', failed);
        // A failed accept (too many open files) concerns that connection; the server goes on.
        server.on('error', () => {});
        resolve();
      });
    });
  }

  #pendingInbound(): number {
    let pending = 0;
    for (const direction of this.#sockets.values()) if (direction === 'inbound') pending++;
    for (const { session } of this.#peers.values()) if (session?.inbound === true) pending--;
    return pending;
  }

  #accept(socket: Socket): void {
    const handshake = new TcpHandshake(
      this.#context(),
      socket,
      this.#handshakeEvents(true, (failure) => {
        this.#handshakes.delete(handshake);
        if (failure !== undefined) this.#refused(failure);
      }),
    );
    this.#handshakes.add(handshake);
  }

  /** Begins an attempt to reach a listed peer, unless there is one, or a session. */
  #dial(peer: Peer): void {
    const { address } = peer;
    const busy = peer.session !== undefined || peer.cancelDial !== undefined;
    if (address === undefined || busy || this.#state !== 'started') return;
    peer.retry?.cancel();
    const { connectTimeoutMs } = this.#settings;
    const { host, port } = address;
    const socket =
      this.#tls === undefined
        ? connect({ host, port, noDelay: true })
        : tlsConnect({
            ...this.#tls,
            host,
            port,
            // The name that counts is the node's, and is checked once the other end has told it.
            checkServerIdentity: () => undefined,
            ...(SERVER_NAME.test(host) ? { servername: host } : {}),
          });
    socket.setNoDelay(true);
    this.#track(socket, 'outbound');
    let handshake: TcpHandshake | undefined;
    const settle = (failure?: HandshakeFailure | Error): void => {
      if (peer.cancelDial !== cancel) return;
      peer.cancelDial = undefined;
      timer.cancel();
      if (handshake !== undefined) this.#handshakes.delete(handshake);
      if (failure instanceof Error) this.#unreachable(peer, failure);
      else if (failure !== undefined) this.#refused(failure);
      if (failure !== undefined) this.#redial(peer);
    };
    const cancel = (): void => {
      settle();
      handshake?.refuse('closing', 'the attempt was given up');
      socket.destroy();
    };
    const failed = (error: Error): void => {
      settle(error);
      socket.destroy();
    };
    const timer = this.runtime.setTimer(connectTimeoutMs, () => {
      failed(new Error(`no connection within ${connectTimeoutMs} ms`));
    });
    peer.cancelDial = cancel;
    socket.once('error', failed);
    socket.once(this.#tls === undefined ? 'connect' : 'secureConnect', () => {
      timer.cancel();
      if (peer.cancelDial !== cancel) return;
      handshake = new TcpHandshake(this.#context(), socket, this.#handshakeEvents(false, settle), {
        id: peer.id,
        ended: peer.ended,
      });
      socket.off('error', failed);
      this.#handshakes.add(handshake);
    });
  }

  #redial(peer: Peer): void {
    if (peer.address === undefined || peer.session !== undefined || this.#state !== 'started') return;
    peer.retry?.cancel();
    peer.retry = this.runtime.setTimer(peer.delays.nextMs(), () => {
      this.#dial(peer);
    });
  }

  // Who gets the session

  #handshakeEvents(inbound: boolean, settle: (failure?: HandshakeFailure) => void): HandshakeEvents {
    return {
      authenticated: (remote) => this.#decide(remote),
      established: (connection) => {
        settle();
        this.#establish(connection, inbound);
      },
      failed: settle,
    };
  }

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
    peer.cancelDial?.();
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
        remote: `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`,
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
    this.#state = 'closed';
    const server = this.#server;
    const serverClosed = new Promise<void>((resolve) => {
      if (server === undefined) resolve();
      else server.close(() => resolve());
    });
    const sessions: TcpSession[] = [];
    for (const peer of this.#peers.values()) {
      peer.retry?.cancel();
      peer.cancelDial?.();
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

const REASONS = {
  duplicate: 'there is a session between these two nodes already',
  superseded: 'a process of that name which started later has the session; is the name used twice?',
} as const;

/** What TLS takes as a server's name: a host name, and not an address. */
const SERVER_NAME = /^(?=.*[A-Za-z])[A-Za-z0-9.-]+$/;

function secureContext(tls: TcpTlsOptions): SecureContextOptions {
  const { ca, cert, key, passphrase, minVersion = 'TLSv1.3' } = tls;
  const pem = (part: string | Uint8Array): string | Buffer =>
    typeof part === 'string' ? part : Buffer.from(part);
  const authorities = typeof ca === 'string' || ca instanceof Uint8Array ? [ca] : ca;
  const options: SecureContextOptions = {
    ca: authorities.map(pem),
    cert: pem(cert),
    key: pem(key),
    minVersion,
    ...(passphrase === undefined ? {} : { passphrase }),
  };
  try {
    createSecureContext(options);
  } catch (error) {
    // Neither the key nor the passphrase may show up in the error.
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidOptionError('auth.tls', reason, 'PEM text of authorities, a certificate and its key');
  }
  return options;
}
