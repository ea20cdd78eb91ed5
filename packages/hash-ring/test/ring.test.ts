import {
  balance,
  balanceOf,
  createRing,
  fnv1a,
  type HashFunction,
  PlacementTooLargeError,
  plan,
  ownedRanges,
  TOKENS,
} from '@quorate/hash-ring';
import { InvalidOptionError } from '@quorate/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KEYS } from './strategies.js';

/** A hash under which everything collides, so that ties decide. */
const coarse: HashFunction = {
  name: 'coarse',
  string: (text, seed) => fnv1a.string(text, seed) & 0xe0000000,
  bytes: (bytes, seed) => (fnv1a.bytes(bytes, seed) & 0xe0000000) >>> 0,
};
const tied: HashFunction = { ...coarse, string: (text, seed) => coarse.string(text, seed) >>> 0 };

describe('ring', () => {
  it('gives every key to the first point at or after its token, as a plain search does', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0, max: 4, noNaN: true })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.nat(0xffffffff), { maxLength: 30 }),
        (members, pointsPerWeight, tokens) => {
          const nodes = members.map(([, weight], i) => ({ id: `n${String(i)}`, weight }));
          const ring = createRing(nodes, { pointsPerWeight });
          const points = nodes.flatMap(({ id, weight }) =>
            Array.from(
              { length: weight === 0 ? 0 : Math.max(1, Math.round(weight * pointsPerWeight)) },
              (_, i) => ({
                id,
                token: ring.hash.string(`${id}-${String(i)}`, 0),
              }),
            ),
          );
          points.sort((a, b) => a.token - b.token || (a.id < b.id ? -1 : 1));
          for (const token of [...tokens, 0, 0xffffffff, ...points.slice(0, 5).map((point) => point.token)]) {
            const owner = points.find((point) => point.token >= token) ?? points[0];
            expect(ring.pickToken(token, 1)[0]).toBe(owner?.id);
          }
          for (const key of KEYS.slice(0, 50)) expect(ring.get(key)).toBe(ring.pick(key, 1)[0]);
        },
      ),
    );
  });

  it('breaks ties of points by the id, in whatever order the nodes came', () => {
    const direct = createRing(['a', 'b', 'c', 'd'], { hash: tied, pointsPerWeight: 8 });
    const grown = createRing(['d'], { hash: tied, pointsPerWeight: 8 })
      .with({ add: ['b'] })
      .with({ add: ['c', 'x'] })
      .with({ add: ['a'], remove: ['x'] });
    for (let token = 0; token < TOKENS; token += 2 ** 27) {
      expect(grown.pickToken(token, 4)).toEqual(direct.pickToken(token, 4));
    }
    expect(grown.checksum).toBe(direct.checksum);
  });

  it('stays equal to a ring built anew over a long random history', () => {
    const commands = fc.array(fc.tuple(fc.nat(15), fc.double({ min: 0, max: 3, noNaN: true })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(commands, (history) => {
        const members = new Map<string, number>();
        let ring = createRing([], { pointsPerWeight: 12 });
        for (const [which, weight] of history) {
          const id = `n${String(which)}`;
          if (!members.has(id)) ring = ring.with({ add: [{ id, weight }] });
          else if (weight < 1) ring = ring.with({ remove: [id] });
          else ring = ring.with({ reweight: new Map([[id, weight]]) });
          if (members.has(id) && weight < 1) members.delete(id);
          else members.set(id, weight);
        }
        const anew = createRing(
          [...members].map(([id, weight]) => ({ id, weight })),
          { pointsPerWeight: 12 },
        );
        expect(ring.checksum).toBe(anew.checksum);
        expect(ring.points).toBe(anew.points);
        expect(ring.rangeEnds()).toEqual(anew.rangeEnds());
        expect(KEYS.map((key) => ring.pick(key, 3))).toEqual(KEYS.map((key) => anew.pick(key, 3)));
      }),
    );
  });

  it('moves only the share of a node whose weight changes, since weights are not divided by their sum', () => {
    const before = createRing(['a', 'b', 'c', 'd']);
    const after = before.with({ reweight: { a: 2 } });
    const { moves, needlessFraction } = plan(before, after);
    expect(needlessFraction).toBe(0);
    expect(moves.every(({ to }) => to === 'a')).toBe(true);
    expect(after.points).toBe(before.points + before.pointsPerWeight);
  });

  it('takes fractional weights, and gives the smallest at least one point', () => {
    const ring = createRing([
      { id: 'half', weight: 0.5 },
      { id: 'tiny', weight: 1e-9 },
    ]);
    expect(ring.points).toBe(81);
  });

  it('refuses an absurd number of points with the memory they would need, before allocating them', () => {
    expect(() => createRing(['a'], { pointsPerWeight: 4_000_000_000 })).toThrow(PlacementTooLargeError);
    expect(() => createRing([{ id: 'a', weight: 1e30 }])).toThrow(/^PLACEMENT_TOO_LARGE: .* MiB/);
    const ring = createRing(['a']);
    expect(() => ring.with({ reweight: { a: 1e9 } })).toThrow(
      'PLACEMENT_TOO_LARGE: 1 nodes with 160000000000 points would need 2441407 MiB; 4194304 points are the most.',
    );
    for (const bad of [0, -1, 1.5, NaN, Infinity]) {
      expect(() => createRing(['a'], { pointsPerWeight: bad })).toThrow(InvalidOptionError);
    }
  });

  it('refuses an unknown hash function, a bad seed and a bad epoch', () => {
    expect(() => createRing([], { hash: 'sha1' as 'md5' })).toThrow(
      'INVALID_OPTION: hash must be "xxh32", "murmur3", "fnv1a", "md5" or a HashFunction',
    );
    expect(() => createRing([], { hash: {} as HashFunction })).toThrow(InvalidOptionError);
    expect(() => createRing([], { hash: { ...tied, name: 'n'.repeat(33) } })).toThrow(InvalidOptionError);
    expect(() => createRing([], { seed: -1 })).toThrow(InvalidOptionError);
    expect(() => createRing([], { seed: 2 ** 32 })).toThrow(InvalidOptionError);
    expect(() => createRing([], { epoch: 0.5 })).toThrow(InvalidOptionError);
  });

  it('takes the bits of a hash function that gives signed integers', () => {
    const signed: HashFunction = {
      name: 'signed',
      string: (text, seed) => fnv1a.string(text, seed) | 0,
      bytes: (bytes, seed) => fnv1a.bytes(bytes, seed) | 0,
    };
    const ring = createRing(['a', 'b', 'c'], { hash: signed });
    const unsigned = createRing(['a', 'b', 'c'], { hash: 'fnv1a' });
    for (const key of KEYS) {
      expect(ring.get(key)).toBe(unsigned.get(key));
      expect(ring.get(new TextEncoder().encode(key))).toBe(unsigned.get(key));
      expect(ring.pick(key, 2)).toEqual(unsigned.pick(key, 2));
    }
  });

  it('places differently under another seed and another hash', () => {
    const owners = (ring: ReturnType<typeof createRing>): unknown[] => KEYS.map((key) => ring.get(key));
    const plain = createRing(['a', 'b', 'c']);
    expect(owners(createRing(['a', 'b', 'c'], { seed: 1 }))).not.toEqual(owners(plain));
    expect(owners(createRing(['a', 'b', 'c'], { hash: 'murmur3' }))).not.toEqual(owners(plain));
  });
});

