import { identifierOption, isIdentifier } from '@quorate/runtime';
import type { ByteReader } from '@quorate/runtime/bytes';

/** The name of a process or replica: 1 to 255 bytes of UTF-8 without control characters, unique in its system. */
export type NodeId = string;

/** How two points of a causal history relate. */
export type Order = 'before' | 'after' | 'equal' | 'concurrent';

/**
 * Compares node ids as their UTF-8 bytes compare: negative, zero or positive. JavaScript's `<` compares UTF-16
 * code units instead, which puts characters above U+FFFF before U+E000 to U+FFFF.
 */
export function compareNodes(a: NodeId, b: NodeId): number {
  if (a === b) return 0;
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return bytewise(left) - bytewise(right);
  }
  return a.length - b.length;
}

/** Moves the surrogates, halves of the characters above U+FFFF, behind all other code units. */
function bytewise(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** A node id as an argument. */
export function nodeOption(option: string, value: unknown): NodeId {
  return identifierOption(option, value);
}

/** A node id from bytes that may be hostile. */
export function readNode(reader: ByteReader): NodeId {
  const start = reader.offset;
  const node = reader.string(255);
  if (!isIdentifier(node)) reader.fail('a node id that is empty or has control characters', start);
  return node;
}

/** The version that every encoding of this package begins with. */
const FORMAT_VERSION = 1;

/** What an encoding holds: its second byte, so that one kind is never taken for another. */
export const kinds = {
  hlc: 0x48,
  vector: 0x56,
  dvvs: 0x44,
  event: 0x45,
  bound: 0x42,
} as const;

/** The two bytes before every encoding. */
export function header(kind: keyof typeof kinds): Uint8Array {
  return Uint8Array.of(FORMAT_VERSION, kinds[kind]);
}

/** Refuses bytes of another version or kind. */
export function readHeader(reader: ByteReader, kind: keyof typeof kinds): void {
  const version = reader.u8();
  if (version !== FORMAT_VERSION) reader.fail(`format version ${String(version)} where 1 is known`, 0);
  if (reader.u8() !== kinds[kind]) reader.fail(`bytes that are no ${kind} encoding`, 1);
}
