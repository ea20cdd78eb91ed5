import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { createSimDisk } from '@quorate/simulator';
import { describe, expect, it } from 'vitest';
import { encodeRecord, type RecordContent, recordBytes, scanRecord } from '../src/core/record.js';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  scanSegment,
  SEGMENT_HEADER_BYTES,
} from '../src/core/segment.js';
import { crc32c } from '../src/index.js';
import { openSnapshotFile, writeSnapshotFile } from '../src/snapshot-file.js';

describe('CRC-32C', () => {
  it('has the values of RFC 3720, appendix B.4', () => {
    const ascending = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
    const read = Buffer.from(
      '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' + '0200000000000000',
      'hex',
    );
    expect([
      crc32c(Buffer.alloc(32)),
      crc32c(Buffer.alloc(32, 0xff)),
      crc32c(ascending),
      crc32c(Buffer.from(ascending).reverse()),
      crc32c(read),
      crc32c(Buffer.from('123456789')),
    ]).toEqual([0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c, 0xd9963a56, 0xe3069283]);
  });

  it('goes on from the checksum of what came before', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
        const at = Math.min(cut, bytes.length);
        expect(crc32c(bytes, at, bytes.length, crc32c(bytes, 0, at))).toBe(crc32c(bytes));
      }),
    );
  });
});

const entryArbitrary = fc.record({
  index: fc.constant(1),
  term: fc.nat(),
  kind: fc.constantFrom('command', 'config', 'noop'),
  data: fc.uint8Array({ maxLength: 300 }),
});

function encode(content: RecordContent, salt: number): Buffer {
  const length = recordBytes(content);
  const bytes = Buffer.alloc((length + 7) & ~7);
  encodeRecord(bytes, 0, length, content, { sequence: 5, durable: 3, salt }, () => undefined);
  return bytes;
}

describe('a record', () => {
  const content: RecordContent = {
    kind: 'append',
    position: { index: 41, term: 2 },
    state: Buffer.from('state'),
    entries: [
      { index: 42, term: 3, kind: 'command', data: Buffer.from('set x'), id: 'p1' },
      { index: 43, term: 3, kind: 'noop', data: new Uint8Array(0) },
    ],
  };

  it('is found intact as it was written, and with no other seed', () => {
    fc.assert(
      fc.property(fc.array(entryArbitrary, { maxLength: 4 }), fc.nat(), (entries, salt) => {
        const bytes = encode({ ...content, entries }, salt);
        expect(scanRecord(bytes, 0, bytes.length, salt)).toMatchObject({
          kind: 'append',
          sequence: 5,
          durable: 3,
          position: content.position,
          entryCount: entries.length,
        });
        expect(scanRecord(bytes, 0, bytes.length, salt + 1)).toBeUndefined();
      }),
    );
  });

  it('is refused with any bit of it flipped, and with any byte of it missing', () => {
    const bytes = encode(content, 9);
    const length = recordBytes(content);
    for (let bit = 0; bit < length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(scanRecord(flipped, 0, flipped.length, 9)).toBeUndefined();
    }
    for (let size = 0; size < length; size++) expect(scanRecord(bytes, 0, size, 9)).toBeUndefined();
  });

  it('is looked for in any bytes without a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(scanSegment(Buffer.from(bytes), 1, 1).records).toEqual([]);
        expect(typeof decodeSegmentHeader(Buffer.from(bytes))).toBe('string');
      }),
    );
  });
});

describe('golden files', () => {
  const golden = (name: string): Buffer =>
    Buffer.from(
      readFileSync(new URL(`golden/${name}`, import.meta.url), 'utf8').replaceAll(/\s/g, ''),
      'hex',
    );

  it('a segment of version 1 is read and written as ever', () => {
    const segment = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const salt = encodeSegmentHeader(segment, { logId: Buffer.alloc(16, 0xab), number: 7, sequence: 5 });
    const record = encode(
      {
        kind: 'append',
        position: { index: 41, term: 2 },
        state: Buffer.from('state'),
        entries: [
          { index: 42, term: 3, kind: 'command', data: Buffer.from('set x'), id: 'p1' },
          { index: 43, term: 3, kind: 'noop', data: new Uint8Array(0) },
        ],
      },
      salt,
    );
    const bytes = golden('segment-v1.hex');
    expect(Buffer.concat([segment, record]).toString('hex')).toBe(bytes.toString('hex'));
    expect(decodeSegmentHeader(bytes)).toMatchObject({ header: { number: 7, sequence: 5 } });
    expect(scanSegment(bytes, salt, 5)).toMatchObject({
      records: [{ entryCount: 2 }],
      how: { kind: 'clean' },
    });
  });

  it('a snapshot of version 1 is read and written as ever', async () => {
    const disk = createSimDisk({ seed: 1 });
    const files = disk.mount();
    const meta = { index: 42, term: 3, membership: Buffer.from('abc') };
    await writeSnapshotFile(files, '/s', meta, [Buffer.from('the '), Buffer.from('state')], undefined);
    const bytes = golden('snapshot-v1.hex');
    expect(Buffer.from(disk.disk.content('/s')).toString('hex')).toBe(bytes.toString('hex'));
    const file = await openSnapshotFile(files, '/s');
    expect(file.meta.index).toBe(42);
    const chunks: Uint8Array[] = [];
    for await (const chunk of file.chunks()) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('the state');
  });
});
