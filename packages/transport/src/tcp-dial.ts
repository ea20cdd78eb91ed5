import type { Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Timer } from '@quorate/runtime';
import type { NodeId } from './contract.js';
import type { EndedSession } from './core/handshake.js';
import {
  type HandshakeContext,
  type HandshakeEvents,
  type HandshakeFailure,
  TcpHandshake,
} from './tcp-handshake.js';
import type { PeerAddress } from './tcp-options.js';
import { connectTo } from './tcp-sockets.js';

/** Whom to reach, where, and how. */
export interface DialOptions {
  readonly context: HandshakeContext;
  readonly address: PeerAddress;
  readonly tls: SecureContextOptions | undefined;
  readonly connectTimeoutMs: number;
  readonly target: { readonly id: NodeId; readonly ended: EndedSession | undefined };
}

/** What comes of a dial: one of `established` and `failed`, once, unless it was cancelled. */
export interface DialEvents extends Omit<HandshakeEvents, 'failed'> {
  /** An `Error`: there was no connection. Otherwise there was, and its handshake failed. */
  failed(failure: HandshakeFailure | Error): void;
}

/** One attempt to reach a peer, from the connection to the end of the handshake. */
export class Dial {
  readonly socket: Socket;
  readonly #events: DialEvents;
  readonly #timer: Timer;
  #handshake: TcpHandshake | undefined;
  #over = false;

  constructor(options: DialOptions, events: DialEvents) {
    const { context, connectTimeoutMs } = options;
    this.#events = events;
    this.socket = connectTo(options.address, options.tls, () => {
      this.#shake(options);
    });
    this.socket.once('error', this.#unreachable);
    this.#timer = context.runtime.setTimer(connectTimeoutMs, () => {
      this.#unreachable(new Error(`no connection within ${connectTimeoutMs} ms`));
    });
  }

  /** Gives up. Nothing is reported any more. */
  cancel(): void {
    if (!this.#settle()) return;
    this.#handshake?.refuse('closing', 'the attempt was given up');
    this.socket.destroy();
  }

  readonly #unreachable = (error: Error): void => {
    this.socket.destroy();
    if (this.#settle()) this.#events.failed(error);
  };

  #shake({ context, target }: DialOptions): void {
    if (this.#over) return;
    this.#timer.cancel();
    const events: HandshakeEvents = {
      authenticated: (peer) => this.#events.authenticated(peer),
      established: (connection) => {
        if (this.#settle()) this.#events.established(connection);
      },
      failed: (failure) => {
        if (this.#settle()) this.#events.failed(failure);
      },
    };
    this.#handshake = new TcpHandshake(context, this.socket, events, target);
    this.socket.off('error', this.#unreachable);
  }

  /** True the first time. */
  #settle(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#timer.cancel();
    return true;
  }
}
