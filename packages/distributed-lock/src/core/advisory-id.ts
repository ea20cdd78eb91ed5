import { createHash } from 'node:crypto';

/**
 * The number of 64 bits that PostgreSQL knows an advisory lock by, as a decimal: the first eight bytes of the SHA-256 of
 * `quorate-lock:` and the key, big-endian and signed. Two keys with one number are possible; they exclude each other.
 */
export function advisoryId(key: string): string {
  return createHash('sha256').update(`quorate-lock:${key}`, 'utf8').digest().readBigInt64BE(0).toString();
}

/**
 * The name that MySQL knows a lock by: names are at most 64 characters there, alike in upper and lower case, and common
 * to all databases of a server. Half of the SHA-256 of a scope and the key.
 */
export function namedLockId(scope: string, key: string): string {
  const hash = createHash('sha256').update(`${scope}\0${key}`, 'utf8').digest('hex');
  return `quorate:${hash.slice(0, 32)}`;
}
