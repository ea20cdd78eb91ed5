import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Runtime, Timer } from '@quorate/runtime';
import type { NodeId } from './contract.js';
import { FrameDecoder, HANDSHAKE_LIMITS } from './core/frame.js';
import {
  type EndedSession,
  Handshake,
  type HandshakeAuth,
  type HandshakeStep,
  type RemoteEnd,
} from './core/handshake.js';
import { type Incarnation, NONCE_BYTES, type Refusal, type RefusalCode } from './core/handshake-messages.js';
import { subjectNames } from './core/subject-names.js';
import type { TcpAuthSettings } from './tcp-options.js';
import { closeGently, FAREWELL_MS, remoteOf } from './tcp-sockets.js';

/** What a handshake needs to know of the link that it is made for. */
export interface HandshakeContext {
  readonly self: NodeId;
  readonly clusterId: string;
  readonly incarnation: Incarnation;
  readonly maxFrameBytes: number;
  readonly auth: TcpAuthSettings;
  readonly handshakeTimeoutMs: number;
  readonly runtime: Runtime;
}

/** A connection whose handshake is done. The socket has none of the handshake's listeners left. */
export interface Established {
  readonly socket: Socket;
  readonly decoder: FrameDecoder;
  readonly peer: RemoteEnd;
  /** The session's number as the arbiter gave it. */
  readonly session: number;
}

/** What happens to a handshake. Exactly one of `established` and `failed` is called, once. */
export interface HandshakeEvents {
  /**
   * The peer has proved who it is. Answers with the number of the session if this end decides and takes it, with
   * nothing if the peer decides, or with a refusal.
   */
  authenticated(peer: RemoteEnd): number | undefined | Refusal;
  /** Called before any frame of the session is decoded. */
  established(connection: Established): void;
  /** It came to nothing; the socket is closed or closing. */
  failed(failure: HandshakeFailure): void;
}

/** How a handshake failed. */
export interface HandshakeFailure extends Refusal {
  /** Who gave up: this end, the peer, or the network. */
  readonly by: 'self' | 'peer' | 'network';
  /** The name that the other end goes by, proved or not. */
  readonly claimed: NodeId | undefined;
  readonly remote: string;
}

/** Drives the handshake of one connected socket. */
export class TcpHandshake {
  readonly #socket: Socket;
  readonly #events: HandshakeEvents;
  readonly #machine: Handshake;
  readonly #decoder: FrameDecoder;
  readonly #deadline: Timer;
  readonly #remote: string;
  readonly #runtime: Runtime;
  #over = false;

  /** With `target` as the dialler, without as the acceptor. */
  constructor(
    context: HandshakeContext,
    socket: Socket,
    events: HandshakeEvents,
    target?: { readonly id: NodeId; readonly ended: EndedSession | undefined },
  ) {
    this.#socket = socket;
    this.#events = events;
    this.#remote = remoteOf(socket);
    this.#runtime = context.runtime;
    this.#machine = new Handshake(
      {
        self: context.self,
        clusterId: context.clusterId,
        incarnation: context.incarnation,
        maxFrameBytes: context.maxFrameBytes,
        auth: handshakeAuth(context.auth, socket),
        nonce: context.runtime.randomBytes(NONCE_BYTES),
      },
      target === undefined ? 'acceptor' : 'dialler',
    );
    this.#decoder = new FrameDecoder(HANDSHAKE_LIMITS, {
      frame: (kind, body) => {
        this.#take(this.#machine.receive(kind, body));
      },
      fault: ({ text }) => {
        this.refuse('protocol', text);
      },
    });
    const { handshakeTimeoutMs } = context;
    this.#deadline = context.runtime.setTimer(handshakeTimeoutMs, () => {
      this.refuse('timeout', `the handshake was not done within ${handshakeTimeoutMs} ms`);
    });
    socket.on('data', this.#onData);
    socket.on('error', this.#onError);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    if (target !== undefined) socket.write(this.#machine.open(target.id, target.ended));
  }

  /** Gives up, and tells the other end why. */
  refuse(code: RefusalCode, text: string): void {
    if (!this.#over) this.#take(this.#machine.refuse(code, text));
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#decoder.push(chunk);
  };
  readonly #onError = (error: Error): void => {
    this.#fail('network', { code: 'protocol', text: error.message });
  };
  readonly #onEnd = (): void => {
    this.#fail('network', { code: 'protocol', text: 'the connection ended during the handshake' });
  };

  #take(step: HandshakeStep): void {
    switch (step.type) {
      case 'wait':
        if (step.send !== undefined) this.#socket.write(step.send);
        return;
      case 'authenticated': {
        const answer = this.#events.authenticated(step.peer);
        if (this.#over) return;
        if (typeof answer === 'object') {
          this.refuse(answer.code, answer.text);
          return;
        }
        this.#socket.write(this.#machine.accept(answer));
        if (answer !== undefined) this.#establish(step.peer, answer);
        return;
      }
      case 'committed':
        this.#establish(step.peer, step.session);
        return;
      case 'refused':
        if (step.send !== undefined) this.#socket.write(step.send);
        this.#fail(step.by, step.refusal);
    }
  }

  #establish(peer: RemoteEnd, session: number): void {
    this.#finish();
    this.#events.established({ socket: this.#socket, decoder: this.#decoder, peer, session });
  }

  #fail(by: HandshakeFailure['by'], refusal: Refusal): void {
    if (this.#over) return;
    this.#finish();
    this.#decoder.stop();
    // What is left of the socket's life must neither throw nor keep bytes.
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.resume();
    if (by === 'network') this.#socket.destroy();
    else void closeGently(this.#socket, FAREWELL_MS, this.#runtime);
    this.#events.failed({ by, ...refusal, claimed: this.#machine.claimed, remote: this.#remote });
  }

  #finish(): void {
    this.#over = true;
    this.#deadline.cancel();
    this.#socket.off('data', this.#onData);
    this.#socket.off('error', this.#onError);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
  }
}

function handshakeAuth(auth: TcpAuthSettings, socket: Socket): HandshakeAuth {
  if (auth.mode !== 'mtls') return auth;
  return {
    mode: 'mtls',
    vouches: (claimed) => {
      try {
        const certificate =
          socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
        return (
          certificate !== undefined && auth.verifyNodeId(subjectNames(certificate.subjectAltName), claimed)
        );
      } catch {
        // The caller's function: what it cannot decide is refused, and does no harm beyond this connection.
        return false;
      }
    },
  };
}
