import { describeValue, InvalidOptionError, isIdentifier } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { type Hlc, hlcOption, MAX_HLC_LOGICAL } from './hlc.js';
import { header, type NodeId, nodeOption, readHeader, readNode } from './node.js';

const LOGICAL_RANGE = MAX_HLC_LOGICAL + 1;
const LOGICAL_BITS = 16n;
const TEXT = /^([0-9a-f]{12})([0-9a-f]{4})-(.+)$/s;

/** Wall and logical as one unsigned integer of 64 bits, in the same order; the node is left out. */
export function hlcToBigInt(time: Hlc): bigint {
  hlcOption('time', time);
  return (BigInt(time.wall) << LOGICAL_BITS) | BigInt(time.logical);
}

/** The time of `node` that {@link hlcToBigInt} made. */
export function hlcFromBigInt(bits: bigint, node: NodeId): Hlc {
  if (typeof bits !== 'bigint' || bits < 0n || bits >> 64n !== 0n)
    throw new InvalidOptionError('bits', bits, 'a bigint from 0 to 2^64 - 1');
  return {
    wall: Number(bits >> LOGICAL_BITS),
    logical: Number(bits & BigInt(MAX_HLC_LOGICAL)),
    node: nodeOption('node', node),
  };
}

/**
 * Wall and logical as 8 bytes that compare like the times: a sort key for an index. The node is left out, and so
 * is a version: the layout never changes.
 */
export function hlcToBytes(time: Hlc): Uint8Array {
  hlcOption('time', time);
  const writer = new ByteWriter(8);
  writeTime(writer, time);
  return writer.finish();
}

/**
 * The time of `node` that {@link hlcToBytes} made.
 * @throws MalformedBytesError unless there are exactly 8 bytes
 */
export function hlcFromBytes(bytes: Uint8Array, node: NodeId): Hlc {
  const reader = new ByteReader(bytes);
  const time = readTime(reader, nodeOption('node', node));
  reader.end();
  return time;
}

/** Bytes that {@link decodeHlc} reads, and that compare (memcmp) exactly as {@link compareHlc} does. */
export function encodeHlc(time: Hlc): Uint8Array {
  hlcOption('time', time);
  const writer = new ByteWriter(10 + time.node.length).raw(header('hlc'));
  writeTime(writer, time);
  return writer.raw(Buffer.from(time.node)).finish();
}

/**
 * Reads what {@link encodeHlc} wrote.
 * @throws MalformedBytesError for anything else
 */
export function decodeHlc(bytes: Uint8Array): Hlc {
  const reader = new ByteReader(bytes);
  readHeader(reader, 'hlc');
  const time = readTime(reader, '');
  const start = reader.offset;
  const raw = reader.raw(reader.remaining);
  const node = Buffer.from(raw).toString();
  // Malformed UTF-8 decodes to U+FFFD, which does not encode to the same bytes again.
  if (!isIdentifier(node) || Buffer.compare(Buffer.from(node), raw) !== 0)
    reader.fail('what is no node id', start);
  return { ...time, node };
}

/**
 * Text that {@link parseHlc} reads, such as `019a2b3c4d5e0001-node-a`: 12 hexadecimal digits of wall, 4 of
 * logical, a dash, the node id. Its bytes in UTF-8 compare exactly as {@link compareHlc} does; so does
 * JavaScript's `<`, unless node ids have characters above U+FFFF. In SQL use a binary collation (`COLLATE "C"`).
 */
export function formatHlc(time: Hlc): string {
  hlcOption('time', time);
  const wall = time.wall.toString(16).padStart(12, '0');
  return `${wall}${time.logical.toString(16).padStart(4, '0')}-${time.node}`;
}

/**
 * Reads what {@link formatHlc} wrote.
 * @throws InvalidOptionError for anything else
 */
export function parseHlc(text: string): Hlc {
  const [, wall, logical, node] = TEXT.exec(text) ?? [];
  if (wall === undefined || logical === undefined || node === undefined || !isIdentifier(node)) {
    throw new InvalidOptionError(
      'text',
      text,
      `16 lower-case hexadecimal digits, a dash and a node id, such as ${describeValue('019a2b3c4d5e0001-a')}`,
    );
  }
  return { wall: Number.parseInt(wall, 16), logical: Number.parseInt(logical, 16), node };
}

/** Appends a time with its node to a larger format. */
export function writeHlc(writer: ByteWriter, time: Hlc): void {
  writeTime(writer, time);
  writer.string(time.node);
}

/** Reads what {@link writeHlc} wrote. */
export function readHlc(reader: ByteReader): Hlc {
  const time = readTime(reader, '');
  return { ...time, node: readNode(reader) };
}

function writeTime(writer: ByteWriter, { wall, logical }: Hlc): void {
  writer
    .u32(Math.floor(wall / LOGICAL_RANGE))
    .u16(wall % LOGICAL_RANGE)
    .u16(logical);
}

function readTime(reader: ByteReader, node: NodeId): Hlc {
  const high = reader.u32();
  const wall = high * LOGICAL_RANGE + reader.u16();
  return { wall, logical: reader.u16(), node };
}
