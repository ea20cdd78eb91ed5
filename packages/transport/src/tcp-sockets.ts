import { connect, createServer, type Server, type Socket } from 'node:net';
import {
  connect as tlsConnect,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContextOptions,
} from 'node:tls';
import { InvalidOptionError, QuorateError, type Runtime } from '@quorate/runtime';
import type { PeerAddress, TcpTlsOptions } from './tcp-options.js';

/** How long a connection that is given up may take to deliver its last words. */
export const FAREWELL_MS = 1_000;

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

/** What happens at an address that is listened on. */
export interface ServerEvents {
  /** A connection came in, before any TLS. Destroy it to turn it away. */
  connection(socket: Socket): void;
  /** It is ready for the handshake of the link; with TLS the socket is another one than before. */
  accept(socket: Socket): void;
  /** TLS came to nothing. */
  tlsFailed(socket: Socket, error: Error): void;
}

/** Listens with TLS, or without. Rejects with {@link TcpListenError}. */
export function listen(
  { host, port }: PeerAddress,
  tls: SecureContextOptions | undefined,
  handshakeTimeoutMs: number,
  events: ServerEvents,
): Promise<Server> {
  const accept = (socket: Socket): void => {
    events.accept(socket);
  };
  let server: Server;
  if (tls === undefined) {
    server = createServer({ noDelay: true }, accept);
  } else {
    const trust = { requestCert: true, rejectUnauthorized: true };
    server = createTlsServer(
      { ...tls, ...trust, handshakeTimeout: handshakeTimeoutMs, noDelay: true },
      accept,
    );
    server.on('tlsClientError', (error: Error, socket: Socket) => {
      events.tlsFailed(socket, error);
    });
  }
  // Before the listener that TLS or `accept` has on it.
  server.prependListener('connection', (socket: Socket) => {
    events.connection(socket);
  });
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      reject(new TcpListenError(host, port, error));
    };
    server.once('error', failed);
    server.listen({ host, port }, () => {
      server.off('error', failed);
      // A failed accept (too many open files) concerns that connection; the server goes on.
      server.on('error', () => {});
      resolve(server);
    });
  });
}

/** Begins to connect; `ready` is called when the handshake of the link can begin. */
export function connectTo(
  { host, port }: PeerAddress,
  tls: SecureContextOptions | undefined,
  ready: () => void,
): Socket {
  if (tls === undefined) return connect({ host, port, noDelay: true }).once('connect', ready);
  const socket = tlsConnect({
    ...tls,
    host,
    port,
    // The name that counts is the node's, and is checked once the other end has told it.
    checkServerIdentity: () => undefined,
    ...(SERVER_NAME.test(host) ? { servername: host } : {}),
  });
  return socket.setNoDelay(true).once('secureConnect', ready);
}

/** What TLS takes as a server's name: a host name, and not an address. */
const SERVER_NAME = /^(?=.*[A-Za-z])[A-Za-z0-9.-]+$/;

/** The part of the options that is OpenSSL's. Throws `InvalidOptionError` for what it does not take. */
export function secureContext(tls: TcpTlsOptions): SecureContextOptions {
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

/** The other end's address and port, for people. */
export function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
}

/**
 * Ends a connection in order: what is queued goes out, then the end of the stream, and the other end's is waited
 * for, so that no reset overtakes the last bytes. After `drainMs` it is cut. Somebody must read the socket.
 */
export function closeGently(socket: Socket, drainMs: number, runtime: Runtime): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) {
      resolve();
      return;
    }
    const cut = runtime.setTimer(drainMs, () => {
      socket.destroy();
    });
    socket.once('close', () => {
      cut.cancel();
      resolve();
    });
    socket.once('end', () => {
      socket.destroySoon();
    });
    socket.end();
  });
}
