import { integerOption } from './options.js';
import type { Runtime } from './runtime.js';

/**
 * A seeded generator of uniform numbers in [0, 1): the same seed gives the same sequence on every platform.
 * sfc32 by C. Doty-Humphrey, which passes PractRand; not for secrets.
 */
export function seededRandom(seed: number): () => number {
  integerOption('seed', seed, { min: Number.MIN_SAFE_INTEGER });
  let a = 0x9e3779b9;
  let b = seed | 0;
  let c = Math.floor(seed / 2 ** 32) | 0;
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  // Neighbouring seeds differ in a few bits only; the first rounds spread them over the whole state.
  for (let round = 0; round < 15; round++) next();
  return next;
}

/** A random identifier of 128 bits as 32 hexadecimal digits. */
export function randomId(runtime: Pick<Runtime, 'randomBytes'>): string {
  return Buffer.from(runtime.randomBytes(16)).toString('hex');
}
