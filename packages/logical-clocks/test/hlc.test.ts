import fc from 'fast-check';
import { InvalidOptionError } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { describe, expect, it } from 'vitest';
import {
  compareHlc,
  createHlc,
  decodeHlc,
  encodeHlc,
  formatHlc,
  type Hlc,
  HlcBoundError,
  HlcDriftError,
  hlcFromBigInt,
  hlcFromBytes,
  hlcToBigInt,
  hlcToBytes,
  MAX_HLC_LOGICAL,
  MAX_HLC_WALL,
  parseHlc,
} from '@quorate/logical-clocks';
import { executions, item } from './executions.js';

/** A wall clock that reads what it is set to. */
function wallClock(reading: number) {
  return {
    reading,
    now() {
      return this.reading;
    },
  };
}

const times: fc.Arbitrary<Hlc> = fc.record({
  wall: fc.oneof(
    fc.integer({ min: 0, max: MAX_HLC_WALL }),
    fc.constantFrom(0, 1, 255, 256, 65_536, MAX_HLC_WALL),
  ),
  logical: fc.oneof(fc.nat(MAX_HLC_LOGICAL), fc.constantFrom(0, 255, 256, MAX_HLC_LOGICAL)),
  node: fc.constantFrom('a', 'ab', 'b', 'é', '\uffee', '\u{1f600}', 'x'.repeat(255)),
});

