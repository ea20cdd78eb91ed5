import { integerOption, QuorateError } from '@quorate/runtime';

/** Bytes from a network or a disk that are not what they must be. Code `MALFORMED_BYTES`. */
export class MalformedBytesError extends QuorateError {
  static override readonly brand: string = '@quorate/runtime#MalformedBytesError';

  /** Where in the bytes the reader stood. */
  readonly offset: number;

  constructor(offset: number, what: string) {
    super('MALFORMED_BYTES', `${what} at byte ${String(offset)}`);
    this.offset = offset;
  }
}

const INITIAL_BYTES = 64;
/** Up to so many bytes, text is looked through for anything but ASCII by hand. At most 127: the length is one byte. */
const SHORT_STRING = 64;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes fixed layouts in network byte order into a buffer that grows. */
export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  /** `capacity` is a guess of the size in bytes that saves growing. */
  constructor(capacity = INITIAL_BYTES) {
    this.#buffer = Buffer.allocUnsafe(Math.max(1, integerOption('capacity', capacity)));
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Appends an unsigned integer of 8 bits. */
  u8(value: number): this {
    const at = this.#reserve(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  /** Appends an unsigned integer of 16 bits. */
  u16(value: number): this {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  /** Appends an unsigned integer of 32 bits. */
  u32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  /** Appends a non-negative safe integer in 8 bytes. */
  u64(value: number): this {
    integerOption('value', value);
    const at = this.#reserve(8);
    this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), at);
    this.#buffer.writeUInt32BE(value % 2 ** 32, at + 4);
    return this;
  }

  /** Appends a floating-point number of 64 bits. */
  f64(value: number): this {
    const at = this.#reserve(8);
    this.#buffer.writeDoubleBE(value, at);
    return this;
  }

  /** Appends a non-negative safe integer in 1 to 8 bytes, 7 bits each, the lowest first (LEB128). */
  varint(value: number): this {
    if ((value & 0x7f) === value) {
      const at = this.#reserve(1);
      this.#buffer[at] = value;
      return this;
    }
    let rest = integerOption('value', value);
    while (rest >= 128) {
      this.u8((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    return this.u8(rest);
  }

  /** Appends bytes without their length. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** Appends bytes behind their length as a varint. */
  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  /** Appends a string as UTF-8 behind its length in bytes as a varint. A lone surrogate becomes U+FFFD. */
  string(text: string): this {
    const size = text.length;
    if (size <= SHORT_STRING) {
      // Identifiers, mostly: a call of the encoder costs more than they do.
      const at = this.#reserve(size + 1);
      const buffer = this.#buffer;
      buffer[at] = size;
      let index = 0;
      for (; index < size; index++) {
        const code = text.charCodeAt(index);
        if (code > 127) break;
        buffer[at + 1 + index] = code;
      }
      if (index === size) return this;
      this.#length = at;
    }
    return this.bytes(encoder.encode(text));
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#length));
  }

  #reserve(size: number): number {
    const at = this.#length;
    const needed = at + size;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      grown.set(this.#buffer.subarray(0, at));
      this.#buffer = grown;
    }
    this.#length = needed;
    return at;
  }
}

/**
 * Reads what {@link ByteWriter} wrote, from bytes that may be hostile. Every method throws
 * {@link MalformedBytesError} rather than read past the end, and allocates no more than the bytes that are there.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Where the next read starts. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** Reads an unsigned integer of 8 bits. */
  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  /** Reads an unsigned integer of 16 bits. */
  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  /** Reads an unsigned integer of 32 bits. */
  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  /** Reads an unsigned integer of 64 bits that must be safe. */
  u64(): number {
    const at = this.#take(8);
    const high = this.#bytes.readUInt32BE(at);
    if (high >= 2 ** 21) this.fail('an integer above 2^53 - 1', at);
    return high * 2 ** 32 + this.#bytes.readUInt32BE(at + 4);
  }

  /** Reads a floating-point number of 64 bits. */
  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** Reads a varint; it must be safe and in its shortest form. */
  varint(): number {
    const start = this.#offset;
    let value = 0;
    let scale = 1;
    for (let index = 0; index < 8; index++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 128) {
        if (byte === 0 && index > 0) this.fail('a varint longer than it needs to be', start);
        if (value > Number.MAX_SAFE_INTEGER) this.fail('an integer above 2^53 - 1', start);
        return value;
      }
      scale *= 128;
    }
    return this.fail('a varint of more than 8 bytes', start);
  }

  /** Reads `size` bytes, as a view of the input. */
  raw(size: number): Uint8Array {
    const at = this.#take(size);
    return this.#bytes.subarray(at, at + size);
  }

  /** Reads bytes behind their length, at most `maxBytes` of them, as a view of the input. */
  bytes(maxBytes: number = Number.MAX_SAFE_INTEGER): Uint8Array {
    const start = this.#offset;
    const size = this.varint();
    if (size > maxBytes)
      this.fail(`a length of ${String(size)} where ${String(maxBytes)} is the most`, start);
    return this.raw(size);
  }

  /** Reads a string of well-formed UTF-8 behind its length, at most `maxBytes` of it. */
  string(maxBytes: number = Number.MAX_SAFE_INTEGER): string {
    const start = this.#offset;
    const bytes = this.bytes(maxBytes);
    const end = this.#offset;
    if (bytes.length <= SHORT_STRING) {
      let at = end - bytes.length;
      while (at < end && (this.#bytes[at] ?? 0) < 128) at++;
      if (at === end) return this.#bytes.toString('latin1', end - bytes.length, end);
    }
    try {
      return decoder.decode(bytes);
    } catch {
      return this.fail('text that is not UTF-8', start);
    }
  }

  /** Throws unless every byte was read. */
  end(): void {
    if (this.remaining > 0) this.fail(`${String(this.remaining)} bytes too many`);
  }

  /** Refuses the input. */
  fail(what: string, offset: number = this.#offset): never {
    throw new MalformedBytesError(offset, what);
  }

  #take(size: number): number {
    const at = this.#offset;
    if (size > this.#bytes.length - at) {
      this.fail(`${String(size)} bytes expected where ${String(this.#bytes.length - at)} are left`);
    }
    this.#offset = at + size;
    return at;
  }
}
