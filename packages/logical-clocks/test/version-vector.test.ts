import fc from 'fast-check';
import { InvalidOptionError } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { describe, expect, it } from 'vitest';
import {
  compareNodes,
  CounterExhaustedError,
  createVectorClock,
  MAX_VECTOR_ENTRIES,
  type Order,
  VersionVector,
} from '@quorate/logical-clocks';
import { executions, item } from './executions.js';

const node = fc.constantFrom('a', 'b', 'c', 'd', 'é', '\u{1f600}', '\uffee');
const vectors = fc
  .dictionary(node, fc.integer({ min: 0, max: 4 }), { noNullPrototype: true })
  .map((record) => VersionVector.from(record));

/** The definition, without the tricks of the implementation. */
function orderByDefinition(a: VersionVector, b: VersionVector): Order {
  const nodes = [...new Set([...a.nodes, ...b.nodes])];
  const less = nodes.some((one) => a.get(one) < b.get(one));
  const greater = nodes.some((one) => a.get(one) > b.get(one));
  return less ? (greater ? 'concurrent' : 'before') : greater ? 'after' : 'equal';
}

describe('vector clock', () => {
  it('orders two events exactly as happened-before does', () => {
    fc.assert(
      fc.property(executions(), ({ processes, steps, before }) => {
        const clocks = Array.from({ length: processes }, (_, at) => createVectorClock({ node: `p${at}` }));
        const stamps: VersionVector[] = [];
        for (const { process, receives } of steps) {
          const clock = item(clocks, process);
          stamps.push(receives === undefined ? clock.tick() : clock.observe(item(stamps, receives)));
        }
        for (let a = 0; a < steps.length; a++) {
          for (let b = 0; b < steps.length; b++) {
            const expected: Order =
              a === b ? 'equal' : before(a, b) ? 'before' : before(b, a) ? 'after' : 'concurrent';
            expect(item(stamps, a).compare(item(stamps, b))).toBe(expected);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('forgets the nodes that moved the longest ago when it has a bound, and never itself', () => {
    const clock = createVectorClock({ node: 'me', maxEntries: 3 });
    clock.tick();
    for (const other of ['a', 'b', 'c', 'b', 'd']) clock.observe(VersionVector.from({ [other]: 1 }));
    expect(clock.observe(VersionVector.from({ c: 2 })).toJSON()).toEqual({ c: 2, d: 1, me: 7 });
    expect(clock.now().size).toBe(3);
  });

  it('goes on from the last stamp of the previous run', () => {
    const clock = createVectorClock({ node: 'a', start: VersionVector.from({ a: 7, b: 2 }) });
    expect(clock.tick().toJSON()).toEqual({ a: 8, b: 2 });
  });
});

describe('version vector', () => {
  it('compares and merges by the definition', () => {
    fc.assert(
      fc.property(vectors, vectors, (a, b) => {
        expect(a.compare(b)).toBe(orderByDefinition(a, b));
        const merged = a.merge(b);
        for (const one of [...a.nodes, ...b.nodes])
          expect(merged.get(one)).toBe(Math.max(a.get(one), b.get(one)));
        expect(merged.nodes).toEqual([...new Set([...a.nodes, ...b.nodes])].sort(compareNodes));
        expect(a.descends(b)).toBe(
          orderByDefinition(a, b) === 'after' || orderByDefinition(a, b) === 'equal',
        );
      }),
      { numRuns: 500 },
    );
  });

  it('merges commutatively, associatively and idempotently', () => {
    fc.assert(
      fc.property(vectors, vectors, vectors, (a, b, c) => {
        expect(a.merge(b).equals(b.merge(a))).toBe(true);
        expect(
          a
            .merge(b)
            .merge(c)
            .equals(a.merge(b.merge(c))),
        ).toBe(true);
        expect(a.merge(a)).toBe(a);
        expect(VersionVector.merge([a, b, c]).equals(c.merge(a).merge(b))).toBe(true);
      }),
    );
  });

  it('keeps nodes that are added one by one in the order of their bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(node, fc.integer({ min: 0, max: 3 }))), (writes) => {
        let vector = VersionVector.empty;
        const model = new Map<string, number>();
        for (const [one, counter] of writes) {
          vector = vector.with(one, counter);
          model.set(one, counter);
        }
        for (const [one, counter] of model) expect(vector.get(one)).toBe(counter);
        expect(vector.equals(VersionVector.from(model))).toBe(true);
        for (let at = 1; at < vector.size; at++)
          expect(
            Buffer.compare(Buffer.from(item(vector.nodes, at - 1)), Buffer.from(item(vector.nodes, at))),
          ).toBe(-1);
      }),
    );
  });

  it('keeps every comparison when entries are pruned that are stable', () => {
    fc.assert(
      fc.property(vectors, vectors, vectors, (stable, x, y) => {
        const [a, b] = [x.merge(stable), y.merge(stable)];
        const [prunedA, prunedB] = [a.pruneStable(stable), b.pruneStable(stable)];
        expect(prunedA.compare(prunedB)).toBe(a.compare(b));
        expect(prunedA.merge(prunedB).merge(stable).equals(a.merge(b))).toBe(true);
      }),
    );
  });

  it('refuses to prune by what it does not descend from', () => {
    expect(() => VersionVector.from({ a: 1 }).pruneStable(VersionVector.from({ b: 1 }))).toThrow(
      InvalidOptionError,
    );
  });

  it('can miss an order after a lossy prune, which is why that is documented', () => {
    const a = VersionVector.from({ a: 1, b: 1 });
    expect(a.compare(VersionVector.from({ a: 1, b: 2 }).prune((one) => one !== 'b'))).toBe('after');
  });

  it('survives its encoding, and equal vectors have equal bytes', () => {
    fc.assert(
      fc.property(vectors, (vector) => {
        const bytes = vector.encode();
        expect(VersionVector.decode(bytes).equals(vector)).toBe(true);
        expect(VersionVector.from([...vector].reverse()).encode()).toEqual(bytes);
        expect(
          VersionVector.from(JSON.parse(JSON.stringify(vector)) as Record<string, number>).equals(vector),
        ).toBe(true);
      }),
    );
  });

  it('refuses garbage, and reads nothing that it would write differently', () => {
    const alike = vectors.chain((vector) =>
      fc.tuple(fc.constant(vector.encode()), fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
        bytes[at % bytes.length] = value;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(fc.oneof(alike, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        let vector: VersionVector;
        try {
          vector = VersionVector.decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
          return;
        }
        expect(vector.encode()).toEqual(new Uint8Array(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses a size that the bytes do not have before it allocates anything', () => {
    expect(() => VersionVector.decode(Uint8Array.of(1, 0x56, 0xff, 0xff, 0x7f))).toThrow(/2097151 entries/);
  });

  it('names what is wrong with bad input', () => {
    expect(() => VersionVector.from({ a: -1 })).toThrow(/counter of a must be an integer/);
    expect(() => VersionVector.from({ a: 0.5 })).toThrow(InvalidOptionError);
    expect(() => VersionVector.from({ '': 1 })).toThrow(/node/);
    expect(() =>
      VersionVector.from([
        ['a', 1],
        ['a', 2],
      ]),
    ).toThrow(/one entry per node, got "a"/);
    expect(() => VersionVector.from({ a: Number.MAX_SAFE_INTEGER }).increment('a')).toThrow(
      CounterExhaustedError,
    );
    const many = Array.from({ length: MAX_VECTOR_ENTRIES + 1 }, (_, at) => [`n${at}`, 1] as const);
    expect(() => VersionVector.from(many)).toThrow(/at most 16384 entries/);
    expect(() => createVectorClock({ node: '' })).toThrow(InvalidOptionError);
  });
});

describe('compareNodes', () => {
  it('orders strings as their UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(Math.sign(compareNodes(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2000 },
    );
  });
});
