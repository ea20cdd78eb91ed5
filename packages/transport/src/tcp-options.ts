import { isIP } from 'node:net';
import type { SecureVersion } from 'node:tls';
import {
  choiceOption,
  functionOption,
  identifierOption,
  integerOption,
  InvalidOptionError,
  isIdentifier,
  MAX_IDENTIFIER_BYTES,
  numberOption,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import { FRAME_OVERHEAD_BYTES, type Link, type NodeId } from './contract.js';
import { FRAME_HEADER_BYTES } from './core/frame.js';
import { namesNode } from './core/subject-names.js';

/** Certificates for mutual TLS. Every value is PEM text, as `readFileSync` of the file gives it. */
export interface TcpTlsOptions {
  /** The authorities whose certificates are believed, of peers that dial and of peers that are dialled. Never the system's. */
  readonly ca: string | Uint8Array | readonly (string | Uint8Array)[];
  /** This node's certificate, with the intermediate ones behind it. It needs both the server and the client usage. */
  readonly cert: string | Uint8Array;
  /** The private key to it. */
  readonly key: string | Uint8Array;
  /** The passphrase of the key. */
  readonly passphrase?: string;
  /**
   * The oldest version of TLS.
   * @defaultValue 'TLSv1.3'
   */
  readonly minVersion?: Extract<SecureVersion, 'TLSv1.2' | 'TLSv1.3'>;
  /**
   * Whether a verified certificate is one of the node `claimed`. `names` are its subject alternative names, such as
   * `DNS:orders-1` or `URI:spiffe://prod/orders-1`. To throw is to say no.
   * @defaultValue it has `claimed`, letter by letter, as a DNS name or as a URI
   */
  readonly verifyNodeId?: (names: readonly string[], claimed: NodeId) => boolean;
}

/** A secret that all nodes of a cluster share: at least 16 bytes, best random ones. */
export type SharedSecret = string | Uint8Array;

/**
 * How two nodes convince each other of who they are. All nodes of a cluster use the same way.
 *
 * - `{ tls }`: mutual TLS; the certificate is bound to the node's name, and what travels is encrypted.
 * - `{ secret }`: each end proves that it knows the secret, which itself does not travel. **What follows is neither
 *   encrypted nor signed**, and whoever knows the secret can use any node's name: for networks where nobody
 *   listens in or tampers. A list of secrets serves rotation: the first is used, every one is accepted.
 * - `'none'`: nobody proves anything; for tests, or below a mesh that authenticates.
 */
export type TcpAuth =
  { readonly tls: TcpTlsOptions } | { readonly secret: SharedSecret | readonly SharedSecret[] } | 'none';

/** Options of `createTcpLink`. */
export interface TcpLinkOptions {
  /** This node's name. */
  readonly self: NodeId;
  /** The cluster's name. Connections between different clusters are refused. */
  readonly clusterId: string;
  /**
   * Where to accept connections; port 0 takes a free one, see `address()`.
   * @defaultValue connections are not accepted, only made
   */
  readonly listen?: {
    /** @defaultValue '127.0.0.1' */
    readonly host?: string;
    readonly port: number;
  };
  /**
   * The peers to connect to, as `host:port` (IPv6 as `[::1]:7000`). An entry for oneself is left out, so that
   * every node can be given the same list.
   * @defaultValue none: peers connect to this node
   */
  readonly peers?: Readonly<Record<NodeId, string>> | ReadonlyMap<NodeId, string>;
  /** How peers prove who they are. */
  readonly auth: TcpAuth;
  /**
   * Whether a peer that proved who it is may connect without being one of `peers`. It is forgotten when it goes.
   * @defaultValue true, with `auth: 'none'` false
   */
  readonly acceptUnknown?: boolean;
  /**
   * The largest body of one message, in bytes. Nodes of one cluster may differ: the smaller one counts between two.
   * @defaultValue 1_048_576
   */
  readonly maxPayload?: number;
  /**
   * How many bytes may wait for one peer; beyond that a `send` is `dropped-full`. At least twice the largest frame.
   * @defaultValue 8_388_608, or twice the largest frame where that is more
   */
  readonly maxQueueBytes?: number;
  /**
   * How long the making of a connection, TLS included, may take, in milliseconds.
   * @defaultValue 5_000
   */
  readonly connectTimeoutMs?: number;
  /**
   * How long the handshake on a connection may take, in milliseconds.
   * @defaultValue 5_000
   */
  readonly handshakeTimeoutMs?: number;
  /**
   * After how many milliseconds without a word from a peer it is asked for one.
   * @defaultValue 3_000
   */
  readonly heartbeatMs?: number;
  /**
   * After how many such periods in a row a silent peer counts as down.
   * @defaultValue 3
   */
  readonly heartbeatMisses?: number;
  /** Delays between attempts to connect: exponential, with full jitter, and from the start again after a session that lasted `maxMs`. */
  readonly reconnect?: {
    /** The bound of the first delay, in milliseconds. @defaultValue 50 */
    readonly minMs?: number;
    /** The bound of every delay, in milliseconds. @defaultValue 5_000 */
    readonly maxMs?: number;
  };
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** Where a peer is reached. */
export interface PeerAddress {
  readonly host: string;
  readonly port: number;
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
   * Replaces certificate, key, authorities and `verifyNodeId`, as when a certificate is renewed. Connections that exist stay.
   * Only with `auth: { tls }`. Throws `InvalidOptionError` for what OpenSSL does not take, and changes nothing.
   */
  setTls(tls: TcpTlsOptions): void;
}

/** The options after validation. */
export interface TcpSettings {
  readonly self: NodeId;
  readonly clusterId: string;
  readonly listen: PeerAddress | undefined;
  readonly peers: ReadonlyMap<NodeId, PeerAddress>;
  readonly auth: TcpAuthSettings;
  readonly acceptUnknown: boolean;
  readonly maxPayload: number;
  /** The largest data frame: a payload and what the transport adds to it. */
  readonly maxFrameBytes: number;
  readonly maxQueueBytes: number;
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly heartbeatMisses: number;
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
  readonly runtime: Runtime;
}

/** The way of authentication after validation. */
export type TcpAuthSettings =
  | {
      readonly mode: 'mtls';
      readonly tls: TcpTlsOptions;
      readonly verifyNodeId: (names: readonly string[], claimed: NodeId) => boolean;
    }
  | { readonly mode: 'secret'; readonly secrets: readonly Uint8Array[] }
  | { readonly mode: 'none' };

const MIN_SECRET_BYTES = 16;
const MAX_PAYLOAD_BYTES = 2 ** 30;

/** Validates the options. Throws `InvalidOptionError`. */
export function tcpSettings(options: TcpLinkOptions): TcpSettings {
  const self = identifierOption('self', options.self);
  const maxPayload = integerOption('maxPayload', options.maxPayload ?? 2 ** 20, {
    min: 1,
    max: MAX_PAYLOAD_BYTES,
  });
  const maxFrameBytes = maxPayload + FRAME_OVERHEAD_BYTES;
  // From half the bound on `writable` resolves, and then a frame of any size must fit.
  const leastQueueBytes = 2 * (maxFrameBytes + FRAME_HEADER_BYTES);
  const minMs = numberOption('reconnect.minMs', options.reconnect?.minMs ?? 50, { min: 1 });
  const auth = authSettings(options.auth);
  return {
    self,
    clusterId: identifierOption('clusterId', options.clusterId),
    listen: options.listen === undefined ? undefined : listenAddress(options.listen),
    peers: peerAddresses(options.peers ?? {}, self),
    auth,
    acceptUnknown: options.acceptUnknown ?? auth.mode !== 'none',
    maxPayload,
    maxFrameBytes,
    maxQueueBytes: integerOption(
      'maxQueueBytes',
      options.maxQueueBytes ?? Math.max(2 ** 23, leastQueueBytes),
      {
        min: leastQueueBytes,
      },
    ),
    connectTimeoutMs: numberOption('connectTimeoutMs', options.connectTimeoutMs ?? 5_000, { min: 1 }),
    handshakeTimeoutMs: numberOption('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 5_000, { min: 1 }),
    heartbeatMs: numberOption('heartbeatMs', options.heartbeatMs ?? 3_000, { min: 1 }),
    heartbeatMisses: integerOption('heartbeatMisses', options.heartbeatMisses ?? 3, { min: 1 }),
    reconnect: {
      minMs,
      maxMs: numberOption('reconnect.maxMs', options.reconnect?.maxMs ?? Math.max(5_000, minMs), {
        min: minMs,
      }),
    },
    runtime: options.runtime ?? systemRuntime,
  };
}

/** Validates a list of peers. Leaves oneself out. */
export function peerAddresses(
  peers: Readonly<Record<NodeId, string>> | ReadonlyMap<NodeId, string>,
  self: NodeId,
): ReadonlyMap<NodeId, PeerAddress> {
  const addresses = new Map<NodeId, PeerAddress>();
  const entries: Iterable<readonly [string, string]> =
    peers instanceof Map ? (peers as ReadonlyMap<NodeId, string>) : Object.entries(peers);
  for (const [id, address] of entries) {
    if (!isIdentifier(id)) {
      throw new InvalidOptionError(
        'peers',
        id,
        `named by strings of 1 to ${MAX_IDENTIFIER_BYTES} bytes of UTF-8 without control characters`,
      );
    }
    const parsed = parseAddress(`peers[${JSON.stringify(id)}]`, address);
    if (id !== self) addresses.set(id, parsed);
  }
  return addresses;
}

const ADDRESS = /^(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^\s:[\]/@]+)):([0-9]{1,5})$/;

function parseAddress(option: string, value: unknown): PeerAddress {
  const match = typeof value === 'string' ? ADDRESS.exec(value) : null;
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535 || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw new InvalidOptionError(
      option,
      value,
      '"host:port" with a port from 1 to 65535, and an IPv6 address in brackets',
    );
  }
  return { host, port };
}

