import { DuplicateNodeError, type NodeSpec, UnknownNodeError } from '@quorate/hash-ring';
import { InvalidOptionError, QuorateError } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KEYS, strategies } from './strategies.js';

const ids = fc.uniqueArray(fc.stringMatching(/^[a-z0-9.:-]{1,12}$/), { minLength: 1, maxLength: 12 });
const RUNS = { numRuns: 40 };

describe.each(strategies)('$name', (strategy) => {
  const { create, decode } = strategy;

  it('has no owner and no replicas without nodes', () => {
    const empty = create([]);
    expect(empty.get('key')).toBeUndefined();
    expect(empty.pick('key', 3)).toEqual([]);
    expect(empty.nodes).toEqual([]);
    expect(decode(empty.toBytes()).checksum).toBe(empty.checksum);
    expect(empty.with({ add: ['a'] }).get('key')).toBe('a');
  });

  it('gives the same answers and the same checksum for the same members in any order', () => {
    fc.assert(
      fc.property(
        ids.chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
        ),
        ([list, shuffled]) => {
          const a = create(list);
          const b = create(shuffled);
          expect(b.checksum).toBe(a.checksum);
          expect(KEYS.map((key) => b.get(key))).toEqual(KEYS.map((key) => a.get(key)));
        },
      ),
      RUNS,
    );
  });

  it('lists distinct nodes, the owner first, and all of them when asked for more than there are', () => {
    fc.assert(
      fc.property(ids, fc.integer({ min: 0, max: 15 }), (list, n) => {
        const placement = create(list);
        for (const key of KEYS.slice(0, 40)) {
          const replicas = placement.pick(key, n);
          expect(new Set(replicas).size).toBe(replicas.length);
          expect(replicas).toHaveLength(Math.min(n, list.length));
          if (n > 0) expect(replicas[0]).toBe(placement.get(key));
        }
      }),
      RUNS,
    );
  });

  it('passes over excluded nodes and keeps the order of the others', () => {
    const placement = create(['a', 'b', 'c', 'd', 'e']);
    for (const key of KEYS.slice(0, 100)) {
      const all = placement.pick(key, 5);
      const [first = '', , third = ''] = all;
      expect(placement.pick(key, 5, { exclude: [first, third, 'nobody'] })).toEqual(
        all.filter((id) => id !== first && id !== third),
      );
    }
  });

  it('puts no two replicas in one zone while there are zones left, and then fills up evenly', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('z1', 'z2', 'z3', undefined), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 1, max: 6 }),
        (zones, n) => {
          const nodes = zones.map((zone, i): NodeSpec => ({
            id: `n${String(i)}`,
            ...(zone ? { zone } : {}),
          }));
          const placement = create(nodes);
          for (const key of KEYS.slice(0, 30)) {
            const replicas = placement.pick(key, n, { distinctZones: true });
            expect(new Set(replicas).size).toBe(Math.min(n, zones.length));
            expect(replicas[0]).toBe(placement.get(key));
            const used = new Map<string | undefined, number>();
            for (const id of replicas) {
              const zone = placement.node(id)?.zone;
              used.set(zone, (used.get(zone) ?? 0) + 1);
            }
            const distinct = new Set(zones).size;
            expect(used.size).toBe(Math.min(n, distinct));
            // No zone is used twice more often than one that still has an unused node.
            for (const zone of new Set(zones)) {
              const members = zones.filter((other) => other === zone).length;
              const uses = used.get(zone) ?? 0;
              if (uses < members)
                for (const other of used.values()) expect(other).toBeLessThanOrEqual(uses + 1);
            }
          }
        },
      ),
      RUNS,
    );
  });

  it('spreads over racks within a zone', () => {
    const nodes = ['r1', 'r1', 'r2', 'r2'].map((rack, i) => ({ id: `n${String(i)}`, zone: 'z', rack }));
    const placement = create(nodes);
    for (const key of KEYS.slice(0, 100)) {
      const racks = placement.pick(key, 2, { distinctRacks: true }).map((id) => placement.node(id)?.rack);
      expect(new Set(racks).size).toBe(2);
    }
  });

  it('hashes text as its UTF-8 bytes', () => {
    const placement = create(['a', 'b', 'c']);
    for (const key of ['plain', 'größe', '日本', '']) {
      expect(placement.get(new TextEncoder().encode(key))).toBe(placement.get(key));
    }
  });

  if (strategy.leastOnAdd)
    it('moves keys only to the node that is added', () => {
      fc.assert(
        fc.property(ids, (list) => {
          const before = create(list);
          const after = before.with({ add: ['the-new-one'] });
          for (const key of KEYS) {
            const owner = after.get(key);
            if (owner !== 'the-new-one') expect(owner).toBe(before.get(key));
          }
        }),
        RUNS,
      );
    });

  if (strategy.leastOnRemove)
    it('moves only the keys of the node that is removed', () => {
      fc.assert(
        fc.property(ids, fc.nat(), (list, which) => {
          const gone = list[which % list.length] ?? '';
          const before = create(list);
          const after = before.with({ remove: [gone] });
          for (const key of KEYS) {
            const owner = before.get(key);
            if (owner !== gone) expect(after.get(key)).toBe(owner);
          }
        }),
        RUNS,
      );
    });

  if (strategy.leastForReplicas)
    it('replaces the removed node in lists of replicas and nothing else', () => {
      fc.assert(
        fc.property(ids, fc.nat(), (list, which) => {
          const gone = list[which % list.length] ?? '';
          const before = create(list);
          const after = before.with({ remove: [gone] });
          for (const key of KEYS.slice(0, 100)) {
            const kept = before.pick(key, 3).filter((id) => id !== gone);
            expect(after.pick(key, 3).slice(0, kept.length)).toEqual(kept);
          }
        }),
        RUNS,
      );
    });

  if (strategy.historyFree)
    it('is the same whether members were there from the start or came and went', () => {
      fc.assert(
        fc.property(ids, ids, (first, second) => {
          const incremental = create(first).with({
            remove: first.slice(1),
            add: second.filter((id) => id !== first[0]),
          });
          const direct = create([...new Set([first[0] ?? '', ...second])]);
          expect(incremental.checksum).toBe(direct.checksum);
          expect(KEYS.map((key) => incremental.pick(key, 2))).toEqual(KEYS.map((key) => direct.pick(key, 2)));
        }),
        RUNS,
      );
    });

  it('counts epochs, leaves the snapshot it came from alone, and is itself when nothing changes', () => {
    const before = create(['a', 'b'], { epoch: 4 });
    const start = before.epoch;
    const owners = KEYS.map((key) => before.get(key));
    const after = before.with({ add: ['c'] });
    expect(after.epoch).toBe(start + 1);
    expect(after.nodes.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect(before.nodes.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(KEYS.map((key) => before.get(key))).toEqual(owners);
    expect(before.with({})).toBe(before);
    expect(before.with({ reweight: { a: 1 } })).toBe(before);
  });

  it('covers zones and members, not the epoch, with its checksum', () => {
    const plain = create(['a', 'b']);
    expect(plain.checksum).toMatch(/^[0-9a-f]{16}$/);
    expect(create(['a', { id: 'b', zone: 'z' }]).checksum).not.toBe(plain.checksum);
    expect(create(['a', 'c']).checksum).not.toBe(plain.checksum);
    expect(create(['a', 'b'], { epoch: 9 }).checksum).toBe(plain.checksum);
  });

  it('survives a snapshot, history included', () => {
    fc.assert(
      fc.property(ids, (list) => {
        const spec = list.map((id, i) => ({ id, zone: `z${String(i % 3)}`, rack: 'r' }));
        const gone = list.slice(0, Math.floor(list.length / 2));
        const placement = create(spec)
          .with({ remove: gone })
          .with({ add: ['the-late-one'] });
        const copy = decode(placement.toBytes());
        expect(copy.epoch).toBe(placement.epoch);
        expect(copy.nodes).toEqual(placement.nodes);
        expect(copy.checksum).toBe(placement.checksum);
        expect(KEYS.map((key) => copy.pick(key, 2))).toEqual(KEYS.map((key) => placement.pick(key, 2)));
        expect(copy.with({ add: ['the-next-one'] }).checksum).toBe(
          placement.with({ add: ['the-next-one'] }).checksum,
        );
      }),
      RUNS,
    );
  });

  it('refuses a snapshot of which any byte is changed, cut off or added', () => {
    const bytes = create(['a', 'b', { id: 'c', zone: 'z' }]).toBytes();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(() => decode(damaged)).toThrow(QuorateError);
      expect(() => decode(bytes.subarray(0, at))).toThrow(MalformedBytesError);
    }
    expect(() => decode(Uint8Array.of(...bytes, 0))).toThrow(MalformedBytesError);
  });

  it('refuses garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        expect(() => decode(garbage)).toThrow(MalformedBytesError);
      }),
    );
  });

  it('refuses ids given twice, unknown ids and bad ids', () => {
    expect(() => create(['a', 'b', 'a'])).toThrow(DuplicateNodeError);
    const placement = create(['a', 'b']);
    expect(() => placement.with({ add: ['a'] })).toThrow(/^DUPLICATE_NODE: "a" is a member already/);
    expect(() => placement.with({ remove: ['z'] })).toThrow(UnknownNodeError);
    expect(() => placement.with({ remove: ['a', 'a'] })).toThrow(UnknownNodeError);
    expect(() => placement.with({ reweight: { z: 2 } })).toThrow(/^UNKNOWN_NODE: "z"/);
    for (const bad of ['', 'x'.repeat(256), 'a\nb', '\ud800'])
      expect(() => create([bad])).toThrow(InvalidOptionError);
    expect(() => create('abc' as unknown as string[])).toThrow(InvalidOptionError);
    expect(() => create([null as unknown as string])).toThrow(InvalidOptionError);
  });

  it('refuses negative, infinite and absurd weights, and those other than 1 where nodes are equal', () => {
    for (const weight of [-1, NaN, Infinity, 1e31, Number.MAX_VALUE, -0.5, '2' as unknown as number]) {
      expect(() => create([{ id: 'a', weight }])).toThrow(InvalidOptionError);
      expect(() => create(['a']).with({ reweight: { a: weight } })).toThrow(InvalidOptionError);
    }
    if (!strategy.weighted) expect(() => create([{ id: 'a', weight: 2 }])).toThrow(/weight of "a" must be 1/);
  });

  if (strategy.weighted)
    it('gives a node of weight 0 nothing', () => {
      const placement = create(['a', 'b', { id: 'drained', weight: 0 }]);
      for (const key of KEYS) expect(placement.pick(key, 3).sort()).toEqual(['a', 'b']);
      expect(create([{ id: 'drained', weight: 0 }]).get('key')).toBeUndefined();
    });

  it('refuses what is no key, no number of replicas and no token', () => {
    const placement = create(['a', 'b']);
    expect(() => placement.get(5 as unknown as string)).toThrow(InvalidOptionError);
    expect(() => placement.pick('key', -1)).toThrow(InvalidOptionError);
    expect(() => placement.pick('key', 1.5)).toThrow(InvalidOptionError);
    expect(() => placement.pickToken(-1, 1)).toThrow(InvalidOptionError);
    expect(() => placement.pickToken(2 ** 32, 1)).toThrow(InvalidOptionError);
  });

  if (strategy.ranged)
    it('places every token of a range alike', () => {
      const placement = create(['a', 'b', { id: 'c', zone: 'z' }, 'd']) as ReturnType<typeof create> & {
        rangeEnds(): Uint32Array;
      };
      const ends = placement.rangeEnds();
      expect(ends.at(-1)).toBe(2 ** 32 - 1);
      let start = 0;
      for (const [index, end] of ends.entries()) {
        expect(end).toBeGreaterThanOrEqual(start);
        if (index % 7 === 0) {
          const expected = placement.pickToken(end, 3);
          expect(placement.pickToken(start, 3)).toEqual(expected);
          expect(placement.pickToken(Math.floor((start + end) / 2), 3)).toEqual(expected);
        }
        start = end + 1;
      }
    });
});