describe('hybrid logical clock', () => {
  it('orders events as happened-before does, and is never behind its wall clock, whatever the wall clocks do', () => {
    fc.assert(
      fc.property(
        executions(),
        fc.array(fc.integer({ min: 990, max: 1010 }), { minLength: 40, maxLength: 40 }),
        ({ processes, steps, before }, readings) => {
          const wall = wallClock(0);
          const clocks = Array.from({ length: processes }, (_, at) =>
            createHlc({ node: `p${at}`, runtime: wall }),
          );
          const stamps: Hlc[] = [];
          steps.forEach(({ process, receives }, at) => {
            wall.reading = item(readings, at);
            const clock = item(clocks, process);
            const time = receives === undefined ? clock.now() : clock.observe(item(stamps, receives));
            expect(time.wall).toBeGreaterThanOrEqual(wall.reading);
            // Kulkarni et al., theorem 2: the wall part is a reading that the event depends on, or its own.
            expect(time.wall).toBeLessThanOrEqual(Math.max(...readings.slice(0, at + 1)));
            expect(clock.last).toEqual(time);
            stamps.push(time);
          });
          for (let a = 0; a < steps.length; a++)
            for (let b = 0; b < steps.length; b++)
              if (before(a, b)) expect(compareHlc(item(stamps, a), item(stamps, b))).toBeLessThan(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('refuses a time from the far future and stays as it was', () => {
    const clock = createHlc({ node: 'a', runtime: wallClock(1000), maxDriftMs: 50 });
    const before = clock.now();
    const refused = { wall: 1051, logical: 0, node: 'b' };
    expect(() => clock.observe(refused)).toThrow(HlcDriftError);
    expect(() => clock.observe(refused)).toThrow(
      expect.objectContaining({ code: 'HLC_DRIFT', aheadMs: 51, maxDriftMs: 50 }),
    );
    expect(clock.last).toEqual(before);
    expect(clock.observe({ wall: 1050, logical: 7, node: 'b' })).toEqual({
      wall: 1050,
      logical: 8,
      node: 'a',
    });
  });

  it('refuses every remote time while its own wall clock reads nothing sensible', () => {
    const clock = createHlc({ node: 'a', runtime: wallClock(Number.NaN) });
    expect(() => clock.observe({ wall: 1, logical: 0, node: 'b' })).toThrow(HlcDriftError);
    expect(clock.now()).toEqual({ wall: 0, logical: 1, node: 'a' });
  });

  it.each([
    ['a fraction', { wall: 1.5, logical: 0, node: 'b' }],
    ['a negative wall', { wall: -1, logical: 0, node: 'b' }],
    ['a wall above 48 bits', { wall: MAX_HLC_WALL + 1, logical: 0, node: 'b' }],
    ['a logical above 16 bits', { wall: 1, logical: 65_536, node: 'b' }],
    ['NaN', { wall: Number.NaN, logical: 0, node: 'b' }],
    ['nothing', undefined as unknown as Hlc],
    ['null', null as unknown as Hlc],
    ['text', '019a2b3c4d5e0001-a' as unknown as Hlc],
  ])('refuses to observe %s', (_what, remote) => {
    const clock = createHlc({ node: 'a', runtime: wallClock(1000) });
    expect(() => clock.observe(remote)).toThrow(InvalidOptionError);
    expect(clock.last.wall).toBe(0);
  });

  it('goes on into the next millisecond when the logical part is used up', () => {
    const clock = createHlc({ node: 'a', runtime: wallClock(1000) });
    expect(clock.observe({ wall: 1000, logical: MAX_HLC_LOGICAL, node: 'b' })).toEqual({
      wall: 1001,
      logical: 0,
      node: 'a',
    });
    const restored = createHlc({
      node: 'a',
      runtime: wallClock(1000),
      restore: { wall: 1000, logical: MAX_HLC_LOGICAL, node: 'a' },
    });
    expect(restored.now()).toEqual({ wall: 1001, logical: 0, node: 'a' });
  });

  it('ends with an error rather than wrap at the end of 48 bits', () => {
    const end = { wall: MAX_HLC_WALL, logical: MAX_HLC_LOGICAL, node: 'a' };
    const clock = createHlc({ node: 'a', runtime: wallClock(MAX_HLC_WALL), restore: end });
    expect(() => clock.now()).toThrow(HlcBoundError);
    expect(() => createHlc({ node: 'a', runtime: wallClock(Infinity) }).now()).toThrow(HlcBoundError);
    expect(clock.last).toEqual(end);
  });

  it('is not disturbed by who writes to its results', () => {
    const clock = createHlc({ node: 'a', runtime: wallClock(1000) });
    Object.assign(clock.now(), { wall: 5 });
    Object.assign(clock.last, { wall: 5 });
    expect(clock.now()).toEqual({ wall: 1000, logical: 1, node: 'a' });
  });

  it('validates its options', () => {
    expect(() => createHlc({ node: '' })).toThrow(InvalidOptionError);
    expect(() => createHlc({ node: 'a', maxDriftMs: -1 })).toThrow(/maxDriftMs/);
    expect(() =>
      createHlc({ node: 'a', runtime: wallClock(0), restore: { wall: 60_001, logical: 0, node: 'a' } }),
    ).toThrow(HlcDriftError);
    expect(createHlc({ node: 'a' }).now().wall).toBeGreaterThan(1.5e12);
  });
});

describe('encodings of a hybrid logical time', () => {
  it('compare, as bytes and as text, exactly like the times', () => {
    fc.assert(
      fc.property(times, times, (a, b) => {
        const order = Math.sign(compareHlc(a, b));
        expect(Buffer.compare(encodeHlc(a), encodeHlc(b))).toBe(order);
        expect(Buffer.compare(Buffer.from(formatHlc(a)), Buffer.from(formatHlc(b)))).toBe(order);
        const sameNode = { ...b, node: a.node };
        expect(Buffer.compare(hlcToBytes(a), hlcToBytes(b))).toBe(Math.sign(compareHlc(a, sameNode)));
        const [x, y] = [hlcToBigInt(a), hlcToBigInt(b)];
        expect(x < y ? -1 : x > y ? 1 : 0).toBe(Math.sign(compareHlc(a, sameNode)));
      }),
      { numRuns: 1000 },
    );
  });

  it('survive the way there and back', () => {
    fc.assert(
      fc.property(times, (time) => {
        expect(decodeHlc(encodeHlc(time))).toEqual(time);
        expect(parseHlc(formatHlc(time))).toEqual(time);
        expect(hlcFromBytes(hlcToBytes(time), time.node)).toEqual(time);
        expect(hlcToBytes(time)).toHaveLength(8);
        expect(hlcFromBigInt(hlcToBigInt(time), time.node)).toEqual(time);
      }),
    );
  });

  it('refuse garbage, and read nothing that they would write differently', () => {
    const alike = fc.tuple(times, fc.nat(), fc.nat(255)).map(([time, at, value]) => {
      const bytes = encodeHlc(time);
      bytes[at % bytes.length] = value;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(alike, fc.uint8Array({ maxLength: 20 })), (bytes) => {
        try {
          expect(encodeHlc(decodeHlc(bytes))).toEqual(new Uint8Array(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
      { numRuns: 2000 },
    );
    for (const text of [
      '',
      '0'.repeat(16),
      `${'0'.repeat(16)}-`,
      `${'G'.repeat(16)}-a`,
      `${'0'.repeat(16)}-a\nb`,
    ])
      expect(() => parseHlc(text)).toThrow(InvalidOptionError);
    expect(() => hlcFromBigInt(2n ** 64n, 'a')).toThrow(InvalidOptionError);
    expect(() => hlcFromBigInt(-1n, 'a')).toThrow(InvalidOptionError);
    expect(() => hlcFromBytes(new Uint8Array(9), 'a')).toThrow(MalformedBytesError);
    expect(() => encodeHlc({ wall: -1, logical: 0, node: 'a' })).toThrow(InvalidOptionError);
  });
});
