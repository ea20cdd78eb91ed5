import {
  createRing,
  IncompatiblePlacementsError,
  inRange,
  type MovementPlan,
  plan,
  type PlanOptions,
  type RangedPlacement,
} from '@quorate/hash-ring';
import { createPartitioned } from '@quorate/hash-ring/bounded';
import { createMaglev } from '@quorate/hash-ring/maglev';
import { createRendezvous } from '@quorate/hash-ring/rendezvous';
import { InvalidOptionError } from '@quorate/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { strategies } from './strategies.js';

/** Replays a plan on the holders of a token. */
function replay(movement: MovementPlan, token: number, holders: readonly string[]): Set<string> {
  const now = new Set(holders);
  for (const move of movement.moves) {
    if (!inRange(move, token)) continue;
    expect(now.has(move.to)).toBe(false);
    for (const source of move.from) expect(holders).toContain(source);
    now.add(move.to);
  }
  for (const release of movement.releases) {
    if (!inRange(release, token)) continue;
    expect(now.delete(release.node)).toBe(true);
  }
  return now;
}

const ids = fc.uniqueArray(fc.nat(30), { minLength: 1, maxLength: 8 });
const ranged = strategies.filter((strategy) => strategy.ranged);

describe('plan', () => {
  it.each(ranged.map((strategy) => [strategy.name, strategy] as const))(
    'of %s brings every key where the placement after has it, and moves nothing else',
    (_, strategy) => {
      fc.assert(
        fc.property(
          ids,
          ids,
          fc.integer({ min: 1, max: 3 }),
          fc.array(fc.nat(0xffffffff), { minLength: 10, maxLength: 40 }),
          (first, second, replicas, tokens) => {
            const name = (id: number): string => `n${String(id)}`;
            const before = strategy.create(first.map(name)) as RangedPlacement;
            const after = before.with({
              remove: first.filter((id) => !second.includes(id)).map(name),
              add: second.filter((id) => !first.includes(id)).map(name),
            });
            const movement = plan(before, after, { replicas });
            for (const token of tokens) {
              const now = replay(movement, token, before.pickToken(token, replicas));
              const wanted = after.pickToken(token, replicas);
              // Copies on nodes that are no members any more are nobody's concern.
              expect([...now].filter((id) => after.node(id) !== undefined).sort()).toEqual(
                [...wanted].sort(),
              );
            }
            expect(movement.lost).toEqual([]);
          },
        ),
        { numRuns: 25 },
      );
    },
  );

  it('of a ring moves nothing needlessly, for each replica', () => {
    const nodes = Array.from({ length: 12 }, (_, i) => `n${String(i)}`);
    const ring = createRing(nodes);
    for (const replicas of [1, 2, 3]) {
      const removal = plan(ring, ring.with({ remove: ['n5'] }), { replicas });
      expect(removal.needlessFraction).toBe(0);
      expect(removal.movedFraction).toBeGreaterThan(0.05);
      expect(removal.movedFraction).toBeLessThan(0.12);
      const arrival = plan(ring, ring.with({ add: ['n12'] }), { replicas });
      expect(arrival.needlessFraction).toBe(0);
      expect(arrival.moves.every(({ to }) => to === 'n12')).toBe(true);
      const weight = plan(ring, ring.with({ reweight: { n3: 0.5 } }), { replicas });
      expect(weight.needlessFraction).toBe(0);
    }
  });

  it('counts as moved what the shares say', () => {
    const ring = createRing(['a', 'b', 'c', 'd']);
    const after = ring.with({ add: ['e'] });
    const { moves, movedFraction } = plan(ring, after);
    const tokens = moves.reduce((sum, { start, end }) => sum + end - start + 1, 0);
    expect(movedFraction).toBe(tokens / 2 ** 32);
  });

  it('copies from the node that gives up its copy first, and from the others next', () => {
    const ring = createRing(['a', 'b', 'c', 'd']);
    const { moves, releases } = plan(ring, ring.with({ add: ['e'] }), { replicas: 2 });
    for (const { start, from, to } of moves) {
      const [first = '', second = ''] = from;
      expect(to).toBe('e');
      expect(releases.some((release) => release.node === first && inRange(release, start))).toBe(true);
      expect([...from].sort()).toEqual(ring.pickToken(start, 2).sort());
      expect(second).not.toBe('');
    }
  });

  it('reads from the survivors when a node was killed, and loses nothing with two replicas', () => {
    const ring = createRing(['a', 'b', 'c', 'd']);
    const after = ring.with({ remove: ['c'] });
    const movement = plan(ring, after, { replicas: 2, unavailable: ['c'] });
    expect(movement.lost).toEqual([]);
    expect(movement.moves.length).toBeGreaterThan(0);
    for (const { from } of movement.moves) {
      expect(from).toHaveLength(1);
      expect(from).not.toContain('c');
    }
    expect(movement.releases.every(({ node }) => node !== 'c')).toBe(true);
  });

  it('lists what is lost when every copy was on nodes that are gone', () => {
    const ring = createRing(['a', 'b', 'c']);
    const movement = plan(ring, ring.with({ remove: ['c'] }), { unavailable: ['c'] });
    expect(movement.moves).toEqual([]);
    const lost = movement.lost.reduce((sum, { start, end }) => sum + end - start + 1, 0);
    const owned = plan(ring, ring.with({ remove: ['c'] })).moves.reduce(
      (sum, { start, end }) => sum + end - start + 1,
      0,
    );
    expect(lost).toBe(owned);
  });

  it('moves nothing into an empty placement, out of one, or between equal ones', () => {
    const ring = createRing(['a', 'b']);
    for (const movement of [plan(createRing(), ring), plan(ring, createRing()), plan(ring, ring)]) {
      expect(movement).toMatchObject({ moves: [], lost: [], movedFraction: 0, needlessFraction: 0 });
    }
  });

  it('respects zones before and after', () => {
    const ring = createRing(['a1', 'a2', 'b1', 'b2'].map((id) => ({ id, zone: id.slice(0, 1) })));
    const after = ring.with({ add: [{ id: 'b3', zone: 'b' }] });
    const options: PlanOptions = { replicas: 2, distinctZones: true };
    for (let token = 0; token < 2 ** 32; token += 2 ** 24 + 7) {
      const now = replay(plan(ring, after, options), token, ring.pickToken(token, 2, options));
      expect(new Set([...now].map((id) => after.node(id)?.zone)).size).toBe(2);
      if (token > 2 ** 28) break;
    }
  });

  it('goes from one strategy to another when both hash keys alike', () => {
    const nodes = ['a', 'b', 'c'];
    const before = createRing(nodes);
    const after = createPartitioned(createRendezvous(nodes), { partitions: 64 });
    const movement = plan(before, after);
    for (let token = 0; token < 2 ** 32; token += 2 ** 25 + 3) {
      expect([...replay(movement, token, before.pickToken(token, 1))]).toEqual(after.pickToken(token, 1));
    }
    expect(() => plan(before, createMaglev(nodes, { seed: 1 }))).toThrow(IncompatiblePlacementsError);
    expect(() => plan(before, createRing(nodes, { hash: 'murmur3' }))).toThrow(
      /^INCOMPATIBLE_PLACEMENTS: keys become tokens by xxh32:0 before and by murmur3:0 after/,
    );
  });

  it('has a checksum by which equal plans are known', () => {
    const ring = createRing(['a', 'b', 'c']);
    const make = (options?: PlanOptions): string => plan(ring, ring.with({ add: ['d'] }), options).checksum;
    expect(make()).toBe(make());
    expect(make({ replicas: 2 })).not.toBe(make());
  });

  it('refuses placements without ranges, and says which have some', () => {
    const rendezvous = createRendezvous(['a']) as unknown as RangedPlacement;
    expect(() => plan(rendezvous, rendezvous)).toThrow(
      'INVALID_OPTION: before must be a placement with ranges: ring, ketama, maglev, or any other one in ' +
        'createPartitioned, got "rendezvous"',
    );
    const ring = createRing(['a']);
    expect(() => plan(ring, ring, { replicas: 0 })).toThrow(InvalidOptionError);
  });
});
