import { isIdentifier, MAX_IDENTIFIER_BYTES, type QuorateError } from '@quorate/runtime';
import { ByteReader, ByteWriter, MalformedBytesError } from '@quorate/runtime/bytes';
import type { NodeId } from '../contract.js';
import { encodeFrame, FrameKind } from './frame.js';

/** The version of the wire format that this code speaks, and the oldest one that it still understands. */
export const WIRE_VERSION = 1;
export const OLDEST_WIRE_VERSION = 1;

export const NONCE_BYTES = 32;
export const MAC_BYTES = 32;
const INCARNATION_RANDOM_BYTES = 8;
const MAX_REFUSAL_TEXT_BYTES = 512;

/** One life of a node: from the making of its link to its close or crash. A later start is the newer one. */
export interface Incarnation {
  /** The node's wall clock at the start, in milliseconds since the Unix epoch. */
  readonly startedAtMs: number;
  /** Tells apart what started in the same millisecond: 8 random bytes in hexadecimal. */
  readonly random: string;
}

/** How the two ends convince each other. Both must be set up for the same way. */
export type AuthMode = 'secret' | 'mtls' | 'none';

/**
 * Why a connection was refused.
 *
 * - `version`: no common version of the wire format
 * - `cluster`: the other end belongs to another cluster
 * - `auth-mode`: one end wants TLS or a secret, the other does not
 * - `unauthenticated`: the secret is not the same, or the certificate does not name the node
 * - `wrong-node`: who answered is not the node that was dialled
 * - `same-node`: both ends have the same name
 * - `unknown-node`: the node is not among the peers, and unknown ones are not accepted
 * - `duplicate`: there is a session with this node already
 * - `superseded`: a newer process of the same name has the session
 * - `protocol`: what arrived is not this protocol
 * - `timeout`: the handshake took too long
 * - `closing`: the other end shuts down
 * - `busy`: too many handshakes are under way
 */
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** In the order of their numbers on the wire, from 1 on: append only. */
const REFUSAL_CODES = [
  'version',
  'cluster',
  'auth-mode',
  'unauthenticated',
  'wrong-node',
  'same-node',
  'unknown-node',
  'duplicate',
  'superseded',
  'protocol',
  'timeout',
  'closing',
  'busy',
] as const;

const AUTH_MODES = ['none', 'secret', 'mtls'] as const satisfies readonly AuthMode[];

/** What each end says about itself. */
export interface Introduction {
  readonly clusterId: string;
  readonly self: NodeId;
  readonly incarnation: Incarnation;
  /** The largest body of a data frame that this end takes. */
  readonly maxFrameBytes: number;
  readonly authMode: AuthMode;
  readonly nonce: Uint8Array;
}

/** The dialler's opening. */
export interface Hello extends Introduction {
  /** The newest and the oldest version that the dialler speaks. */
  readonly version: number;
  readonly oldestVersion: number;
  /** Whom it wants to reach. */
  readonly target: NodeId;
}

/** The acceptor's answer to it. */
export interface Challenge extends Introduction {
  /** The version that both speak from here on. */
  readonly version: number;
}

/** The dialler's proof. */
export interface Proof {
  /** The number of the last session with this incarnation of the acceptor that ended for the dialler, or zero. */
  readonly endedSession: number;
  /** Empty unless a secret is used. */
  readonly mac: Uint8Array;
}

/** Why the connection is given up. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly text: string;
}

export function encodeHello(hello: Hello): Uint8Array {
  const out = new ByteWriter(512).u8(hello.version).u8(hello.oldestVersion);
  return introduce(out, hello).string(hello.target).finish();
}

export function encodeChallenge(challenge: Challenge): Uint8Array {
  return introduce(new ByteWriter(512).u8(challenge.version), challenge).finish();
}

export function encodeProof(proof: Proof): Uint8Array {
  return new ByteWriter().varint(proof.endedSession).bytes(proof.mac).finish();
}

export function encodeWelcome(mac: Uint8Array): Uint8Array {
  return new ByteWriter().bytes(mac).finish();
}

export function encodeCommit(session: number): Uint8Array {
  return new ByteWriter().varint(session).finish();
}

/** A whole frame that tells the other end why it is refused. */
export function refuseFrame(refusal: Refusal): Uint8Array {
  const body = new ByteWriter()
    .u8(REFUSAL_CODES.indexOf(refusal.code) + 1)
    .string(refusal.text.slice(0, MAX_REFUSAL_TEXT_BYTES / 4))
    .finish();
  return encodeFrame(FrameKind.refuse, body);
}

