import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fairShare, planLeases } from '../src/core/assignment.js';

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 20 });

describe('fair share of the partitions', () => {
  it('adds up to all partitions and differs by one at most', () => {
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 1024 }), (relays, partitions) => {
        const shares = relays.map((self) =>
          fairShare(
            self,
            relays.filter((other) => other !== self),
            partitions,
          ),
        );
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(partitions);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('is reached from any distribution in two rounds, and then nothing moves any more', () => {
    fc.assert(
      fc.property(
        names,
        fc.array(fc.nat(), { minLength: 1, maxLength: 64 }),
        fc.infiniteStream(fc.nat()),
        (relays, owners, turns) => {
          // A partition's owner is an index into the relays; one beyond them is a relay that crashed.
          const held = new Map(relays.map((self) => [self, new Set<number>()]));
          const free = new Set<number>();
          owners.forEach((owner, partition) => {
            const self = relays[owner % (relays.length + 1)];
            if (self === undefined) free.add(partition);
            else held.get(self)?.add(partition);
          });
          const round = (): number => {
            let moves = 0;
            const order = [...relays].sort(() => ((turns.next().value as number) % 2 === 0 ? 1 : -1));
            for (const self of order) {
              const own = held.get(self) ?? new Set();
              const plan = planLeases({
                self,
                others: relays.filter((other) => other !== self),
                partitions: owners.length,
                held: [...own],
                free: free.size,
              });
              for (const partition of plan.release) {
                expect(own.delete(partition)).toBe(true);
                free.add(partition);
              }
              for (const partition of [...free].slice(0, plan.acquire)) {
                free.delete(partition);
                own.add(partition);
              }
              moves += plan.release.length + plan.acquire;
            }
            return moves;
          };
          round();
          round();
          expect(free.size).toBe(0);
          const sizes = [...held.values()].map((own) => own.size);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
          expect(round()).toBe(0);
        },
      ),
    );
  });

  it('takes no more than is free while others hold too much', () => {
    expect(planLeases({ self: 'b', others: ['a'], partitions: 16, held: [], free: 3 })).toEqual({
      acquire: 3,
      release: [],
    });
  });
});
