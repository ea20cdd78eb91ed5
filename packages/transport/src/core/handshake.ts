import { createHmac, timingSafeEqual } from 'node:crypto';
import type { NodeId } from '../contract.js';
import { encodeFrame, FrameKind } from './frame.js';
import {
  type AuthMode,
  type Challenge,
  decodeChallenge,
  decodeCommit,
  decoded,
  decodeHello,
  decodeProof,
  decodeRefusal,
  decodeWelcome,
  encodeChallenge,
  encodeCommit,
  encodeHello,
  encodeProof,
  encodeWelcome,
  type Hello,
  type Incarnation,
  type Introduction,
  isNewer,
  isSameIncarnation,
  OLDEST_WIRE_VERSION,
  type Refusal,
  type RefusalCode,
  refuseFrame,
  WIRE_VERSION,
} from './handshake-messages.js';

/*
 * The handshake of one connection, as a state machine without I/O, clocks or chance:
 *
 *     dialler                         acceptor
 *        | -- hello ------------------->  |   versions, cluster, names, nonce
 *        | <----------------- challenge - |   version, cluster, name, nonce
 *        | -- proof ------------------->  |   HMAC(secret, 'dialler', both introductions, last session)
 *        | <------------------- welcome - |   HMAC(secret, 'acceptor', the same)
 *        |        commit (one way)        |   from the arbiter of the two
 *
 * Both nonces, both names, the cluster, the versions and the role go into each MAC, so that a proof holds for one
 * connection, one direction and one pair: it cannot be replayed, reflected, or carried over to another pair, and
 * a downgraded version or a changed limit is noticed. The dialler proves first; a stranger who dials in gets no
 * MAC to guess the secret by.
 *
 * Both nodes may dial at the same moment. One of the two, the arbiter (the lesser name), alone decides which
 * connection becomes the session: it takes the first that is authenticated and numbers its sessions with each
 * peer upwards. The other end believes the greatest number. So there is never more than one session per pair, and
 * no connection is torn down because a better one came.
 */

/** What one end knows before it meets the other. */
export interface LocalEnd {
  readonly self: NodeId;
  readonly clusterId: string;
  readonly incarnation: Incarnation;
  readonly maxFrameBytes: number;
  readonly auth: HandshakeAuth;
  /** Random bytes for this connection alone, of `NONCE_BYTES`. */
  readonly nonce: Uint8Array;
}

/** How an end proves who it is and checks the other. */
export type HandshakeAuth =
  /** The first secret is used for proofs, every one is good for checks, so that secrets can be rotated. */
  | { readonly mode: 'secret'; readonly secrets: readonly Uint8Array[] }
  /** Whether the peer's certificate, verified already, is one for the name that the peer claims. */
  | { readonly mode: 'mtls'; readonly vouches: (claimed: NodeId) => boolean }
  | { readonly mode: 'none' };

/** The last session of an end with one incarnation of the arbiter. */
export interface EndedSession {
  readonly incarnation: Incarnation;
  readonly number: number;
}

/** The other end, after it has proved who it is. */
export interface RemoteEnd {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
  readonly maxFrameBytes: number;
  /** The last session with this incarnation of ours that has ended for the other end; zero if none or not said. */
  readonly endedSession: number;
}

/** What the handshake wants done. `send` is a whole frame, to be sent before anything else. */
export type HandshakeStep =
  /** Wait for the next frame. */
  | { readonly type: 'wait'; readonly send?: Uint8Array }
  /** The peer is who it says. Call `accept` or `refuse`. */
  | { readonly type: 'authenticated'; readonly peer: RemoteEnd }
  /** The arbiter, which is the peer, made this connection session number `session`. */
  | { readonly type: 'committed'; readonly peer: RemoteEnd; readonly session: number }
  /** It is over. `by` tells who refused whom. */
  | {
      readonly type: 'refused';
      readonly by: 'self' | 'peer';
      readonly refusal: Refusal;
      readonly send?: Uint8Array;
    };

