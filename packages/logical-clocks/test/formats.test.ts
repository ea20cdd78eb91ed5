import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  decodeEvent,
  decodeHlc,
  DottedVersionVectorSet,
  encodeEvent,
  encodeHlc,
  formatHlc,
  hlcToBigInt,
  hlcToBytes,
  VersionVector,
} from '@quorate/logical-clocks';

/** Bytes as version 1 wrote them. They must stay readable for ever: add to this file, never change it. */
const golden = JSON.parse(readFileSync(new URL('./golden/v1.json', import.meta.url), 'utf8')) as Record<
  'hlc' | 'hlcKey' | 'hlcText' | 'hlcBits' | 'vector' | 'dvvs' | 'event',
  string
>;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const write = (text: string) => new Uint8Array(Buffer.from(text));
const read = (raw: Uint8Array) => Buffer.from(raw).toString();

const hlc = { wall: 1_763_683_200_123, logical: 7, node: 'naïve-1' };
const vector = VersionVector.from({ a: 1, b: 300, c: Number.MAX_SAFE_INTEGER });
const context = VersionVector.from({ a: 1 });
const dvvs = DottedVersionVectorSet.empty<string>()
  .write(VersionVector.empty, 'old', 'a')
  .write(context, 'x', 'a')
  .write(context, 'y', 'b');
const event = { dot: { node: 'a', counter: 2 }, causes: context.with('b', 3), hlc, payload: 'paid' };

describe('formats of version 1', () => {
  it('are written as they always were', () => {
    expect({
      hlc: hex(encodeHlc(hlc)),
      hlcKey: hex(hlcToBytes(hlc)),
      hlcText: formatHlc(hlc),
      hlcBits: String(hlcToBigInt(hlc)),
      vector: hex(vector.encode()),
      dvvs: hex(dvvs.encode(write)),
      event: hex(encodeEvent(event, write)),
    }).toEqual(golden);
  });

  it('are read as they always were', () => {
    expect(decodeHlc(bytes(golden.hlc))).toEqual(hlc);
    expect(VersionVector.decode(bytes(golden.vector)).toJSON()).toEqual(vector.toJSON());
    expect(DottedVersionVectorSet.decode(bytes(golden.dvvs), read).siblings).toEqual(dvvs.siblings);
    expect(decodeEvent(bytes(golden.event), read)).toEqual(event);
  });

  it('of other versions and kinds are refused', () => {
    expect(() => VersionVector.decode(bytes(`02${golden.vector.slice(2)}`))).toThrow(
      /format version 2 where 1 is known/,
    );
    expect(() => VersionVector.decode(bytes(golden.dvvs))).toThrow(/no vector encoding/);
  });
});
