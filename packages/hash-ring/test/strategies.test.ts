import {
  balance,
  balanceOf,
  createRing,
  type Placement,
  PlacementTooLargeError,
  plan,
} from '@quorate/hash-ring';
import { createAnchor } from '@quorate/hash-ring/anchor';
import { createJump, jumpHash } from '@quorate/hash-ring/jump';
import { createKetama } from '@quorate/hash-ring/ketama';
import { createMaglev } from '@quorate/hash-ring/maglev';
import { createRendezvous } from '@quorate/hash-ring/rendezvous';
import { InvalidOptionError } from '@quorate/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const MANY = Array.from({ length: 50_000 }, (_, i) => `key/${String(i)}`);
const TEN = Array.from({ length: 10 }, (_, i) => `node-${String(i)}`);

/** The algorithm as figure 1 of the paper has it, in 64-bit arithmetic. */
function jumpReference(key: bigint, buckets: number): number {
  let k = key;
  let bucket = -1;
  let next = 0;
  while (next < buckets) {
    bucket = next;
    k = BigInt.asUintN(64, k * 2862933555777941757n + 1n);
    next = Math.floor((bucket + 1) * (2 ** 31 / (Number(k >> 33n) + 1)));
  }
  return bucket;
}

function moved(before: { get(key: string): string | undefined }, after: typeof before): number {
  return MANY.filter((key) => before.get(key) !== after.get(key)).length / MANY.length;
}

describe('jump', () => {
  it.each([
    [1, 1, 0],
    [42, 57, 43],
    [0xdead10cc, 1, 0],
    [0xdead10cc, 666, 361],
    [256, 1024, 520],
  ])('sends key %i to one of %i buckets as other implementations do', (key, buckets, expected) => {
    expect(jumpHash(0, key, buckets)).toBe(expected);
  });

  it('agrees with 64-bit arithmetic', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.nat(0xffffffff),
        fc.integer({ min: 0, max: 5000 }),
        (high, low, buckets) => {
          expect(jumpHash(high, low, buckets)).toBe(
            jumpReference((BigInt(high) << 32n) | BigInt(low), buckets),
          );
        },
      ),
    );
  });

  it('moves about twice the share of a node that leaves from the middle, and its share only from the end', () => {
    const jump = createJump(TEN);
    expect(moved(jump, jump.with({ remove: ['node-9'] }))).toBeLessThan(0.11);
    expect(moved(jump, jump.with({ remove: ['node-3'] }))).toBeLessThan(0.21);
  });

  it('lets the last node take the place of one that leaves', () => {
    expect(createJump(['a', 'b', 'c']).with({ remove: ['a'] }).buckets).toEqual(['c', 'b']);
    expect(createJump(['a', 'b', 'c']).with({ remove: ['c'], add: ['d'] }).buckets).toEqual(['a', 'b', 'd']);
  });

  it('has a checksum that tells histories apart', () => {
    const shuffled = createJump(['a', 'b', 'c']).with({ remove: ['a'] });
    expect(shuffled.checksum).not.toBe(createJump(['b', 'c']).checksum);
  });
});