/** Whether `self` decides which connection with `peer` is the session. */
export function isArbiter(self: NodeId, peer: NodeId): boolean {
  return self < peer;
}

/** The session that an arbiter has with a peer. */
export interface CurrentSession {
  readonly incarnation: Incarnation;
  readonly number: number;
}

/**
 * What the arbiter does with an authenticated connection while it has `current`. A newer incarnation of the peer
 * replaces an older one at once; so does the same incarnation if it says that the current session is over for it
 * (the connection is half open). All else is a duplicate of a session that lives.
 */
export function arbitrate(
  current: CurrentSession | undefined,
  candidate: Pick<RemoteEnd, 'incarnation' | 'endedSession'>,
): 'accept' | 'duplicate' | 'superseded' {
  if (current === undefined) return 'accept';
  if (isSameIncarnation(current.incarnation, candidate.incarnation)) {
    return candidate.endedSession >= current.number ? 'accept' : 'duplicate';
  }
  return isNewer(candidate.incarnation, current.incarnation) ? 'accept' : 'superseded';
}

/** Whether the end that is not the arbiter takes a session that the arbiter committed, in the place of `current`. */
export function follows(current: CurrentSession | undefined, committed: CurrentSession): boolean {
  if (current === undefined) return true;
  if (isSameIncarnation(current.incarnation, committed.incarnation)) return committed.number > current.number;
  return isNewer(committed.incarnation, current.incarnation);
}

type State = 'hello' | 'challenge' | 'proof' | 'welcome' | 'decision' | 'commit' | 'over';

const EXPECTED: Readonly<Record<State, FrameKind | undefined>> = {
  hello: FrameKind.hello,
  challenge: FrameKind.challenge,
  proof: FrameKind.proof,
  welcome: FrameKind.welcome,
  decision: undefined,
  commit: FrameKind.commit,
  over: undefined,
};

/** One end of one connection's handshake. Make it with {@link dial} or {@link answer}. */
export class Handshake {
  readonly #local: LocalEnd;
  readonly #role: 'dialler' | 'acceptor';
  #state: State;
  /** The bodies of both introductions as they were on the wire: what the MACs are made over. */
  #hello: Uint8Array = new Uint8Array(0);
  #challenge: Uint8Array = new Uint8Array(0);
  #secret: Uint8Array | undefined;
  #ended: EndedSession | undefined;
  #endedSession = 0;
  #target: NodeId | undefined;
  #peer: RemoteEnd | undefined;

  constructor(local: LocalEnd, role: 'dialler' | 'acceptor') {
    this.#local = local;
    this.#role = role;
    this.#state = role === 'dialler' ? 'challenge' : 'hello';
    if (local.auth.mode === 'secret') this.#secret = local.auth.secrets[0];
  }

  /** Whom this connection claims to be with, proved or not; for messages. */
  get claimed(): NodeId | undefined {
    return this.#peer?.id ?? this.#target;
  }

