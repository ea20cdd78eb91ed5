/**
 * Frames on a stream of bytes: `length u32 | kind u8 | body`, in network byte order, where `length` counts the
 * kind and the body. A length of zero is therefore never valid, and one that is negative as a signed integer is
 * far above every limit.
 */

/** Bytes in front of every body: the length and the kind. */
export const FRAME_HEADER_BYTES = 5;

/** The most bytes of a frame, its header included, that is taken from a peer that has not proved who it is. */
export const MAX_HANDSHAKE_FRAME_BYTES = 2048;

/** What a frame is. Below 16: the handshake; from 16 on: the session. */
export const FrameKind = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  commit: 5,
  refuse: 6,
  data: 16,
  ping: 17,
  pong: 18,
  bye: 19,
} as const;

/** One of {@link FrameKind}. */
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** For each kind of frame the largest `length` that its header may announce; zero where the kind is not welcome. */
export type FrameLimits = Uint32Array;

/** Why a stream of bytes is not a stream of frames. */
export interface FrameFault {
  readonly fault: 'empty' | 'unknown-kind' | 'oversized';
  /** The fault in words, with the offending number. */
  readonly text: string;
}

/** Takes the frames out of a {@link FrameDecoder}. */
export interface FrameSink {
  /** The bytes are not written to again; they may be a view of a chunk that was handed to `push`. */
  frame(kind: number, body: Uint8Array): void;
  /** What follows cannot be understood. Called at most once, and nothing is called afterwards. */
  fault(fault: FrameFault): void;
}

/** The limits while the handshake runs. */
export const HANDSHAKE_LIMITS: FrameLimits = limits(
  [
    FrameKind.hello,
    FrameKind.challenge,
    FrameKind.proof,
    FrameKind.welcome,
    FrameKind.commit,
    FrameKind.refuse,
  ].map((kind) => [kind, MAX_HANDSHAKE_FRAME_BYTES - FRAME_HEADER_BYTES]),
);

/** The limits within a session whose messages have at most `maxDataBytes`. */
export function sessionLimits(maxDataBytes: number): FrameLimits {
  return limits([
    [FrameKind.data, maxDataBytes],
    [FrameKind.ping, 0],
    [FrameKind.pong, 0],
    [FrameKind.bye, 1],
  ]);
}

function limits(bodies: readonly (readonly [kind: FrameKind, maxBodyBytes: number])[]): FrameLimits {
  const table = new Uint32Array(256);
  for (const [kind, maxBodyBytes] of bodies) table[kind] = maxBodyBytes + 1;
  return table;
}

/** Writes the header of a frame whose body has `bodyBytes`. */
export function writeFrameHeader(target: Uint8Array, at: number, kind: number, bodyBytes: number): void {
  const length = bodyBytes + 1;
  target[at] = length >>> 24;
  target[at + 1] = length >>> 16;
  target[at + 2] = length >>> 8;
  target[at + 3] = length;
  target[at + 4] = kind;
}

