import { isIdentifier, InvalidOptionError } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { PlacementNode } from '../placement.js';
import type { PlacementState } from './base.js';
import { compareIds, isWeight } from './members.js';
import { type HashFunction, type HashName, hashOption } from './hash.js';
import { xxh32 } from './xxh32.js';

const VERSION = 1;
const MAX_NAME_BYTES = 32;
const MAX_IDENTIFIER = 255;
const CHECK_BYTES = 4;

/** How a snapshot is read. */
export interface DecodeOptions {
  /** The hash function that the snapshot names, when it is not a built-in one. */
  readonly hash?: HashFunction;
}

/** The layout is described in docs/formats.md. */
export function writeSnapshot(
  strategy: string,
  { nodes, hash, seed, epoch }: PlacementState,
  writeParameters: (writer: ByteWriter) => void,
): Uint8Array {
  const writer = new ByteWriter(64 + nodes.length * 24);
  writer.u8(VERSION).string(strategy).varint(epoch).string(hash.name).u32(seed).varint(nodes.length);
  for (const { id, weight, zone, rack } of nodes) {
    writer.string(id).f64(weight);
    // An identifier is never empty, so the empty string stands for none.
    writer.string(zone ?? '').string(rack ?? '');
  }
  writeParameters(writer);
  return writer.u32(xxh32.bytes(writer.finish(), 0)).finish();
}

/** Two hashes of a snapshot side by side, as 16 hexadecimal digits. */
export function checksumOf(snapshot: Uint8Array): string {
  const hex = (seed: number): string => xxh32.bytes(snapshot, seed).toString(16).padStart(8, '0');
  return hex(0) + hex(1);
}

/**
 * Reads a snapshot of one strategy: its state, and what `readParameters` makes of the rest. Throws
 * `MALFORMED_BYTES` for anything that is not a snapshot as written, and `INVALID_OPTION` for a hash function
 * that is neither built in nor given.
 */
export function readSnapshot<P>(
  bytes: Uint8Array,
  strategy: string,
  options: DecodeOptions,
  readParameters: (reader: ByteReader, nodes: readonly PlacementNode[]) => P,
): { readonly state: PlacementState; readonly parameters: P } {
  if (!(bytes instanceof Uint8Array)) throw new InvalidOptionError('bytes', bytes, 'a Uint8Array');
  const end = bytes.length - CHECK_BYTES;
  const reader = new ByteReader(bytes.subarray(0, Math.max(0, end)));
  const version = reader.u8();
  if (version !== VERSION) reader.fail(`version ${String(version)} where ${String(VERSION)} is known`, 0);
  if (new ByteReader(bytes.subarray(end)).u32() !== xxh32.bytes(bytes.subarray(0, end), 0)) {
    reader.fail('a checksum that does not match', end);
  }
  const name = reader.string(MAX_NAME_BYTES);
  if (name !== strategy) reader.fail(`a snapshot of ${JSON.stringify(name)}, not of ${strategy},`);
  const epoch = reader.varint();
  const hashName = reader.string(MAX_NAME_BYTES);
  const hash =
    options.hash?.name === hashName ? options.hash : hashOption('hash of the snapshot', hashName as HashName);
  const seed = reader.u32();
  const nodes = readNodes(reader);
  const parameters = readParameters(reader, nodes);
  reader.end();
  return { state: { nodes, hash, seed, epoch }, parameters };
}

function readNodes(reader: ByteReader): readonly PlacementNode[] {
  const nodes: PlacementNode[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const id = readName(reader);
    const previous = nodes.at(-1);
    if (id === undefined || (previous !== undefined && compareIds(previous.id, id) >= 0)) {
      return reader.fail('a node out of order');
    }
    const weight = reader.f64();
    if (!isWeight(weight)) reader.fail(`a weight of ${String(weight)}`);
    const zone = readName(reader);
    const rack = readName(reader);
    nodes.push(Object.freeze({ id, weight, zone, rack }));
  }
  return nodes;
}

function readName(reader: ByteReader): string | undefined {
  const name = reader.string(MAX_IDENTIFIER);
  if (name === '') return undefined;
  if (!isIdentifier(name)) reader.fail(`the name ${JSON.stringify(name)}`);
  return name;
}
