import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as envelope from '../src/core/envelope.js';

const golden = JSON.parse(readFileSync(new URL('golden/envelope.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const name = (text: string): Uint8Array => envelope.encodeName(text);

function written(write: (target: Uint8Array) => number): Uint8Array {
  const target = new Uint8Array(4_096);
  return target.subarray(0, write(target));
}

function encodeGolden(): Record<string, Uint8Array> {
  const trace = name('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
  return {
    message: written((target) => envelope.writeMessage(target, name('news'), undefined, bytes('hello'))),
    'message with trace context': written((target) =>
      envelope.writeMessage(target, name('news'), trace, bytes('')),
    ),
    request: written((target) =>
      envelope.writeRequest(target, 0xdeadbeef, 1_500, name('straße'), undefined, bytes('?')),
    ),
    'request without end': written((target) =>
      envelope.writeRequest(target, 1, 2 ** 40, name('x'), trace, bytes('?')),
    ),
    response: written((target) => envelope.writeResponse(target, 7, bytes('!'))),
    error: envelope.errorFrame(7, envelope.FAULT_HANDLER, 'disk full'),
    cancel: envelope.cancelFrame(0xffffffff),
  };
}

describe('the envelope', () => {
  it('is written as it was ever written (docs/formats.md)', () => {
    const hex = Object.entries(encodeGolden()).map(([key, frame]) => [
      key,
      Buffer.from(frame).toString('hex'),
    ]);
    expect(Object.fromEntries(hex)).toEqual(golden);
  });

  it('is read as it was ever written', () => {
    const reader = new envelope.EnvelopeReader();
    const read = (key: string): Buffer => {
      const frame = Buffer.from(golden[key] ?? '', 'hex');
      expect(reader.read(frame), key).toBeUndefined();
      return frame;
    };
    let frame = read('message with trace context');
    expect(reader.kind).toBe(envelope.KIND_MESSAGE);
    expect(frame.toString('utf8', reader.channelStart, reader.channelEnd)).toBe('news');
    expect(frame.toString('utf8', reader.traceStart, reader.traceEnd)).toMatch(/^00-4bf9.*-01$/);
    frame = read('request');
    expect([reader.kind, reader.id, reader.budgetMs]).toEqual([envelope.KIND_REQUEST, 0xdeadbeef, 1_500]);
    expect(frame.toString('utf8', reader.channelStart, reader.channelEnd)).toBe('straße');
    expect(frame.toString('utf8', reader.bodyStart)).toBe('?');
    read('request without end');
    expect(reader.budgetMs).toBe(2 ** 32 - 1);
    frame = read('response');
    expect([reader.kind, reader.id, frame.toString('utf8', reader.bodyStart)]).toEqual([3, 7, '!']);
    frame = read('error');
    expect([reader.kind, reader.id, reader.code, frame.toString('utf8', reader.bodyStart)]).toEqual([
      4,
      7,
      2,
      'disk full',
    ]);
    read('cancel');
    expect([reader.kind, reader.id]).toEqual([5, 0xffffffff]);
  });

  it('refuses every prefix that is cut within the envelope', () => {
    const reader = new envelope.EnvelopeReader();
    for (const [key, frame] of Object.entries(encodeGolden())) {
      expect(reader.read(frame), key).toBeUndefined();
      const least = key === 'cancel' ? frame.length : reader.bodyStart;
      for (let length = 0; length < least; length++) {
        expect(reader.read(frame.subarray(0, length)), `${key} cut at ${String(length)}`).toBeTypeOf(
          'string',
        );
      }
    }
  });

  it('never reads beyond the bytes, whatever they are', () => {
    const reader = new envelope.EnvelopeReader();
    const hostile = fc
      .tuple(
        fc.constantFrom(0, 1, 2, 255),
        fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 0x81, 0x82, 0x83, 0x85),
        fc.uint8Array({ maxLength: 600 }),
      )
      .map(([version, kind, rest]) => Uint8Array.of(version, kind, ...rest));
    fc.assert(
      fc.property(fc.oneof(hostile, fc.uint8Array({ maxLength: 20 })), (frame) => {
        if (reader.read(frame) !== undefined) return;
        expect(frame[0]).toBe(envelope.ENVELOPE_VERSION);
        if (reader.kind === envelope.KIND_CANCEL) return;
        expect(reader.bodyStart).toBeLessThanOrEqual(frame.length);
        if (reader.kind > envelope.KIND_REQUEST) return;
        expect(reader.channelEnd).toBeGreaterThan(reader.channelStart);
        expect(reader.channelEnd).toBeLessThanOrEqual(reader.traceStart);
        expect(reader.traceEnd).toBeLessThanOrEqual(reader.bodyStart);
      }),
      { numRuns: 2_000 },
    );
  });

  it('brings any message and request back unchanged', () => {
    const reader = new envelope.EnvelopeReader();
    const channel = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' });
    fc.assert(
      fc.property(
        channel,
        fc.option(channel),
        fc.uint8Array(),
        fc.nat(),
        fc.nat(),
        (on, trace, body, id, budget) => {
          const traced = trace === null ? undefined : name(trace);
          const frame = written((target) =>
            envelope.writeRequest(target, id, budget, name(on), traced, body),
          );
          expect(reader.read(frame)).toBeUndefined();
          expect([reader.kind, reader.id, reader.budgetMs]).toEqual([envelope.KIND_REQUEST, id, budget]);
          expect(frame.subarray(reader.channelStart, reader.channelEnd)).toEqual(bytes(on));
          expect(frame.subarray(reader.traceStart, reader.traceEnd)).toEqual(bytes(trace ?? ''));
          expect(frame.subarray(reader.bodyStart)).toEqual(body);
        },
      ),
    );
  });

  it('cuts the text of an error between two characters', () => {
    const frame = envelope.errorFrame(1, envelope.FAULT_HANDLER, '€'.repeat(1_000));
    expect(frame.length).toBeLessThanOrEqual(7 + envelope.MAX_FAULT_BYTES);
    expect(new TextDecoder('utf-8', { fatal: true }).decode(frame.subarray(7))).toBe('€'.repeat(170));
  });
});