  /** The dialler's first frame. */
  open(target: NodeId, ended: EndedSession | undefined): Uint8Array {
    this.#target = target;
    this.#ended = ended;
    this.#hello = encodeHello({
      version: WIRE_VERSION,
      oldestVersion: OLDEST_WIRE_VERSION,
      target,
      ...this.#introduction(),
    });
    return encodeFrame(FrameKind.hello, this.#hello);
  }

  /** Takes a frame from the other end. */
  receive(kind: number, body: Uint8Array): HandshakeStep {
    if (this.#state === 'over') return { type: 'wait' };
    if (kind === FrameKind.refuse) {
      const refusal = decoded(decodeRefusal, body);
      this.#state = 'over';
      return { type: 'refused', by: 'peer', refusal };
    }
    if (kind !== EXPECTED[this.#state]) {
      return this.refuse('protocol', `a frame of kind ${kind} out of turn`);
    }
    switch (kind) {
      case FrameKind.hello:
        return this.#onHello(body);
      case FrameKind.challenge:
        return this.#onChallenge(body);
      case FrameKind.proof:
        return this.#onProof(body);
      case FrameKind.welcome:
        return this.#onWelcome(body);
      default:
        return this.#onCommit(body);
    }
  }

  /**
   * After `authenticated`: goes ahead with the peer. The arbiter passes the number of the session, which begins
   * when the returned bytes are sent; the other end passes nothing and waits for `committed`.
   */
  accept(session?: number): Uint8Array {
    this.#state = session === undefined ? 'commit' : 'over';
    const frames: Uint8Array[] = [];
    if (this.#role === 'acceptor') {
      frames.push(encodeFrame(FrameKind.welcome, encodeWelcome(this.#mac('acceptor', this.#secret))));
    }
    if (session !== undefined) frames.push(encodeFrame(FrameKind.commit, encodeCommit(session)));
    return Buffer.concat(frames);
  }

  /** Gives the connection up. */
  refuse(code: RefusalCode, text: string): HandshakeStep & { readonly type: 'refused' } {
    this.#state = 'over';
    const refusal = { code, text };
    return { type: 'refused', by: 'self', refusal, send: refuseFrame(refusal) };
  }

  #onHello(body: Uint8Array): HandshakeStep {
    const hello = decoded(decodeHello, body);
    if ('code' in hello) return this.refuse(hello.code, hello.text);
    this.#target = hello.self;
    const version = Math.min(hello.version, WIRE_VERSION);
    if (version < Math.max(hello.oldestVersion, OLDEST_WIRE_VERSION)) {
      const theirs = `${hello.oldestVersion} to ${hello.version}`;
      const ours = `${OLDEST_WIRE_VERSION} to ${WIRE_VERSION}`;
      return this.refuse('version', `the dialler speaks versions ${theirs}, the acceptor ${ours}`);
    }
    const refused = this.#check(hello);
    if (refused !== undefined) return refused;
    if (hello.target !== this.#local.self) {
      return this.refuse(
        'wrong-node',
        `${quote(hello.target)} was dialled, this is ${quote(this.#local.self)}`,
      );
    }
    this.#hello = body;
    this.#peer = remote(hello, 0);
    this.#challenge = encodeChallenge({ version, ...this.#introduction() });
    this.#state = 'proof';
    return { type: 'wait', send: encodeFrame(FrameKind.challenge, this.#challenge) };
  }

  #onChallenge(body: Uint8Array): HandshakeStep {
    const challenge: Challenge | Refusal = decoded(decodeChallenge, body);
    if ('code' in challenge) return this.refuse(challenge.code, challenge.text);
    if (challenge.version < OLDEST_WIRE_VERSION || challenge.version > WIRE_VERSION) {
      return this.refuse('version', `the acceptor chose version ${challenge.version}, which was not offered`);
    }
    if (challenge.self !== this.#target) {
      const dialled = quote(this.#target ?? '');
      return this.refuse('wrong-node', `${dialled} was dialled, ${quote(challenge.self)} answered`);
    }
    const refused = this.#check(challenge);
    if (refused !== undefined) return refused;
    this.#challenge = body;
    this.#peer = remote(challenge, 0);
    const ended = this.#ended;
    if (ended !== undefined && isSameIncarnation(ended.incarnation, challenge.incarnation)) {
      this.#endedSession = ended.number;
    }
    this.#state = 'welcome';
    const mac = this.#mac('dialler', this.#secret);
    return {
      type: 'wait',
      send: encodeFrame(FrameKind.proof, encodeProof({ endedSession: this.#endedSession, mac })),
    };
  }

  #onProof(body: Uint8Array): HandshakeStep {
    const proof = decoded(decodeProof, body);
    if ('code' in proof) return this.refuse(proof.code, proof.text);
    this.#endedSession = proof.endedSession;
    if (!this.#verify('dialler', proof.mac)) return this.#unproved();
    return this.#authenticated(proof.endedSession);
  }

  #onWelcome(body: Uint8Array): HandshakeStep {
    const mac = decoded(decodeWelcome, body);
    if ('code' in mac) return this.refuse(mac.code, mac.text);
    if (!this.#verify('acceptor', mac)) return this.#unproved();
    if (this.#peer !== undefined && !isArbiter(this.#local.self, this.#peer.id)) {
      this.#state = 'commit';
      return { type: 'wait' };
    }
    return this.#authenticated(0);
  }

  #onCommit(body: Uint8Array): HandshakeStep {
    const session = decoded(decodeCommit, body);
    if (typeof session !== 'number') return this.refuse(session.code, session.text);
    const peer = this.#peer;
    if (peer === undefined || isArbiter(this.#local.self, peer.id)) {
      return this.refuse('protocol', 'a commit from the end that does not decide');
    }
    this.#state = 'over';
    return { type: 'committed', peer, session };
  }

  #authenticated(endedSession: number): HandshakeStep {
    if (this.#peer === undefined) return this.refuse('protocol', 'a proof before its introduction');
    this.#peer = { ...this.#peer, endedSession };
    this.#state = 'decision';
    return { type: 'authenticated', peer: this.#peer };
  }

  /** What holds for both introductions. */
  #check(theirs: Introduction): HandshakeStep | undefined {
    const { clusterId, self, auth } = this.#local;
    // Neither text names this end's cluster: a stranger learns no more than that it is another one.
    if (theirs.clusterId !== clusterId)
      return this.refuse('cluster', 'the two ends are of different clusters');
    if (theirs.authMode !== auth.mode) {
      const texts = `${describeMode(theirs.authMode)}, and the other ${describeMode(auth.mode)}`;
      return this.refuse('auth-mode', `one end ${texts}`);
    }
    if (theirs.self === self) return this.refuse('same-node', `both ends are called ${quote(self)}`);
    if (auth.mode === 'mtls' && !auth.vouches(theirs.self)) {
      return this.refuse('unauthenticated', `the certificate is not one of ${quote(theirs.self)}`);
    }
    return undefined;
  }

  #unproved(): HandshakeStep {
    return this.refuse('unauthenticated', 'the shared secret is not the same at both ends');
  }

  #introduction(): Introduction {
    const { self, clusterId, incarnation, maxFrameBytes, nonce, auth } = this.#local;
    return { self, clusterId, incarnation, maxFrameBytes, nonce, authMode: auth.mode };
  }

  #mac(role: 'dialler' | 'acceptor', secret: Uint8Array | undefined): Uint8Array {
    if (secret === undefined) return new Uint8Array(0);
    const mac = createHmac('sha256', secret).update(`quorate tcp handshake 1 ${role}\0`);
    const size = Buffer.alloc(4);
    for (const part of [this.#hello, this.#challenge]) {
      size.writeUInt32BE(part.length);
      mac.update(size).update(part);
    }
    return mac.update(String(this.#endedSession)).digest();
  }

  #verify(role: 'dialler' | 'acceptor', mac: Uint8Array): boolean {
    const { auth } = this.#local;
    if (auth.mode !== 'secret') return mac.length === 0;
    let proved: Uint8Array | undefined;
    for (const secret of auth.secrets) {
      const expected = this.#mac(role, secret);
      if (expected.length === mac.length && timingSafeEqual(expected, mac)) proved = secret;
    }
    if (proved === undefined) return false;
    // The acceptor answers with the secret that the dialler used, which is one that the dialler knows.
    this.#secret = proved;
    return true;
  }
}

function remote(one: Hello | Challenge, endedSession: number): RemoteEnd {
  return { id: one.self, incarnation: one.incarnation, maxFrameBytes: one.maxFrameBytes, endedSession };
}

function describeMode(mode: AuthMode): string {
  return { secret: 'uses a shared secret', mtls: 'uses TLS', none: 'does not authenticate' }[mode];
}

function quote(text: string): string {
  return JSON.stringify(text);
}
