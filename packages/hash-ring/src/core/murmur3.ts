import type { HashFunction } from './hash.js';
import { utf8 } from './utf8.js';

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** MurmurHash3_x86_32 by A. Appleby (SMHasher). */
export const murmur3: HashFunction = Object.freeze({
  name: 'murmur3',
  string(text: string, seed: number): number {
    const length = text.length;
    const blocks = length & ~3;
    let h = seed | 0;
    let seen = 0;
    let i = 0;
    for (; i < blocks; i += 4) {
      const a = text.charCodeAt(i);
      const b = text.charCodeAt(i + 1);
      const c = text.charCodeAt(i + 2);
      const d = text.charCodeAt(i + 3);
      seen |= a | b | c | d;
      h = round(h, a | (b << 8) | (c << 16) | (d << 24));
    }
    let tail = 0;
    for (let shift = 0; i < length; i++, shift += 8) {
      const unit = text.charCodeAt(i);
      seen |= unit;
      tail |= unit << shift;
    }
    // The units of a string of ASCII are its UTF-8; whether it is one is known when all were read.
    return seen < 0x80 ? finish(h, tail, length) : murmur3.bytes(utf8(text), seed);
  },
  bytes(bytes: Uint8Array, seed: number): number {
    const length = bytes.length;
    const blocks = length & ~3;
    let h = seed | 0;
    let i = 0;
    for (; i < blocks; i += 4) h = round(h, word(bytes, i));
    let tail = 0;
    for (let shift = 0; i < length; i++, shift += 8) tail |= (bytes[i] ?? 0) << shift;
    return finish(h, tail, length);
  },
});

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

function scramble(block: number): number {
  const k = Math.imul(block, C1);
  return Math.imul((k << 15) | (k >>> 17), C2);
}

function round(state: number, block: number): number {
  const h = state ^ scramble(block);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(state: number, tail: number, length: number): number {
  // Without a tail this xors zero, as the reference does by skipping the step.
  let h = state ^ scramble(tail) ^ length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
