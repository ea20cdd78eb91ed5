import type { Socket } from 'node:net';
import type { Runtime, Timer } from '@quorate/runtime';
import type { DownReason, NodeId, SendOutcome } from './contract.js';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  type FrameDecoder,
  type FrameFault,
  FrameKind,
  type FrameSink,
  sessionLimits,
  writeFrameHeader,
} from './core/frame.js';
import type { CurrentSession, RemoteEnd } from './core/handshake.js';
import { closeGently } from './tcp-sockets.js';

/** Frames of one turn of the event loop are gathered in chunks of this size, and a full chunk is written at once. */
const CHUNK_BYTES = 64 * 1024;
/** So many bytes of a turn go out ahead of the rest of it: the peer works on them while this end is still at work. */
const HEAD_BYTES = 6 * 1024;
/** Chunks kept for reuse by all sessions of a link. */
const POOLED_CHUNKS = 16;

const NO_BYTES = new Uint8Array(0);
const PING = encodeFrame(FrameKind.ping, NO_BYTES);
const PONG = encodeFrame(FrameKind.pong, NO_BYTES);

/** Why an end says goodbye, as the byte that travels. */
const Farewell = { closing: 1, removed: 2, replaced: 3 } as const;
/** One of the reasons to say goodbye. */
export type FarewellReason = keyof typeof Farewell;

/** Chunks that idle sessions do not hold on to. */
export class ChunkPool {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
  }

  give(chunk: Buffer): void {
    if (chunk.length === CHUNK_BYTES && this.#free.length < POOLED_CHUNKS) this.#free.push(chunk);
  }
}

/** What a session asks of its link. */
export interface SessionOwner {
  readonly runtime: Runtime;
  readonly pool: ChunkPool;
  readonly maxFrameBytes: number;
  readonly maxQueueBytes: number;
  readonly heartbeatMs: number;
  readonly heartbeatMisses: number;
  /** A data frame arrived. */
  received(session: TcpSession, bytes: Uint8Array): void;
  /** The session is over; called once, and nothing is received afterwards. */
  ended(session: TcpSession, reason: DownReason, detail: string | undefined): void;
}

/** Everything that the handshake found out. */
export interface SessionStart {
  readonly peer: RemoteEnd;
  /** The number that this link announces. */
  readonly localNumber: number;
  /** Under which the arbiter of the pair knows the session. */
  readonly agreed: CurrentSession;
  readonly inbound: boolean;
}

/**
 * The one live connection with a peer, after the handshake.
 *
 * Writing: `send` copies the frame behind its header into a chunk; all of a turn goes out in one write, or in two if it
 * is much. While an earlier write has not left the process, the chunk goes on filling instead, so that a slow receiver
 * costs no more memory than the bytes queued for it.
 */
export class TcpSession implements FrameSink {
  readonly peer: NodeId;
  readonly number: number;
  readonly agreed: CurrentSession;
  readonly inbound: boolean;
  /** The largest data frame that the peer takes. */
  readonly maxFrameBytes: number;
  readonly startedAtMs: number;
  readonly #socket: Socket;
  readonly #owner: SessionOwner;
  readonly #decoder: FrameDecoder;
  #queuedBytes = 0;
  #over = false;