/** A whole frame in bytes of its own. */
export function encodeFrame(kind: FrameKind, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  writeFrameHeader(frame, 0, kind, body.length);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Cuts a stream of bytes into frames, however it is chunked.
 *
 * A frame that lies within one chunk is handed on as a view of it, without a copy; one that spans chunks is
 * copied once, into memory of exactly its size that is set aside when its header was found in order. A header
 * out of order is a fault before any of its body is kept, and nothing is decoded after a fault. So no more is
 * ever held than one frame within the limits.
 */
export class FrameDecoder {
  /** What is welcome from the next header on. May be changed between two frames, also by the sink. */
  limits: FrameLimits;
  /** Where frames go. May be changed between two frames, also by the sink itself. */
  sink: FrameSink;
  #stopped = false;
  /** The beginning of a header that was cut off, and how much of it there is. */
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  /** The frame that spans chunks, and how much of it there is. */
  #body: Uint8Array | undefined;
  #bodyBytes = 0;
  #kind = 0;

  constructor(limits: FrameLimits, sink: FrameSink) {
    this.limits = limits;
    this.sink = sink;
  }

  /** Bytes held back until the rest of their frame arrives, those set aside for it included. */
  get heldBytes(): number {
    return this.#headerBytes + (this.#body?.length ?? 0);
  }

  /** Decodes nothing more, not even the rest of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#body = undefined;
  }

  /** Hands the frames that `chunk` completes to the sink. */
  push(chunk: Uint8Array): void {
    if (!this.#goesOn()) return;
    const end = chunk.length;
    // A plain view is made in a third of the time that `subarray` of a Buffer takes.
    const { buffer, byteOffset } = chunk;
    let at = this.#body !== undefined || this.#headerBytes > 0 ? this.#resume(chunk) : 0;
    while (this.#goesOn() && end - at >= FRAME_HEADER_BYTES) {
      const length = readLength(chunk, at);
      const kind = chunk[at + 4] ?? 0;
      if (!this.#admit(length, kind)) return;
      const start = at + FRAME_HEADER_BYTES;
      const stop = start + length - 1;
      if (stop > end) {
        this.#begin(kind, length);
        this.#fill(chunk, start);
        return;
      }
      at = stop;
      this.sink.frame(kind, length === 1 ? NO_BYTES : new Uint8Array(buffer, byteOffset + start, length - 1));
    }
    if (this.#goesOn() && at < end) {
      this.#header.set(chunk.subarray(at, end), 0);
      this.#headerBytes = end - at;
      if (this.#headerBytes >= 4) this.#admitLength(readLength(this.#header, 0));
    }
  }

  /** Asked anew after each frame, since the sink may stop the decoder. */
  #goesOn(): boolean {
    return !this.#stopped;
  }

  /** Goes on with what the last chunk left unfinished. Returns where in `chunk` the next frame begins. */
  #resume(chunk: Uint8Array): number {
    let at = 0;
    if (this.#body === undefined) {
      at = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length);
      this.#header.set(chunk.subarray(0, at), this.#headerBytes);
      this.#headerBytes += at;
      if (this.#headerBytes < FRAME_HEADER_BYTES) {
        if (this.#headerBytes >= 4) this.#admitLength(readLength(this.#header, 0));
        return at;
      }
      this.#headerBytes = 0;
      const length = readLength(this.#header, 0);
      const kind = this.#header[4] ?? 0;
      if (!this.#admit(length, kind)) return at;
      this.#begin(kind, length);
    }
    return this.#fill(chunk, at);
  }

  #begin(kind: number, length: number): void {
    this.#kind = kind;
    this.#body = length === 1 ? NO_BYTES : new Uint8Array(length - 1);
    this.#bodyBytes = 0;
  }

  /** Moves bytes of `chunk` from `at` on into the unfinished frame, and hands it on when it is whole. */
  #fill(chunk: Uint8Array, at: number): number {
    const body = this.#body;
    if (body === undefined) return at;
    const stop = Math.min(chunk.length, at + body.length - this.#bodyBytes);
    body.set(chunk.subarray(at, stop), this.#bodyBytes);
    this.#bodyBytes += stop - at;
    if (this.#bodyBytes === body.length) {
      this.#body = undefined;
      this.sink.frame(this.#kind, body);
    }
    return stop;
  }

  #admit(length: number, kind: number): boolean {
    const limit = this.limits[kind] ?? 0;
    if (length !== 0 && length <= limit) return true;
    if (length === 0) return this.#fail('empty', 'a frame of no bytes');
    if (limit === 0) return this.#fail('unknown-kind', `a frame of kind ${kind}, which is not expected here`);
    return this.#fail('oversized', `a frame of ${length} bytes where ${limit} is the most`);
  }

  /** Refuses a length as soon as its four bytes are there, whatever the kind will be. */
  #admitLength(length: number): void {
    if (length === 0) this.#fail('empty', 'a frame of no bytes');
    else if (length > this.#largest()) this.#fail('oversized', `a frame of ${length} bytes`);
  }

  #largest(): number {
    let largest = 0;
    for (const limit of this.limits) largest = Math.max(largest, limit);
    return largest;
  }

  #fail(fault: FrameFault['fault'], text: string): false {
    this.stop();
    this.sink.fault({ fault, text });
    return false;
  }
}

function readLength(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  );
}
