import { InvalidOptionError, isIdentifier } from '@quorate/runtime';
import * as envelope from './core/envelope.js';

/** A larger frame gets a buffer of its own, so that one large message does not occupy memory for ever. */
const MAX_SCRATCH_BYTES = 64 * 1024;
const PRINTABLE_ASCII = /^[\x20-\x7e]+$/;

/**
 * Encodes frames into one buffer that is used again and again: a link has copied a frame by the time its `send`
 * returns. Each frame is valid until the next one is encoded.
 */
export class FrameEncoder {
  readonly #traceparent: (() => string | undefined) | undefined;
  #scratch = new Uint8Array(1024);
  /** A view of the start of `#scratch`, kept because frames of one length often follow each other. */
  #frame = this.#scratch;

  constructor(traceparent: (() => string | undefined) | undefined) {
    this.#traceparent = traceparent;
  }

  message(channel: Uint8Array, body: Uint8Array): Uint8Array {
    const trace = this.#trace();
    const frame = this.#take(envelope.messageOverhead(channel, trace) + body.length);
    envelope.writeMessage(frame, channel, trace, body);
    return frame;
  }

  request(id: number, budgetMs: number, channel: Uint8Array, body: Uint8Array): Uint8Array {
    const trace = this.#trace();
    const frame = this.#take(envelope.requestOverhead(channel, trace) + body.length);
    envelope.writeRequest(frame, id, budgetMs, channel, trace, body);
    return frame;
  }

  response(id: number, body: Uint8Array): Uint8Array {
    const frame = this.#take(envelope.RESPONSE_OVERHEAD + body.length);
    envelope.writeResponse(frame, id, body);
    return frame;
  }

  #take(size: number): Uint8Array {
    if (this.#frame.length === size) return this.#frame;
    if (size > this.#scratch.length) {
      if (size > MAX_SCRATCH_BYTES) return new Uint8Array(size);
      this.#scratch = new Uint8Array(Math.min(MAX_SCRATCH_BYTES, 2 * size));
    }
    return (this.#frame = this.#scratch.subarray(0, size));
  }

  #trace(): Uint8Array | undefined {
    const trace = this.#traceparent?.();
    if (trace === undefined) return undefined;
    if (!isIdentifier(trace) || !PRINTABLE_ASCII.test(trace)) {
      throw new InvalidOptionError('traceparent()', trace, 'printable ASCII of 1 to 255 characters');
    }
    return envelope.encodeName(trace);
  }
}

/** The trace context of a message that was read, unless it is none that could have been sent. */
export function readTrace(bytes: Uint8Array, reader: envelope.EnvelopeReader): string | undefined {
  if (reader.traceStart === reader.traceEnd) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'latin1',
    reader.traceStart,
    reader.traceEnd,
  );
  return PRINTABLE_ASCII.test(text) ? text : undefined;
}
