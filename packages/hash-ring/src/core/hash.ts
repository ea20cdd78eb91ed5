import { InvalidOptionError } from '@quorate/runtime';
import type { Key } from '../placement.js';
import { fnv1a } from './fnv1a.js';
import { md5 } from './md5.js';
import { murmur3 } from './murmur3.js';
import { xxh32 } from './xxh32.js';

/**
 * A hash of keys into 32 bits.
 *
 * `string` must give what `bytes` gives for the UTF-8 of the string (a lone surrogate counts as U+FFFD), so that
 * a program in another language that hashes bytes agrees. The built-in ones do so without making the bytes.
 */
export interface HashFunction {
  /** Names the function in snapshots and checksums: 1 to 32 characters. */
  readonly name: string;
  /** 32 bits; a signed integer counts as the unsigned one of the same bits. */
  string(text: string, seed: number): number;
  /** As `string`. */
  bytes(bytes: Uint8Array, seed: number): number;
}

/** The hash functions that come with the package. */
export type HashName = 'xxh32' | 'murmur3' | 'fnv1a' | 'md5';

const BUILT_IN: Readonly<Record<HashName, HashFunction>> = { xxh32, murmur3, fnv1a, md5 };

/** The hash function of that name, or the given one, checked. */
export function hashOption(option: string, value: HashName | HashFunction): HashFunction {
  if (typeof value === 'string') {
    if (Object.hasOwn(BUILT_IN, value)) return BUILT_IN[value];
  } else if (isHashFunction(value)) {
    return value;
  }
  throw new InvalidOptionError(
    option,
    value,
    `${Object.keys(BUILT_IN)
      .map((name) => JSON.stringify(name))
      .join(', ')} or a HashFunction with a name of 1 to 32 characters`,
  );
}

function isHashFunction(value: unknown): value is HashFunction {
  if (typeof value !== 'object' || value === null) return false;
  const { name, string, bytes } = value as Partial<HashFunction>;
  return (
    typeof name === 'string' &&
    /^[\x21-\x7e]{1,32}$/.test(name) &&
    typeof string === 'function' &&
    typeof bytes === 'function'
  );
}

/** Hashes a key of either kind to an unsigned integer of 32 bits, also where a hash function of one's own is signed. */
export function hashKey(hash: HashFunction, seed: number, key: Key): number {
  if (typeof key === 'string') return hash.string(key, seed) >>> 0;
  if (key instanceof Uint8Array) return hash.bytes(key, seed) >>> 0;
  throw new InvalidOptionError('key', key, 'a string or a Uint8Array');
}

/** Spreads the bits of a 32-bit integer over all of them; a bijection (fmix32 of A. Appleby's MurmurHash3). */
export function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
