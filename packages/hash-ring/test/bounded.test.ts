import { createRing } from '@quorate/hash-ring';
import {
  type BoundedKeys,
  createBoundedKeys,
  createPartitioned,
  decodePartitioned,
  type Partitioned,
} from '@quorate/hash-ring/bounded';
import { createAnchor, decodeAnchor } from '@quorate/hash-ring/anchor';
import { createJump } from '@quorate/hash-ring/jump';
import { createRendezvous } from '@quorate/hash-ring/rendezvous';
import { InvalidOptionError } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const weights = fc.array(fc.constantFrom<number>(0, 0.5, 1, 1, 1, 2, 3.7), { minLength: 1, maxLength: 8 });
const loadFactors = fc.constantFrom<number>(1, 1.05, 1.25, 2, 5);
const nodesOf = (list: readonly number[]): { id: string; weight: number }[] =>
  list.map((weight, i) => ({ id: `n${String(i)}`, weight }));

/** ceil(c * m * w / W), computed over whole numbers so that nothing is rounded on the way. */
function exactBound(list: readonly number[], index: number, balls: number, loadFactor: number): number {
  const tenths = (value: number): bigint => BigInt(Math.round(value * 100));
  const total = list.reduce((sum, weight) => sum + tenths(weight), 0n) * 100n;
  const share = tenths(loadFactor) * BigInt(balls) * tenths(list[index] ?? 0);
  return total === 0n ? 0 : Number((share + total - 1n) / total);
}

/** How many partitions each node owns. */
function partitionsOf(placement: Partitioned): Map<string, number> {
  const owned = new Map<string, number>();
  for (const end of placement.rangeEnds()) {
    for (const id of placement.pickToken(end, 1)) owned.set(id, (owned.get(id) ?? 0) + 1);
  }
  return owned;
}

describe('partitions with bounded loads', () => {
  it('never give a node more than the bound of the paper', () => {
    fc.assert(
      fc.property(weights, loadFactors, fc.constantFrom(1, 16, 128, 512), (list, loadFactor, partitions) => {
        const inner = createRing(nodesOf(list), { pointsPerWeight: 20 });
        const placement = createPartitioned(inner, { partitions, loadFactor });
        const owned = partitionsOf(placement);
        const total = list.reduce((sum, weight) => sum + weight, 0);
        expect([...owned.values()].reduce((sum, count) => sum + count, 0)).toBe(total === 0 ? 0 : partitions);
        list.forEach((_, i) => {
          const bound = exactBound(list, i, partitions, loadFactor);
          expect(owned.get(`n${String(i)}`) ?? 0).toBeLessThanOrEqual(bound);
          expect(placement.bound(`n${String(i)}`)).toBe(bound);
        });
      }),
      // 1.05 * 16 * 2 / 11.2 is 3, and a little more in floating point.
      { examples: [[[3.7, 1, 1, 1, 2, 0.5, 1, 1], 1.05, 16]] },
    );
  });

  it('are those of the placement below where nothing is bounded', () => {
    const inner = createRendezvous(['a', 'b', 'c', 'd']);
    const free = createPartitioned(inner, { partitions: 256, loadFactor: Infinity });
    const bounded = createPartitioned(inner, { partitions: 256, loadFactor: 1 });
    const count = (placement: typeof free): number[] => [...partitionsOf(placement).values()].sort();
    expect(count(bounded)).toEqual([64, 64, 64, 64]);
    expect(count(free)).not.toEqual([64, 64, 64, 64]);
    expect(free.pick('key', 4)).toHaveLength(4);
  });

  it('keep the history of the placement below in their snapshot', () => {
    const placement = createPartitioned(createAnchor(['a', 'b', 'c']).with({ remove: ['a'] }), {
      partitions: 64,
    });
    const copy = decodePartitioned(placement.toBytes(), decodeAnchor);
    expect(copy.checksum).toBe(placement.checksum);
    expect(copy.epoch).toBe(1);
    expect(() => decodePartitioned(placement.toBytes(), () => createAnchor(['b', 'c']))).toThrow(
      MalformedBytesError,
    );
  });

  it('refuse a number that is no power of two and a load factor below 1', () => {
    const ring = createRing(['a']);
    for (const partitions of [0, 3, -4, 2 ** 17, 1.5, NaN]) {
      expect(() => createPartitioned(ring, { partitions })).toThrow(InvalidOptionError);
    }
    for (const loadFactor of [0.99, -1, NaN]) {
      expect(() => createPartitioned(ring, { loadFactor })).toThrow(InvalidOptionError);
      expect(() => createBoundedKeys(ring, { loadFactor })).toThrow(InvalidOptionError);
    }
    expect(createPartitioned(ring, { partitions: 1 }).get('key')).toBe('a');
  });
});

