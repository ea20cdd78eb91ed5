import { createHash } from 'node:crypto';
import { fnv1a, type HashFunction, md5, md5Words, mix32, murmur3, xxh32 } from '@quorate/hash-ring';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The verification value of SMHasher (A. Appleby): a hash of the hashes of all prefixes of 0, 1, 2, ..., 255. */
function smhasherVerification(hash: HashFunction): number {
  const hashes = new DataView(new ArrayBuffer(256 * 4));
  const key = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (let i = 0; i < 256; i++) hashes.setUint32(4 * i, hash.bytes(key.subarray(0, i), 256 - i), true);
  return hash.bytes(new Uint8Array(hashes.buffer), 0);
}

describe('xxh32', () => {
  it('has the verification value that SMHasher lists', () => {
    expect(smhasherVerification(xxh32)).toBe(0xba88b743);
  });

  it.each([
    ['', 0, 0x02cc5d05],
    ['', 1, 0x0b2cb792],
    ['1', 0, 0xb6ecc8b2],
    ['123', 1, 0x99280b78],
    ['123456789ABCDEF', 0, 0x576e3cf9],
    ['123456789ABCDEF1', 0x7fffffff, 0xc355753c],
    ['123456789ABCDEF12345', 0, 0x8cc12eb4],
    ['123456789ABCDEF123456789ABCDEF12', 1, 0xc2b7bc24],
    ['123456789ABCDEF123456789ABCDEF123456789', 0x7fffffff, 0xf988dace],
  ])('hashes %j with seed %i as the reference implementation does', (text, seed, expected) => {
    expect(xxh32.string(text, seed)).toBe(expected);
    expect(xxh32.bytes(bytesOf(text), seed)).toBe(expected);
  });

  it('hashes a hundred KiB of 0xff as the reference implementation does', () => {
    expect(xxh32.bytes(new Uint8Array(102_400).fill(0xff), 0)).toBe(0x81e25350);
  });
});

describe('murmur3', () => {
  it('has the verification value that SMHasher lists', () => {
    expect(smhasherVerification(murmur3)).toBe(0xb0f57ee3);
  });

  // I. Boyd's vectors (stackoverflow.com/a/31929528), which implementations in many languages test against.
  it.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['!Ce', 0, 0x7e4a8634],
    ['!', 0, 0x72661cf4],
    ['\0\0\0\0', 0, 0x2362f9de],
    ['\0\0\0', 0, 0x85f0b427],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['abc', 0x9747b28c, 0xc84a62dd],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['ππππππππ', 0x9747b28c, 0xd58063c1],
    ['The quick brown fox jumps over the lazy dog', 0x9747b28c, 0x2fa826cd],
    ['abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq', 0, 0xee925b90],
    ['a'.repeat(256), 0x9747b28c, 0x37405bdc],
  ])('hashes %j with seed %i as published', (text, seed, expected) => {
    expect(murmur3.string(text, seed)).toBe(expected);
    expect(murmur3.bytes(bytesOf(text), seed)).toBe(expected);
  });

  it('reads words of bytes above 127 as little-endian', () => {
    expect(murmur3.bytes(Uint8Array.of(0x21, 0x43, 0x65, 0x87), 0)).toBe(0xf55b516b);
    expect(murmur3.bytes(Uint8Array.of(0x21, 0x43, 0x65, 0x87), 0x5082edee)).toBe(0x2362f9de);
    expect(murmur3.bytes(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0)).toBe(0x76293b50);
  });
});

describe('fnv1a', () => {
  // L. C. Noll's FNV test suite (draft-eastlake-fnv, appendix).
  it.each([
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['b', 0xe70c2de5],
    ['foob', 0x3f5076ef],
    ['fooba', 0x39aaa18a],
    ['foobar', 0xbf9cf968],
  ])('hashes %j as published', (text, expected) => {
    expect(fnv1a.string(text, 0)).toBe(expected);
    expect(fnv1a.bytes(bytesOf(text), 0)).toBe(expected);
  });
});

describe('md5', () => {
  it('gives the digests of the test suite of RFC 1321, section A.5', () => {
    const hex = (text: string): string =>
      Buffer.from(Int32Array.from(md5Words(bytesOf(text))).buffer).toString('hex');
    expect(hex('')).toBe('d41d8cd98f00b204e9800998ecf8427e');
    expect(hex('abc')).toBe('900150983cd24fb0d6963f7d28e17f72');
    expect(hex('12345678901234567890123456789012345678901234567890123456789012345678901234567890')).toBe(
      '57edf4a22be3c955ac49da2e2107b67a',
    );
  });

  it('agrees with OpenSSL on messages of every length around the block boundaries', () => {
    for (let length = 0; length < 200; length++) {
      const message = new Uint8Array(length).fill(length);
      const expected = createHash('md5').update(message).digest().readUInt32LE(0);
      expect(md5.bytes(message, 0)).toBe(expected);
    }
  });
});

describe.each([xxh32, murmur3, fnv1a, md5])('$name', (hash) => {
  it('hashes a string as the UTF-8 of the string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), fc.nat(0xffffffff), (text, seed) => {
        expect(hash.string(text, seed)).toBe(hash.bytes(bytesOf(text), seed));
      }),
    );
  });

  it('hashes a long string, and one with a lone surrogate, as their UTF-8', () => {
    for (const text of ['é'.repeat(5000), 'x\ud800y', '\ud83d']) {
      expect(hash.string(text, 7)).toBe(hash.bytes(bytesOf(text), 7));
    }
  });

  it('gives unsigned integers of 32 bits', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(0xffffffff), (bytes, seed) => {
        const value = hash.bytes(bytes, seed);
        expect(value >>> 0).toBe(value);
      }),
    );
  });
});

it('mix32 is fmix32 of MurmurHash3', () => {
  expect([0, 1, 2, 0xdeadbeef, 0xffffffff].map(mix32)).toEqual([
    0, 0x514e28b7, 0x30f4c306, 0x0de5c6a9, 0x81f16f39,
  ]);
});
