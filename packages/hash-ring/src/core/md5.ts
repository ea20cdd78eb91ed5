import type { HashFunction } from './hash.js';
import { utf8 } from './utf8.js';

/** Per-round shift amounts (RFC 1321, section 3.4). */
const SHIFTS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
] as const;

/** T[i] = floor(2^32 * abs(sin(i + 1))) (RFC 1321, section 3.4). */
const TABLE = Int32Array.from({ length: 64 }, (_, i) => Math.floor(2 ** 32 * Math.abs(Math.sin(i + 1))));
const SHIFT = Uint8Array.from({ length: 64 }, (_, i) => SHIFTS[i >> 4]?.[i & 3] ?? 0);
const WORD = Uint8Array.from({ length: 64 }, (_, i) =>
  i < 16 ? i : i < 32 ? (5 * i + 1) % 16 : i < 48 ? (3 * i + 5) % 16 : (7 * i) % 16,
);

const block = new Int32Array(16);
const state = new Int32Array(4);

/**
 * The MD5 of `bytes` (RFC 1321) as four little-endian words, valid until the next call. Written out rather than
 * taken from OpenSSL, where it is several times slower for short keys and missing under a FIPS policy; it
 * places keys and protects nothing.
 */
export function md5Words(bytes: Uint8Array): Int32Array {
  const length = bytes.length;
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
  const blocks = (length + 8) >> 6;
  for (let n = 0; n <= blocks; n++) {
    block.fill(0);
    const from = n << 6;
    const to = Math.min(length, from + 64);
    for (let i = from; i < to; i++) put(i - from, bytes[i] ?? 0);
    if (length >= from && length < from + 64) put(length - from, 0x80);
    if (n === blocks) {
      block[14] = length << 3;
      block[15] = Math.floor(length / 2 ** 29);
    }
    compress();
  }
  return state;
}

/**
 * The first four bytes of the MD5 of a key, little-endian: what libketama calls `ketama_hashi`. A seed other
 * than 0 is put before the key as four little-endian bytes.
 */
export const md5: HashFunction = Object.freeze({
  name: 'md5',
  string: (text: string, seed: number): number => md5.bytes(utf8(text), seed),
  bytes(bytes: Uint8Array, seed: number): number {
    if (seed === 0) return (md5Words(bytes)[0] ?? 0) >>> 0;
    const seeded = new Uint8Array(bytes.length + 4);
    new DataView(seeded.buffer).setUint32(0, seed, true);
    seeded.set(bytes, 4);
    return (md5Words(seeded)[0] ?? 0) >>> 0;
  },
});

function put(at: number, byte: number): void {
  const index = at >> 2;
  block[index] = (block[index] ?? 0) | (byte << ((at & 3) << 3));
}

function compress(): void {
  let a = state[0] ?? 0;
  let b = state[1] ?? 0;
  let c = state[2] ?? 0;
  let d = state[3] ?? 0;
  for (let i = 0; i < 64; i++) {
    const f = i < 16 ? (b & c) | (~b & d) : i < 32 ? (d & b) | (~d & c) : i < 48 ? b ^ c ^ d : c ^ (b | ~d);
    const sum = (a + f + (TABLE[i] ?? 0) + (block[WORD[i] ?? 0] ?? 0)) | 0;
    const shift = SHIFT[i] ?? 0;
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  state[0] = (state[0] ?? 0) + a;
  state[1] = (state[1] ?? 0) + b;
  state[2] = (state[2] ?? 0) + c;
  state[3] = (state[3] ?? 0) + d;
}