describe('ranges and balance', () => {
  it('cuts the tokens into the ranges of the nodes without gap or overlap', () => {
    const ring = createRing(['a', 'b', 'c'], { pointsPerWeight: 20 });
    const ranges = ['a', 'b', 'c'].flatMap((id) => ownedRanges(ring, id)).sort((a, b) => a.start - b.start);
    let next = 0;
    for (const { start, end } of ranges) {
      expect(start).toBe(next);
      next = end + 1;
    }
    expect(next).toBe(TOKENS);
    for (const range of ownedRanges(ring, 'b', { replicas: 2 })) {
      expect(ring.pickToken(range.start, 2)).toContain('b');
      expect(ring.pickToken(range.end, 2)).toContain('b');
    }
  });

  it('knows exact shares that agree with those of many keys', () => {
    const ring = createRing(['a', 'b', { id: 'c', weight: 2 }]);
    const exact = balance(ring);
    const sampled = balanceOf(
      ring,
      Array.from({ length: 40_000 }, (_, i) => `k${String(i)}`),
    );
    expect(exact.nodes.map(({ expected }) => expected)).toEqual([0.25, 0.25, 0.5]);
    expect(exact.nodes.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
    for (const [i, { share }] of exact.nodes.entries()) {
      expect(Math.abs((sampled.nodes[i]?.share ?? 0) - share)).toBeLessThan(0.01);
    }
    expect(exact.maxOverExpected).toBeGreaterThanOrEqual(1);
    expect(exact.minOverExpected).toBeLessThanOrEqual(1);
  });

  it('has nothing to say about an empty ring but does not fail', () => {
    expect(balance(createRing())).toEqual({
      nodes: [],
      maxOverExpected: 1,
      minOverExpected: 1,
      deviation: 0,
    });
    expect(ownedRanges(createRing(), 'a')).toEqual([]);
  });
});
