import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { MovementPlan } from '../plan.js';
import { xxh32 } from './xxh32.js';

const VERSION = 1;
const CHECKSUM_CHARACTERS = 16;
const CHECK_BYTES = 4;

/** Which moves of a plan are done, as bits; the layout is described in docs/formats.md. */
export function encodeCheckpoint(done: Uint8Array, plan: MovementPlan): Uint8Array {
  const bits = new Uint8Array(Math.ceil(done.length / 8));
  done.forEach((flag, index) => {
    bits[index >> 3] = (bits[index >> 3] ?? 0) | (flag << (index & 7));
  });
  const writer = new ByteWriter(bits.length + 32)
    .u8(VERSION)
    .string(plan.checksum)
    .varint(done.length)
    .raw(bits);
  return writer.u32(xxh32.bytes(writer.finish(), 0)).finish();
}

/** One flag per move of the plan. */
export function decodeCheckpoint(bytes: Uint8Array, plan: MovementPlan): Uint8Array {
  const end = bytes.length - CHECK_BYTES;
  const reader = new ByteReader(bytes.subarray(0, Math.max(0, end)));
  const version = reader.u8();
  if (version !== VERSION) reader.fail(`version ${String(version)} where ${String(VERSION)} is known`, 0);
  if (new ByteReader(bytes.subarray(end)).u32() !== xxh32.bytes(bytes.subarray(0, end), 0)) {
    reader.fail('a checksum that does not match', end);
  }
  const checksum = reader.string(CHECKSUM_CHARACTERS);
  if (checksum !== plan.checksum) {
    reader.fail(`a checkpoint of plan ${checksum}, not of ${plan.checksum}: the placements changed since,`);
  }
  if (reader.varint() !== plan.moves.length) reader.fail('another number of moves');
  const bits = reader.raw(Math.ceil(plan.moves.length / 8));
  reader.end();
  return Uint8Array.from(plan.moves, (_, index) => ((bits[index >> 3] ?? 0) >> (index & 7)) & 1);
}
