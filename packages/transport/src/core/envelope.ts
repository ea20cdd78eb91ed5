/*
 * The envelope: what the transport puts around a body to make a frame of it. All integers are in network byte order.
 *
 *   byte 0      version, 1
 *   byte 1      kind; the high bit says that a trace context is present (message and request only)
 *   message     u8 length of channel, channel, [u8 length, trace context], body
 *   request     u32 id, u32 budget in ms, u8 length of channel, channel, [u8 length, trace context], body
 *   response    u32 id, body
 *   error       u32 id, u8 code, text
 *   cancel      u32 id
 *
 * Described in docs/formats.md and held still by test/golden. The offsets are written out by hand because this runs
 * once or twice for every message of a process.
 */

/** The version that this code writes, and the only one that it reads. */
export const ENVELOPE_VERSION = 1;

export const KIND_MESSAGE = 1;
export const KIND_REQUEST = 2;
export const KIND_RESPONSE = 3;
export const KIND_ERROR = 4;
export const KIND_CANCEL = 5;

const TRACED = 0x80;
const ID_END = 6;
const MAX_U32 = 0xffff_ffff;

/** Why a request was not answered, as it travels. */
export const FAULT_NO_HANDLER = 1;
export const FAULT_HANDLER = 2;
export const FAULT_OVERLOADED = 3;
export const FAULT_CLOSING = 4;

/** An error's text is cut to this many bytes. */
export const MAX_FAULT_BYTES = 512;

/** How many bytes a message's envelope takes besides its body. `channel` and `trace` begin with their length. */
export function messageOverhead(channel: Uint8Array, trace: Uint8Array | undefined): number {
  return 2 + channel.length + (trace?.length ?? 0);
}

/** How many bytes a request's envelope takes besides its body. */
export function requestOverhead(channel: Uint8Array, trace: Uint8Array | undefined): number {
  return 10 + channel.length + (trace?.length ?? 0);
}

/** How many bytes a response's envelope takes besides its body. */
export const RESPONSE_OVERHEAD = ID_END;

/** Writes a message to the start of `target`, which is large enough, and returns its length. */
export function writeMessage(
  target: Uint8Array,
  channel: Uint8Array,
  trace: Uint8Array | undefined,
  body: Uint8Array,
): number {
  target[0] = ENVELOPE_VERSION;
  target[1] = trace === undefined ? KIND_MESSAGE : KIND_MESSAGE | TRACED;
  return writeTail(target, 2, channel, trace, body);
}

/** Writes a request to the start of `target` and returns its length. A budget above 2^32 - 1 ms is cut to that. */
export function writeRequest(
  target: Uint8Array,
  id: number,
  budgetMs: number,
  channel: Uint8Array,
  trace: Uint8Array | undefined,
  body: Uint8Array,
): number {
  target[0] = ENVELOPE_VERSION;
  target[1] = trace === undefined ? KIND_REQUEST : KIND_REQUEST | TRACED;
  writeU32(target, 2, id);
  writeU32(target, ID_END, Math.min(Math.ceil(budgetMs), MAX_U32));
  return writeTail(target, 10, channel, trace, body);
}

/** Writes a response to the start of `target` and returns its length. */
export function writeResponse(target: Uint8Array, id: number, body: Uint8Array): number {
  target[0] = ENVELOPE_VERSION;
  target[1] = KIND_RESPONSE;
  writeU32(target, 2, id);
  target.set(body, ID_END);
  return ID_END + body.length;
}

/** The frame that refuses a request or reports that its handler failed. */
export function errorFrame(id: number, code: number, text: string): Uint8Array {
  const frame = new Uint8Array(ID_END + 1 + MAX_FAULT_BYTES);
  frame[0] = ENVELOPE_VERSION;
  frame[1] = KIND_ERROR;
  writeU32(frame, 2, id);
  frame[ID_END] = code;
  // encodeInto never cuts a character in two.
  const { written } = encoder.encodeInto(text, frame.subarray(ID_END + 1));
  return frame.subarray(0, ID_END + 1 + written);
}

/** The frame that tells the handler of a request that nobody waits for its answer any more. */
export function cancelFrame(id: number): Uint8Array {
  const frame = new Uint8Array(ID_END);
  frame[0] = ENVELOPE_VERSION;
  frame[1] = KIND_CANCEL;
  writeU32(frame, 2, id);
  return frame;
}

