import { integerOption } from '@quorate/runtime';
import type { Key, Placement } from './placement.js';

/** Options of {@link cacheHotKeys}. */
export interface HotKeyOptions {
  /**
   * At most this many keys are remembered.
   * @defaultValue 8192
   */
  readonly maxKeys?: number;
}

/**
 * A `get` that remembers the owners of the string keys used most recently.
 *
 * Worth it for long keys, for expensive strategies (rendezvous over many nodes, ketama's MD5), or for a small set of
 * keys; a ring's own lookup is about as fast as the cache. A placement never changes, so the cache never lies:
 * wrap each new snapshot anew.
 */
export function cacheHotKeys(
  placement: Placement,
  options: HotKeyOptions = {},
): (key: Key) => string | undefined {
  // Two generations in place of a list by age: a key found in the older one moves to the younger one, and the older
  // one is dropped when the younger is full.
  const half = Math.ceil(integerOption('maxKeys', options.maxKeys ?? 8192, { min: 2 }) / 2);
  let young = new Map<string, string | undefined>();
  let old = new Map<string, string | undefined>();
  return (key) => {
    if (typeof key !== 'string') return placement.get(key);
    let owner = young.get(key);
    if (owner !== undefined) return owner;
    owner = old.get(key) ?? placement.get(key);
    if (owner === undefined) return undefined;
    if (young.size >= half) {
      old = young;
      young = new Map();
    }
    young.set(key, owner);
    return owner;
  };
}
