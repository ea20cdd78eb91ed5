import type { HashFunction } from './hash.js';
import { utf8 } from './utf8.js';

const P1 = 0x9e3779b1;
const P2 = 0x85ebca77;
const P3 = 0xc2b2ae3d;
const P4 = 0x27d4eb2f;
const P5 = 0x165667b1;

/** XXH32 by Y. Collet (xxHash specification, version 0.1.1). */
export const xxh32: HashFunction = Object.freeze({
  name: 'xxh32',
  string(text: string, seed: number): number {
    const length = text.length;
    let seen = 0;
    let i = 0;
    let h: number;
    if (length >= 16) {
      let v1 = (seed + P1 + P2) | 0;
      let v2 = (seed + P2) | 0;
      let v3 = seed | 0;
      let v4 = (seed - P1) | 0;
      const stripes = length - 16;
      do {
        const a = text.charCodeAt(i);
        const b = text.charCodeAt(i + 1);
        const c = text.charCodeAt(i + 2);
        const d = text.charCodeAt(i + 3);
        v1 = lane(v1, a | (b << 8) | (c << 16) | (d << 24));
        const e = text.charCodeAt(i + 4);
        const f = text.charCodeAt(i + 5);
        const g = text.charCodeAt(i + 6);
        const j = text.charCodeAt(i + 7);
        v2 = lane(v2, e | (f << 8) | (g << 16) | (j << 24));
        const k = text.charCodeAt(i + 8);
        const l = text.charCodeAt(i + 9);
        const m = text.charCodeAt(i + 10);
        const n = text.charCodeAt(i + 11);
        v3 = lane(v3, k | (l << 8) | (m << 16) | (n << 24));
        const o = text.charCodeAt(i + 12);
        const p = text.charCodeAt(i + 13);
        const q = text.charCodeAt(i + 14);
        const r = text.charCodeAt(i + 15);
        v4 = lane(v4, o | (p << 8) | (q << 16) | (r << 24));
        seen |= a | b | c | d | e | f | g | j | k | l | m | n | o | p | q | r;
        i += 16;
      } while (i <= stripes);
      h = merge(v1, v2, v3, v4);
    } else {
      h = (seed + P5) | 0;
    }
    h = (h + length) | 0;
    for (; i + 4 <= length; i += 4) {
      const a = text.charCodeAt(i);
      const b = text.charCodeAt(i + 1);
      const c = text.charCodeAt(i + 2);
      const d = text.charCodeAt(i + 3);
      seen |= a | b | c | d;
      h = tailWord(h, a | (b << 8) | (c << 16) | (d << 24));
    }
    for (; i < length; i++) {
      const unit = text.charCodeAt(i);
      seen |= unit;
      h = tailByte(h, unit);
    }
    // The units of a string of ASCII are its UTF-8; whether it is one is known when all were read.
    return seen < 0x80 ? avalanche(h) : xxh32.bytes(utf8(text), seed);
  },
  bytes(bytes: Uint8Array, seed: number): number {
    const length = bytes.length;
    let i = 0;
    let h: number;
    if (length >= 16) {
      let v1 = (seed + P1 + P2) | 0;
      let v2 = (seed + P2) | 0;
      let v3 = seed | 0;
      let v4 = (seed - P1) | 0;
      for (; i + 16 <= length; i += 16) {
        v1 = lane(v1, word(bytes, i));
        v2 = lane(v2, word(bytes, i + 4));
        v3 = lane(v3, word(bytes, i + 8));
        v4 = lane(v4, word(bytes, i + 12));
      }
      h = merge(v1, v2, v3, v4);
    } else {
      h = (seed + P5) | 0;
    }
    h = (h + length) | 0;
    for (; i + 4 <= length; i += 4) h = tailWord(h, word(bytes, i));
    for (; i < length; i++) h = tailByte(h, bytes[i] ?? 0);
    return avalanche(h);
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

function lane(state: number, block: number): number {
  const v = (state + Math.imul(block, P2)) | 0;
  return Math.imul((v << 13) | (v >>> 19), P1);
}

function merge(v1: number, v2: number, v3: number, v4: number): number {
  return (
    (((v1 << 1) | (v1 >>> 31)) +
      ((v2 << 7) | (v2 >>> 25)) +
      ((v3 << 12) | (v3 >>> 20)) +
      ((v4 << 18) | (v4 >>> 14))) |
    0
  );
}

function tailWord(state: number, block: number): number {
  const h = (state + Math.imul(block, P3)) | 0;
  return Math.imul((h << 17) | (h >>> 15), P4);
}

function tailByte(state: number, byte: number): number {
  const h = (state + Math.imul(byte, P5)) | 0;
  return Math.imul((h << 11) | (h >>> 21), P1);
}

function avalanche(state: number): number {
  let h = state;
  h = Math.imul(h ^ (h >>> 15), P2);
  h = Math.imul(h ^ (h >>> 13), P3);
  return (h ^ (h >>> 16)) >>> 0;
}