/** What must hold after every call. */
function check(bounded: BoundedKeys, list: readonly number[], keys: ReadonlySet<string>): void {
  expect(bounded.size).toBe(keys.size);
  const loads = new Map<string, number>();
  for (const key of keys) {
    const node = bounded.get(key) ?? '';
    loads.set(node, (loads.get(node) ?? 0) + 1);
  }
  list.forEach((_, i) => {
    const id = `n${String(i)}`;
    expect(bounded.load(id)).toBe(loads.get(id) ?? 0);
    expect(bounded.load(id)).toBeLessThanOrEqual(exactBound(list, i, keys.size, bounded.loadFactor));
  });
  // No key is away from a node that it prefers while that node has room.
  for (const key of keys) {
    bounded.placement.walk(bounded.placement.token(key), ({ id }) => {
      if (id === bounded.get(key)) return true;
      expect(bounded.load(id)).toBe(bounded.bound(id));
      return false;
    });
  }
}

describe('keys with bounded loads', () => {
  it.each([
    ['ring', createRing],
    ['rendezvous', createRendezvous],
  ] as const)('never load a node of a %s beyond the bound, and stay where they prefer to be', (_, create) => {
    const commands = fc.array(fc.tuple(fc.boolean(), fc.nat(40)), { maxLength: 120 });
    fc.assert(
      fc.property(weights, loadFactors, commands, (list, loadFactor, history) => {
        if (list.every((weight) => weight === 0)) return;
        const bounded = createBoundedKeys(create(nodesOf(list)), { loadFactor });
        const places = new Map<string, string>();
        for (const [add, which] of history) {
          const key = `k${String(which)}`;
          let moves;
          if (add) {
            const { node, moved } = bounded.assign(key);
            moves = moved;
            expect(moves.map((move) => move.key)).not.toContain(key);
            if (!places.has(key)) places.set(key, node ?? '');
          } else {
            moves = bounded.release(key);
            places.delete(key);
          }
          // The moves that are told are the moves that happened.
          for (const { key: moved, from, to } of moves) {
            expect(places.get(moved)).toBe(from);
            places.set(moved, to);
          }
          for (const [one, place] of places) expect(bounded.get(one)).toBe(place);
          check(bounded, list, new Set(places.keys()));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('go over to another placement and tell what moved', () => {
    fc.assert(
      fc.property(weights, weights, fc.integer({ min: 0, max: 80 }), (first, second, count) => {
        if ([first, second].some((list) => list.every((weight) => weight === 0))) return;
        const bounded = createBoundedKeys(createRing(nodesOf(first)));
        const keys = new Set(Array.from({ length: count }, (_, i) => `k${String(i)}`));
        for (const key of keys) bounded.assign(key);
        const before = new Map([...keys].map((key) => [key, bounded.get(key)]));
        const moved = bounded.update(createRing(nodesOf(second)));
        check(bounded, second, keys);
        for (const key of keys) {
          const move = moved.find((one) => one.key === key);
          expect(move?.from ?? bounded.get(key)).toBe(before.get(key));
          if (move !== undefined) expect(move.to).toBe(bounded.get(key));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('have no node where there is none, and are released when the last one goes', () => {
    const bounded = createBoundedKeys(createRing());
    expect(bounded.assign('k')).toEqual({ node: undefined, moved: [] });
    bounded.update(createJump(['a']));
    expect(bounded.assign('k')).toEqual({ node: 'a', moved: [] });
    expect(bounded.assign('k')).toEqual({ node: 'a', moved: [] });
    expect(bounded.update(createJump())).toEqual([]);
    expect(bounded.get('k')).toBeUndefined();
    expect(bounded.release('k')).toEqual([]);
    expect(() => bounded.assign(5 as unknown as string)).toThrow(InvalidOptionError);
  });
});
