import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, MalformedBytesError } from '@quorate/runtime/bytes';

const safe = fc.oneof(fc.maxSafeNat(), fc.nat(300));

describe('bytes', () => {
  it('reads back what was written, and nothing is left', () => {
    fc.assert(
      fc.property(
        safe,
        fc.uint8Array(),
        fc.string({ unit: 'grapheme' }),
        fc.double(),
        (n, bytes, text, real) => {
          const writer = new ByteWriter(1)
            .u8(n & 0xff)
            .u16(n & 0xffff)
            .u32(n % 2 ** 32)
            .u64(n)
            .varint(n)
            .f64(real)
            .bytes(bytes)
            .string(text)
            .raw(bytes);
          const written = writer.finish();
          expect(written.length).toBe(writer.length);
          const reader = new ByteReader(written);
          expect(reader.u8()).toBe(n & 0xff);
          expect(reader.u16()).toBe(n & 0xffff);
          expect(reader.u32()).toBe(n % 2 ** 32);
          expect(reader.u64()).toBe(n);
          expect(reader.varint()).toBe(n);
          expect(Object.is(reader.f64(), real)).toBe(true);
          expect(new Uint8Array(reader.bytes())).toEqual(bytes);
          expect(reader.string()).toBe(text);
          expect(new Uint8Array(reader.raw(bytes.length))).toEqual(bytes);
          reader.end();
        },
      ),
    );
  });

  it('throws nothing but MalformedBytesError on garbage, and never reads past the end', () => {
    const reads = ['u8', 'u16', 'u32', 'u64', 'varint', 'f64', 'bytes', 'string'] as const;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(fc.constantFrom(...reads)), (bytes, calls) => {
        const reader = new ByteReader(bytes);
        try {
          for (const call of calls) reader[call]();
          reader.end();
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
        expect(reader.offset).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  it('keeps its offset inside a larger buffer', () => {
    const outer = Uint8Array.of(9, 9, 1, 2, 9);
    const reader = new ByteReader(outer.subarray(2, 4));
    expect(reader.u16()).toBe(0x0102);
    expect(reader.remaining).toBe(0);
  });

  it.each([
    ['a number of 64 bits that is not safe', [0, 0x20, 0, 0, 0, 0, 0, 0], (r: ByteReader) => r.u64()],
    ['a varint that is not in its shortest form', [0x80, 0], (r: ByteReader) => r.varint()],
    ['a varint without an end', Array<number>(9).fill(0xff), (r: ByteReader) => r.varint()],
    ['a length beyond the end', [5, 1], (r: ByteReader) => r.bytes()],
    ['a length beyond the limit', [2, 1, 1], (r: ByteReader) => r.bytes(1)],
    ['text that is not UTF-8', [1, 0xff], (r: ByteReader) => r.string()],
    ['bytes that were not read', [0], (r: ByteReader) => r.end()],
  ])('refuses %s', (_, bytes, read) => {
    expect(() => read(new ByteReader(Uint8Array.from(bytes)))).toThrow(MalformedBytesError);
  });

  it('refuses to write what cannot be read back', () => {
    expect(() => new ByteWriter().u64(-1)).toThrow();
    expect(() => new ByteWriter().varint(1.5)).toThrow();
    expect(() => new ByteWriter().u8(256)).toThrow();
  });

  it('survives growth after finish: the copy stays as it was', () => {
    const writer = new ByteWriter(1).u8(1);
    const first = writer.finish();
    writer.u8(2);
    expect(first).toEqual(Uint8Array.of(1));
  });
});