function listenAddress(listen: NonNullable<TcpLinkOptions['listen']>): PeerAddress {
  const host: unknown = listen.host ?? '127.0.0.1';
  if (typeof host !== 'string' || host.length === 0) {
    throw new InvalidOptionError('listen.host', host, 'a host name or an address');
  }
  return { host, port: integerOption('listen.port', listen.port, { max: 65_535 }) };
}

/** Validates the way of authentication. Throws `InvalidOptionError`, which shows no secret. */
export function authSettings(auth: TcpAuth): TcpAuthSettings {
  if (auth === 'none') return { mode: 'none' };
  // What a caller without types may have left out.
  const given = auth as { readonly tls?: TcpTlsOptions; readonly secret?: unknown } | undefined;
  if (given?.tls !== undefined && given.secret === undefined) {
    const { tls } = given;
    for (const part of ['ca', 'cert', 'key'] as const) {
      const value: unknown = tls[part];
      const missing = Array.isArray(value) ? value.length === 0 : !value;
      if (missing) throw new InvalidOptionError(`auth.tls.${part}`, undefined, 'PEM text');
    }
    choiceOption('auth.tls.minVersion', tls.minVersion ?? 'TLSv1.3', ['TLSv1.2', 'TLSv1.3']);
    return {
      mode: 'mtls',
      tls,
      verifyNodeId: functionOption('auth.tls.verifyNodeId', tls.verifyNodeId ?? namesNode),
    };
  }
  if (given?.secret !== undefined && given.tls === undefined) {
    const secrets: unknown[] = Array.isArray(given.secret) ? given.secret : [given.secret];
    if (secrets.length === 0) throw new InvalidOptionError('auth.secret', secrets, 'at least one secret');
    return { mode: 'secret', secrets: secrets.map(secretBytes) };
  }
  throw new InvalidOptionError('auth', auth, "{ tls: { ca, cert, key } }, { secret } or 'none'");
}

function secretBytes(secret: unknown): Uint8Array {
  const bytes =
    typeof secret === 'string'
      ? Buffer.from(secret)
      : secret instanceof Uint8Array
        ? Buffer.from(secret)
        : undefined;
  if (bytes === undefined || bytes.length < MIN_SECRET_BYTES) {
    // The secret itself must not show up in a message or a property of the error.
    const given = bytes === undefined ? typeof secret : `${bytes.length} bytes`;
    throw new InvalidOptionError(
      'auth.secret',
      given,
      `a string or bytes, at least ${MIN_SECRET_BYTES} of them`,
    );
  }
  return bytes;
}