  #chunk: Buffer | undefined;
  #chunkBytes = 0;
  #flushing = false;
  /** What was handed to the socket and has not left the process, oldest first. */
  readonly #inFlight: { readonly chunk: Buffer; readonly bytes: number }[] = [];
  /** Whether a part of this turn was written ahead. */
  #headIsOut = false;
  readonly #flush = (): void => {
    this.#flushing = false;
    this.#headIsOut = false;
    if (this.#inFlight.length === 0) this.#write();
  };
  readonly #wrote = (error?: Error | null): void => {
    this.#onWritten(error);
  };

  #wakers: (() => void)[] = [];
  #heartbeat: Timer | undefined;
  #heardSinceBeat = true;
  #saidSinceBeat = true;
  #missedBeats = 0;

  constructor(owner: SessionOwner, socket: Socket, decoder: FrameDecoder, start: SessionStart) {
    this.#owner = owner;
    this.#socket = socket;
    this.#decoder = decoder;
    this.peer = start.peer.id;
    this.number = start.localNumber;
    this.agreed = start.agreed;
    this.inbound = start.inbound;
    this.maxFrameBytes = start.peer.maxFrameBytes;
    this.startedAtMs = owner.runtime.monotonic();
    decoder.limits = sessionLimits(owner.maxFrameBytes);
    decoder.sink = this;
    socket.on('data', (chunk: Buffer) => {
      this.#heardSinceBeat = true;
      decoder.push(chunk);
    });
    // A broken record of TLS is an error without a close.
    socket.on('error', (error) => {
      this.end('error', error.message);
    });
    // The peer sends no more. A half-open session is of no use: it is over at once, not when our side has flushed.
    socket.on('end', () => {
      this.end('closed');
    });
    socket.on('close', () => {
      this.end('closed');
    });
    this.#armHeartbeat();
  }

  /** Bytes accepted that have not left this process. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get over(): boolean {
    return this.#over;
  }

  send(frame: Uint8Array): SendOutcome {
    const bytes = FRAME_HEADER_BYTES + frame.length;
    if (this.#queuedBytes + bytes > this.#owner.maxQueueBytes) return 'dropped-full';
    const chunk = this.#reserve(bytes);
    const at = this.#chunkBytes;
    writeFrameHeader(chunk, at, FrameKind.data, frame.length);
    chunk.set(frame, at + FRAME_HEADER_BYTES);
    this.#chunkBytes = at + bytes;
    if (this.#chunkBytes >= HEAD_BYTES && !this.#headIsOut && this.#inFlight.length === 0) {
      this.#headIsOut = true;
      this.#write();
    }
    return 'queued';
  }

  /** Whether any frame within the limits would be accepted. */
  get writable(): boolean {
    return this.#queuedBytes <= this.#owner.maxQueueBytes / 2;
  }

  /** Calls `wake` once when the session is `writable` or over. Returns how to take that back. */
  whenWritable(wake: () => void): () => void {
    this.#wakers.push(wake);
    return () => {
      this.#wakers = this.#wakers.filter((one) => one !== wake);
    };
  }

  fault(fault: FrameFault): void {
    this.end('error', fault.text);
  }

  frame(kind: number, body: Uint8Array): void {
    if (kind === FrameKind.data) {
      this.#owner.received(this, body);
    } else if (kind === FrameKind.ping) {
      this.#control(PONG);
    } else if (kind === FrameKind.bye) {
      this.end(body[0] === Farewell.replaced ? 'closed' : 'left', 'the peer said goodbye');
    }
  }

  /** Ends the session at once; what is queued is lost. */
  end(reason: DownReason, detail?: string): void {
    if (this.#finish(reason, detail)) this.#socket.destroy();
  }

  /**
   * Ends the session for this side at once, and lets what is queued and a goodbye go out before the connection
   * ends, for at most `drainMs`. Resolves when the connection is closed.
   */
  async farewell(why: FarewellReason, reason: DownReason, drainMs: number): Promise<void> {
    if (this.#over) return;
    this.#control(encodeFrame(FrameKind.bye, Uint8Array.of(Farewell[why])));
    this.#write();
    const socket = this.#socket;
    this.#finish(reason, undefined);
    await closeGently(socket, drainMs, this.#owner.runtime);
  }

  /** True unless the session was over before. */
  #finish(reason: DownReason, detail: string | undefined): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#decoder.stop();
    this.#heartbeat?.cancel();
    this.#queuedBytes = 0;
    this.#chunk = undefined;
    this.#owner.ended(this, reason, detail);
    for (const wake of this.#wakers.splice(0)) wake();
    return true;
  }

  /** Makes room for `bytes` in the chunk and has it written when this turn of the event loop ends. */
  #reserve(bytes: number): Buffer {
    this.#queuedBytes += bytes;
    this.#saidSinceBeat = true;
    if (this.#chunk !== undefined && this.#chunkBytes + bytes > this.#chunk.length) this.#write();
    if (this.#chunk === undefined) {
      this.#chunk = bytes > CHUNK_BYTES ? Buffer.allocUnsafeSlow(bytes) : this.#owner.pool.take();
      this.#chunkBytes = 0;
    }
    if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(this.#flush);
    }
    return this.#chunk;
  }

  /** Queues a frame of the protocol itself, which may exceed the bound, but not ever further. */
  #control(frame: Uint8Array): void {
    if (this.#queuedBytes > this.#owner.maxQueueBytes) return;
    const chunk = this.#reserve(frame.length);
    chunk.set(frame, this.#chunkBytes);
    this.#chunkBytes += frame.length;
  }

  #write(): void {
    const chunk = this.#chunk;
    if (chunk === undefined || this.#over) return;
    this.#inFlight.push({ chunk, bytes: this.#chunkBytes });
    this.#chunk = undefined;
    this.#socket.write(
      this.#chunkBytes === chunk.length ? chunk : chunk.subarray(0, this.#chunkBytes),
      this.#wrote,
    );
  }

  #onWritten(error: Error | null | undefined): void {
    const done = this.#inFlight.shift();
    // After an error the kernel may still read the chunk: it is left to the garbage collector.
    if (done === undefined || this.#over || (error !== null && error !== undefined)) return;
    this.#owner.pool.give(done.chunk);
    this.#queuedBytes -= done.bytes;
    if (this.#inFlight.length === 0 && !this.#flushing) this.#write();
    if (this.#wakers.length > 0 && this.writable) for (const wake of this.#wakers.splice(0)) wake();
  }

  /**
   * Counts beats rather than compares clocks: a process that was suspended, or whose event loop was blocked, finds
   * one beat missed afterwards and not all of them.
   */
  #armHeartbeat(): void {
    this.#heartbeat = this.#owner.runtime.setTimer(this.#owner.heartbeatMs, () => {
      if (this.#heardSinceBeat) this.#missedBeats = 0;
      else if (++this.#missedBeats >= this.#owner.heartbeatMisses) {
        const silenceMs = this.#missedBeats * this.#owner.heartbeatMs;
        this.end('timeout', `nothing was heard for ${silenceMs} ms`);
        return;
      }
      if (!this.#heardSinceBeat || !this.#saidSinceBeat) this.#control(PING);
      this.#heardSinceBeat = false;
      this.#saidSinceBeat = false;
      this.#armHeartbeat();
    });
  }
}