describe('anchor', () => {
  it('brings every key back when the nodes that left come back in reverse', () => {
    const before = createAnchor(TEN);
    const after = before.with({ remove: ['node-4'] }).with({ remove: ['node-7'] });
    const back = after.with({ add: ['node-7'] }).with({ add: ['node-4'] });
    expect(moved(before, back)).toBe(0);
    expect(back.checksum).toBe(before.checksum);
  });

  it('moves the least over any history of leaving and joining', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(19), { minLength: 1, maxLength: 60 }), (history) => {
        const keys = MANY.slice(0, 200);
        let anchor = createAnchor(TEN, { capacity: 20 });
        for (const which of history) {
          const id = `node-${String(which)}`;
          const before = anchor;
          const member = before.node(id) !== undefined;
          anchor = before.with(member ? { remove: [id] } : { add: [id] });
          for (const key of keys) {
            const [from, to] = [before.get(key), anchor.get(key)];
            if (from !== to) expect(member ? from : to).toBe(before.nodes.length === 0 ? to : id);
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('refuses more nodes than its capacity, at once and later', () => {
    expect(() => createAnchor(TEN, { capacity: 9 })).toThrow(PlacementTooLargeError);
    const full = createAnchor(TEN, { capacity: 10 });
    expect(full.capacity).toBe(10);
    expect(() => full.with({ add: ['one-more'] })).toThrow(
      /^PLACEMENT_TOO_LARGE: 11 nodes in an anchor set of 10/,
    );
    expect(full.with({ add: ['one-more'], remove: ['node-0'] }).nodes).toHaveLength(10);
    for (const capacity of [0, -1, 1.5, 2 ** 30]) {
      expect(() => createAnchor([], { capacity })).toThrow(InvalidOptionError);
    }
  });
});

describe.each([
  ['ring', () => createRing(['a'], { pointsPerWeight: 1 })],
  ['jump', () => createJump(['a'])],
  ['anchor', () => createAnchor(['a'], { capacity: 400_000 })],
  ['rendezvous', () => createRendezvous(['a'])],
] as const)('%s', (_, create) => {
  it('takes and loses two hundred thousand nodes in one change', () => {
    const many = Array.from({ length: 200_000 }, (_, i) => `n${String(i)}`);
    const large: Placement = create().with({ add: many });
    expect(large.nodes).toHaveLength(200_001);
    const small = large.with({ remove: many });
    expect(small.nodes.map(({ id }) => id)).toEqual(['a']);
    expect(small.get('key')).toBe('a');
  });
});

describe('balance', () => {
  it('is known of a ring of two hundred thousand nodes', () => {
    const ring = createRing(
      Array.from({ length: 200_000 }, (_, i) => `n${String(i)}`),
      { pointsPerWeight: 1 },
    );
    const { minOverExpected, maxOverExpected } = balance(ring);
    expect(minOverExpected).toBeLessThan(1);
    expect(maxOverExpected).toBeGreaterThan(1);
  });
});

describe.each([
  ['ketama', createKetama],
  ['rendezvous', createRendezvous],
  ['maglev', createMaglev],
] as const)('%s', (_, create) => {
  it('shares keys by weights at the upper and the lower end of what is allowed', () => {
    for (const unit of [1e30 / 3, 1e-30]) {
      const nodes = [1, 3].map((weight, i) => ({ id: `n${String(i)}`, weight: weight * unit }));
      const [light] = balanceOf(create(nodes), MANY.slice(0, 20_000)).nodes;
      expect(light?.share).toBeGreaterThan(0.2);
      expect(light?.share).toBeLessThan(0.3);
    }
  });
});

describe('maglev', () => {
  it('has the ends of its ranges where its slots end, also in tables whose products exceed 53 bits', () => {
    for (const tableSize of [2, 65_537, 16_777_213]) {
      const maglev = createMaglev(['a', 'b', 'c'].slice(0, tableSize), { tableSize });
      const ends = maglev.rangeEnds();
      const slotOf = (token: number): number => Number((BigInt(token) * BigInt(tableSize)) >> 32n);
      const check = (slot: number): void => {
        const end = ends[slot] ?? -1;
        expect(slotOf(end)).toBe(slot);
        if (slot < tableSize - 1) expect(slotOf(end + 1)).toBe(slot + 1);
      };
      for (let slot = 0; slot < tableSize; slot += Math.ceil(tableSize / 5000)) check(slot);
      check(tableSize - 1);
      // Where quotients of doubles are one off.
      if (tableSize > 2 ** 23)
        for (const slot of [9_349_800, 11_206_653, 13_063_506, 14_920_359]) check(slot);
      expect(ends.at(-1)).toBe(2 ** 32 - 1);
    }
  });

  it('gives every node the same number of slots, but for one', () => {
    const maglev = createMaglev(TEN, { tableSize: 2039 });
    const owned = new Map<string, number>();
    for (const end of maglev.rangeEnds()) {
      const id = maglev.pickToken(end, 1)[0] ?? '';
      owned.set(id, (owned.get(id) ?? 0) + 1);
    }
    expect(Math.max(...owned.values()) - Math.min(...owned.values())).toBeLessThanOrEqual(1);
    expect([...owned.values()].reduce((sum, slots) => sum + slots, 0)).toBe(2039);
  });

  it('gives weighted nodes slots in proportion', () => {
    const nodes = [
      { id: 'a', weight: 1 },
      { id: 'b', weight: 2.5 },
      { id: 'c', weight: 0.5 },
    ];
    const { nodes: shares } = balanceOf(createMaglev(nodes), MANY);
    for (const { share, expected } of shares) expect(Math.abs(share - expected)).toBeLessThan(0.01);
  });

  it('tells by its plan how little it moves needlessly', () => {
    const maglev = createMaglev(TEN);
    const { movedFraction, needlessFraction } = plan(maglev, maglev.with({ remove: ['node-5'] }));
    expect(movedFraction).toBeGreaterThanOrEqual(0.0999);
    expect(movedFraction).toBeCloseTo(0.1 + needlessFraction, 3);
    expect(needlessFraction).toBeLessThan(0.05);
  });

  it('refuses a table that is no prime, too small or too large', () => {
    for (const tableSize of [65536, 1, 0, 9, 2 ** 25, 7.5]) {
      expect(() => createMaglev(['a'], { tableSize })).toThrow(InvalidOptionError);
    }
    expect(() => createMaglev(TEN, { tableSize: 7 })).toThrow(PlacementTooLargeError);
    expect(createMaglev(TEN, { tableSize: 11 }).get('key')).toBeDefined();
    expect(createMaglev(['a'], { tableSize: 2 }).get('key')).toBe('a');
  });
});

describe('rendezvous', () => {
  it('gives weighted nodes keys in proportion', () => {
    const nodes = [1, 2, 3, 0.5].map((weight, i) => ({ id: `n${String(i)}`, weight }));
    for (const { share, expected } of balanceOf(createRendezvous(nodes), MANY).nodes) {
      expect(Math.abs(share - expected)).toBeLessThan(0.01);
    }
  });

  it('moves keys only to or from a node whose weight changes', () => {
    const before = createRendezvous(TEN);
    const after = before.with({ reweight: { 'node-1': 3 } });
    const lighter = before.with({ reweight: { 'node-1': 0.2 } });
    for (const key of MANY.slice(0, 5000)) {
      if (before.get(key) !== after.get(key)) expect(after.get(key)).toBe('node-1');
      if (before.get(key) !== lighter.get(key)) expect(before.get(key)).toBe('node-1');
    }
  });
});

describe.each([
  ['ring', createRing, 1.35],
  ['rendezvous', createRendezvous, 1.06],
  ['jump', createJump, 1.06],
  ['maglev', createMaglev, 1.06],
  ['anchor', createAnchor, 1.06],
] as const)('%s', (_, create, bound) => {
  it('spreads 50,000 keys over ten equal nodes', () => {
    // Sampling alone makes about 1.03 of a perfect placement.
    const { maxOverExpected, minOverExpected } = balanceOf(create(TEN), MANY);
    expect(maxOverExpected).toBeLessThan(bound);
    expect(minOverExpected).toBeGreaterThan(2 - bound);
  });

  it('spreads further replicas too, also when a node is gone', () => {
    const placement = create(TEN).with({ remove: ['node-2'] });
    const { maxOverExpected } = balanceOf(placement, MANY.slice(0, 20_000), { replicas: 3 });
    expect(maxOverExpected).toBeLessThan(bound);
  });
});