/** A name as it travels: its bytes behind their length. The name is an identifier of at most 255 bytes. */
export function encodeName(name: string): Uint8Array {
  const bytes = encoder.encode(name);
  const wire = new Uint8Array(1 + bytes.length);
  wire[0] = bytes.length;
  wire.set(bytes, 1);
  return wire;
}

/**
 * Reads one envelope after the other into the same fields, so that reading allocates nothing. The bytes may be
 * hostile: every field that is set after `read` returned `undefined` lies within them.
 */
export class EnvelopeReader {
  kind = 0;
  /** Of requests, responses, errors and cancels. */
  id = 0;
  /** Of requests: milliseconds. */
  budgetMs = 0;
  /** Of errors. */
  code = 0;
  /** Of messages and requests: where the channel's bytes are. */
  channelStart = 0;
  channelEnd = 0;
  /** Of messages and requests: where the trace context is; empty when there is none. */
  traceStart = 0;
  traceEnd = 0;
  bodyStart = 0;

  /** Returns what is wrong with the bytes, or `undefined`. */
  read(bytes: Uint8Array): string | undefined {
    if (bytes.length < 2) return 'shorter than an envelope';
    if (bytes[0] !== ENVELOPE_VERSION) return `version ${String(bytes[0])} is not known`;
    const kind = (bytes[1] ?? 0) & ~TRACED;
    const traced = ((bytes[1] ?? 0) & TRACED) !== 0;
    this.kind = kind;
    if (kind === KIND_MESSAGE) return this.#readTail(bytes, 2, traced);
    if (kind < KIND_MESSAGE || kind > KIND_CANCEL) return `kind ${String(bytes[1])} is not known`;
    if (bytes.length < ID_END) return 'cut within the id';
    this.id = readU32(bytes, 2);
    if (kind === KIND_REQUEST) {
      if (bytes.length < 10) return 'cut within the budget';
      this.budgetMs = readU32(bytes, ID_END);
      return this.#readTail(bytes, 10, traced);
    }
    if (traced) return `kind ${String(bytes[1])} is not known`;
    if (kind === KIND_CANCEL) return bytes.length === ID_END ? undefined : 'bytes after a cancel';
    if (kind === KIND_RESPONSE) {
      this.bodyStart = ID_END;
      return undefined;
    }
    if (bytes.length <= ID_END) return 'an error without its code';
    if (bytes.length > ID_END + 1 + MAX_FAULT_BYTES) return 'an error text that is too long';
    this.code = bytes[ID_END] ?? 0;
    this.bodyStart = ID_END + 1;
    return undefined;
  }

  #readTail(bytes: Uint8Array, at: number, traced: boolean): string | undefined {
    const channelStart = at + 1;
    const channelEnd = channelStart + (bytes[at] ?? 0);
    if (channelEnd === channelStart) return 'no channel';
    if (channelEnd > bytes.length) return 'cut within the channel';
    this.channelStart = channelStart;
    this.channelEnd = channelEnd;
    if (!traced) {
      this.traceStart = this.traceEnd = this.bodyStart = channelEnd;
      return undefined;
    }
    const traceStart = channelEnd + 1;
    const traceEnd = traceStart + (bytes[channelEnd] ?? 0);
    if (traceEnd === traceStart || traceEnd > bytes.length) return 'cut within the trace context';
    this.traceStart = traceStart;
    this.traceEnd = this.bodyStart = traceEnd;
    return undefined;
  }
}

/** What `bytes.subarray(start)` is, made in half the time. */
export function viewFrom(bytes: Uint8Array, start: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, bytes.length - start);
}

const encoder = new TextEncoder();

function writeTail(
  target: Uint8Array,
  at: number,
  channel: Uint8Array,
  trace: Uint8Array | undefined,
  body: Uint8Array,
): number {
  // Names are short: byte by byte that takes less time than one call of `set`.
  for (let index = 0; index < channel.length; index++) target[at + index] = channel[index] ?? 0;
  let end = at + channel.length;
  if (trace !== undefined) {
    target.set(trace, end);
    end += trace.length;
  }
  target.set(body, end);
  return end + body.length;
}

function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  );
}