/** Reads a hello. From a newer version only what every version begins with is asked for. */
export function decodeHello(body: Uint8Array): Hello {
  const reader = new ByteReader(body);
  const version = reader.u8();
  const oldestVersion = reader.u8();
  if (oldestVersion > version) reader.fail('an oldest version above the newest');
  const introduction = readIntroduction(reader);
  const target = readIdentifier(reader);
  if (version <= WIRE_VERSION) reader.end();
  return { version, oldestVersion, ...introduction, target };
}

export function decodeChallenge(body: Uint8Array): Challenge {
  const reader = new ByteReader(body);
  const version = reader.u8();
  const introduction = readIntroduction(reader);
  reader.end();
  return { version, ...introduction };
}

export function decodeProof(body: Uint8Array): Proof {
  const reader = new ByteReader(body);
  const proof = { endedSession: reader.varint(), mac: reader.bytes(MAC_BYTES) };
  reader.end();
  return proof;
}

export function decodeWelcome(body: Uint8Array): Uint8Array {
  const reader = new ByteReader(body);
  const mac = reader.bytes(MAC_BYTES);
  reader.end();
  return mac;
}

export function decodeCommit(body: Uint8Array): number {
  const reader = new ByteReader(body);
  const session = reader.varint();
  if (session === 0) reader.fail('a session without a number');
  reader.end();
  return session;
}

/** Reads a refusal. Its text is the other end's and is shown with control characters removed. */
export function decodeRefusal(body: Uint8Array): Refusal {
  const reader = new ByteReader(body);
  const code = REFUSAL_CODES[reader.u8() - 1] ?? 'protocol';
  const text = reader.string(MAX_REFUSAL_TEXT_BYTES).replace(/\p{Cc}/gu, ' ');
  reader.end();
  return { code, text };
}

/** Runs a decoder on bytes of a stranger: what is malformed is a refusal, not an exception. */
export function decoded<T>(decode: (body: Uint8Array) => T, body: Uint8Array): T | Refusal {
  try {
    return decode(body);
  } catch (error) {
    if (error instanceof MalformedBytesError) return malformed(error);
    throw error;
  }
}

/** Whether `a` is a later life than `b` of one node. */
export function isNewer(a: Incarnation, b: Incarnation): boolean {
  return a.startedAtMs === b.startedAtMs ? a.random > b.random : a.startedAtMs > b.startedAtMs;
}

export function isSameIncarnation(a: Incarnation, b: Incarnation): boolean {
  return a.startedAtMs === b.startedAtMs && a.random === b.random;
}

function malformed(error: QuorateError): Refusal {
  return { code: 'protocol', text: `malformed handshake: ${error.message}` };
}

function introduce(out: ByteWriter, one: Introduction): ByteWriter {
  return out
    .string(one.clusterId)
    .string(one.self)
    .u64(one.incarnation.startedAtMs)
    .raw(Buffer.from(one.incarnation.random, 'hex'))
    .u32(one.maxFrameBytes)
    .u8(AUTH_MODES.indexOf(one.authMode))
    .raw(one.nonce);
}

function readIntroduction(reader: ByteReader): Introduction {
  const clusterId = readIdentifier(reader);
  const self = readIdentifier(reader);
  const startedAtMs = reader.u64();
  const random = Buffer.from(reader.raw(INCARNATION_RANDOM_BYTES)).toString('hex');
  const maxFrameBytes = reader.u32();
  if (maxFrameBytes === 0) reader.fail('a limit of zero bytes per frame');
  const authMode = AUTH_MODES[reader.u8()] ?? reader.fail('an unknown way of authentication');
  return {
    clusterId,
    self,
    incarnation: { startedAtMs, random },
    maxFrameBytes,
    authMode,
    nonce: reader.raw(NONCE_BYTES),
  };
}

function readIdentifier(reader: ByteReader): string {
  const text = reader.string(MAX_IDENTIFIER_BYTES);
  return isIdentifier(text) ? text : reader.fail('a name that is empty or has control characters');
}
