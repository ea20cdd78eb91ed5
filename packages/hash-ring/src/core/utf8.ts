const encoder = new TextEncoder();

/** Strings up to this many UTF-16 units are encoded without an allocation. */
const SCRATCH_UNITS = 1024;
const scratch = new Uint8Array(SCRATCH_UNITS * 3);

/**
 * The UTF-8 of `text`, valid until the next call. The scratch buffer is safe to share: hashing is synchronous
 * and never calls out while it reads.
 */
export function utf8(text: string): Uint8Array {
  if (text.length > SCRATCH_UNITS) return encoder.encode(text);
  return scratch.subarray(0, encoder.encodeInto(text, scratch).written);
}
