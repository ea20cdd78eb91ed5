import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  FrameDecoder,
  type FrameFault,
  FrameKind,
  type FrameSink,
  HANDSHAKE_LIMITS,
  MAX_HANDSHAKE_FRAME_BYTES,
  sessionLimits,
} from '../src/core/frame.js';

class Collector implements FrameSink {
  readonly frames: { kind: number; body: Buffer }[] = [];
  readonly faults: FrameFault[] = [];

  frame(kind: number, body: Uint8Array): void {
    expect(this.faults).toEqual([]);
    this.frames.push({ kind, body: Buffer.from(body) });
  }

  fault(fault: FrameFault): void {
    this.faults.push(fault);
  }
}

const MAX = 5_000;
/** Cuts bytes at the given places, which may be any numbers. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.slice(at[index], end));
}
const anyFrame = fc.oneof(
  fc.uint8Array({ maxLength: MAX }).map((body) => ({ kind: FrameKind.data, body })),
  fc.constantFrom(FrameKind.ping, FrameKind.pong).map((kind) => ({ kind, body: new Uint8Array(0) })),
);

describe('the frame decoder', () => {
  test('gives the same frames for any chunking, and holds no more than one frame', () => {
    fc.assert(
      fc.property(fc.array(anyFrame), fc.array(fc.nat(), { maxLength: 40 }), (frames, places) => {
        const stream = Buffer.concat(frames.map(({ kind, body }) => encodeFrame(kind, body)));
        const sink = new Collector();
        const decoder = new FrameDecoder(sessionLimits(MAX), sink);
        for (const chunk of cut(stream, places)) {
          decoder.push(chunk);
          expect(decoder.heldBytes).toBeLessThanOrEqual(MAX + FRAME_HEADER_BYTES);
        }
        expect(sink.faults).toEqual([]);
        expect(sink.frames).toEqual(frames.map(({ kind, body }) => ({ kind, body: Buffer.from(body) })));
        expect(decoder.heldBytes).toBe(0);
      }),
    );
  });

  test('byte by byte is a chunking too', () => {
    const sink = new Collector();
    const decoder = new FrameDecoder(sessionLimits(MAX), sink);
    const stream = Buffer.concat([
      encodeFrame(FrameKind.data, Buffer.from('ab')),
      encodeFrame(FrameKind.ping, new Uint8Array(0)),
    ]);
    for (const byte of stream) decoder.push(Uint8Array.of(byte));
    expect(sink.frames.map(({ kind, body }) => [kind, body.toString()])).toEqual([
      [FrameKind.data, 'ab'],
      [FrameKind.ping, ''],
    ]);
  });

  test('never throws for garbage, never holds more than the bound, and gives the same for any chunking of it', () => {
    // Small lengths are likely, so that garbage gets past its headers.
    const garbage = fc
      .array(
        fc.oneof(
          fc.uint8Array({ maxLength: 64 }),
          fc.nat(40).map((n) => Uint8Array.of(0, 0, 0, n, 16)),
        ),
      )
      .map((parts) => Buffer.concat(parts));
    fc.assert(
      fc.property(garbage, fc.array(fc.nat(), { maxLength: 20 }), fc.boolean(), (bytes, places, early) => {
        const limits = early ? HANDSHAKE_LIMITS : sessionLimits(30);
        const bound = early ? MAX_HANDSHAKE_FRAME_BYTES : 30 + FRAME_HEADER_BYTES;
        const run = (chunks: readonly Uint8Array[]): Collector => {
          const sink = new Collector();
          const decoder = new FrameDecoder(limits, sink);
          for (const chunk of chunks) {
            decoder.push(chunk);
            expect(decoder.heldBytes).toBeLessThanOrEqual(bound);
          }
          expect(sink.faults.length).toBeLessThanOrEqual(1);
          return sink;
        };
        const whole = run([bytes]);
        const pieces = run(cut(bytes, places));
        expect(pieces.frames).toEqual(whole.frames);
        expect(pieces.faults.length).toBe(whole.faults.length);
      }),
    );
  });

  test.each([
    ['empty', [0, 0, 0, 0]],
    ['oversized', [0xff, 0xff, 0xff, 0xff]],
    ['oversized', [0x80, 0, 0, 0]],
    ['unknown-kind', [0, 0, 0, 1, 0]],
    ['unknown-kind', [0, 0, 0, 9, FrameKind.hello]],
    ['oversized', [0, 0, 0, 2, FrameKind.ping]],
    ['oversized', [0, 0, 0x13, 0x8a, FrameKind.data]],
  ] as const)('finds fault (%s) with the header %j alone, before any of the body', (fault, header) => {
    for (const chunks of [[Uint8Array.from(header)], header.map((byte) => Uint8Array.of(byte))]) {
      const sink = new Collector();
      const decoder = new FrameDecoder(sessionLimits(MAX), sink);
      for (const chunk of chunks) decoder.push(chunk);
      expect(sink.faults.map((one) => one.fault)).toEqual([fault]);
      decoder.push(encodeFrame(FrameKind.ping, new Uint8Array(0)));
      expect(sink.frames).toEqual([]);
    }
  });

  test('the sink may change limits and sink, and stop, between two frames of one chunk', () => {
    const later = new Collector();
    const decoder: FrameDecoder = new FrameDecoder(HANDSHAKE_LIMITS, {
      frame: () => {
        decoder.limits = sessionLimits(MAX);
        decoder.sink = later;
      },
      fault: () => expect.unreachable(),
    });
    later.frame = (kind) => {
      later.frames.push({ kind, body: Buffer.alloc(0) });
      decoder.stop();
    };
    const ping = encodeFrame(FrameKind.ping, new Uint8Array(0));
    decoder.push(Buffer.concat([encodeFrame(FrameKind.hello, Buffer.from('x')), ping, ping]));
    decoder.push(ping);
    expect(later.frames).toHaveLength(1);
    expect(later.faults).toEqual([]);
  });

  test('hands on memory that later chunks do not touch', () => {
    const kept: Uint8Array[] = [];
    const decoder = new FrameDecoder(sessionLimits(MAX), {
      frame: (_, body) => kept.push(body),
      fault: () => expect.unreachable(),
    });
    const stream = Buffer.concat(
      ['one', 'two', 'three'].map((text) => encodeFrame(FrameKind.data, Buffer.from(text))),
    );
    for (const chunk of cut(stream, [6, 10, 15])) decoder.push(chunk);
    expect(kept.map((body) => Buffer.from(body).toString())).toEqual(['one', 'two', 'three']);
  });
});
