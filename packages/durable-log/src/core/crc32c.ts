const SLICES = 16;
/** The polynomial of Castagnoli, 0x1EDC6F41, with its bits reversed. */
const POLYNOMIAL = 0x82f63b78;

/** The register after one byte, by the byte. */
const t0 = Int32Array.from({ length: 256 }, (_, byte) => {
  let register = byte;
  for (let bit = 0; bit < 8; bit++) register = (register >>> 1) ^ ((register & 1) * POLYNOMIAL);
  return register;
});

/** The register after one more byte, a zero. */
function afterZero(table: Int32Array): Int32Array {
  return table.map((register) => (register >>> 8) ^ look(t0, register & 0xff));
}

const t1 = afterZero(t0);
const t2 = afterZero(t1);
const t3 = afterZero(t2);
const t4 = afterZero(t3);
const t5 = afterZero(t4);
const t6 = afterZero(t5);
const t7 = afterZero(t6);
const t8 = afterZero(t7);
const t9 = afterZero(t8);
const t10 = afterZero(t9);
const t11 = afterZero(t10);
const t12 = afterZero(t11);
const t13 = afterZero(t12);
const t14 = afterZero(t13);
const t15 = afterZero(t14);

/**
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes` from `start` to `end`. `seed` continues a checksum: the CRC
 * of two pieces is that of the second seeded with that of the first.
 *
 * Sixteen bytes per step by table (Kounavis and Berry, "A Systematic Approach to Building High Performance
 * Software-based CRC Generators", 2005): 1.6 to 2 GB/s where one byte per step gives 0.5.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  let register = ~seed;
  let at = start;
  for (; at + SLICES <= end; at += SLICES) {
    const first =
      register ^
      (byteAt(bytes, at) |
        (byteAt(bytes, at + 1) << 8) |
        (byteAt(bytes, at + 2) << 16) |
        (byteAt(bytes, at + 3) << 24));
    register =
      look(t15, first & 0xff) ^
      look(t14, (first >>> 8) & 0xff) ^
      look(t13, (first >>> 16) & 0xff) ^
      look(t12, first >>> 24) ^
      look(t11, byteAt(bytes, at + 4)) ^
      look(t10, byteAt(bytes, at + 5)) ^
      look(t9, byteAt(bytes, at + 6)) ^
      look(t8, byteAt(bytes, at + 7)) ^
      look(t7, byteAt(bytes, at + 8)) ^
      look(t6, byteAt(bytes, at + 9)) ^
      look(t5, byteAt(bytes, at + 10)) ^
      look(t4, byteAt(bytes, at + 11)) ^
      look(t3, byteAt(bytes, at + 12)) ^
      look(t2, byteAt(bytes, at + 13)) ^
      look(t1, byteAt(bytes, at + 14)) ^
      look(t0, byteAt(bytes, at + 15));
  }
  for (; at < end; at++) register = (register >>> 8) ^ look(t0, (register ^ byteAt(bytes, at)) & 0xff);
  return ~register >>> 0;
}

function look(table: Int32Array, byte: number): number {
  return table[byte] ?? 0;
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}
