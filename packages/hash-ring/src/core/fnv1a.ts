import type { HashFunction } from './hash.js';
import { utf8 } from './utf8.js';

const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/**
 * FNV-1a of 32 bits, by G. Fowler, L. C. Noll and K.-P. Vo (draft-eastlake-fnv). The seed is added to the offset
 * basis modulo 2^32, so seed 0 is the standard function.
 *
 * Its high bits depend weakly on the last bytes of short keys, and a ring reads the high bits first: take it
 * where another program dictates it, and `xxh32` otherwise.
 */
export const fnv1a: HashFunction = Object.freeze({
  name: 'fnv1a',
  string(text: string, seed: number): number {
    let h = (OFFSET_BASIS + seed) | 0;
    let seen = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      seen |= unit;
      h = Math.imul(h ^ unit, PRIME);
    }
    return seen < 0x80 ? h >>> 0 : fnv1a.bytes(utf8(text), seed);
  },
  bytes(bytes: Uint8Array, seed: number): number {
    let h = (OFFSET_BASIS + seed) | 0;
    for (const byte of bytes) h = Math.imul(h ^ byte, PRIME);
    return h >>> 0;
  },
});
