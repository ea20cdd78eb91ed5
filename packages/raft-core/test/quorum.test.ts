import { describe, expect, it } from 'vitest';
import { majority, quorumIndex, voteOutcome } from '../src/core/quorum.js';

const names = ['a', 'b', 'c', 'd', 'e'];

/** Every way to assign one of `values` to each of `size` places. */
function* assignments<T>(size: number, values: readonly T[]): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (const rest of assignments(size - 1, values)) for (const value of values) yield [...rest, value];
}

function subsets(of: readonly string[]): string[][] {
  return Array.from({ length: 2 ** of.length }, (_, bits) => of.filter((_, at) => (bits & (1 << at)) !== 0));
}

describe('quorum arithmetic, exhaustively', () => {
  it.each([1, 2, 3, 4, 5])('any two majorities of %i voters overlap, and no smaller set does', (size) => {
    const voters = names.slice(0, size);
    const sets = subsets(voters);
    const large = sets.filter((set) => set.length >= majority(size));
    for (const one of large)
      for (const other of large) expect(one.some((id) => other.includes(id))).toBe(true);
    // One node less, and another set of that size need not overlap.
    const small = sets.filter((set) => set.length === majority(size) - 1);
    const disjoint = small.some((one) => small.some((other) => !one.some((id) => other.includes(id))));
    expect(disjoint).toBe(size % 2 === 0 || size === 1 || small.length > 1);
  });

  it.each([1, 2, 3, 4, 5])('the quorum index of %i voters is what a majority has reached', (size) => {
    const voters = names.slice(0, size);
    for (const indices of assignments(size, [0, 3, 5, 9])) {
      const reached = (id: string): number => indices[names.indexOf(id)] ?? 0;
      const index = quorumIndex({ incoming: voters, outgoing: [] }, reached);
      const holders = (at: number): number => voters.filter((id) => reached(id) >= at).length;
      expect(holders(index)).toBeGreaterThanOrEqual(majority(size));
      expect(holders(index + 1)).toBeLessThan(majority(size));
    }
  });

  it('a joint quorum is a majority of both halves, for all pairs of sets of up to five voters', () => {
    const sets = subsets(names).filter((set) => set.length > 0);
    for (const incoming of sets) {
      for (const outgoing of sets) {
        for (const agreed of subsets(names)) {
          const reached = (id: string): number => (agreed.includes(id) ? 8 : 2);
          const holds = (half: readonly string[]): boolean =>
            half.filter((id) => agreed.includes(id)).length >= majority(half.length);
          expect(quorumIndex({ incoming, outgoing }, reached)).toBe(
            holds(incoming) && holds(outgoing) ? 8 : 2,
          );
        }
      }
    }
  });

  it('a vote is won, lost or open as the votes that are missing can change it', () => {
    for (const size of [1, 2, 3, 4, 5]) {
      const incoming = names.slice(0, size);
      for (const votes of assignments(size, [true, false, undefined])) {
        const outcome = voteOutcome({ incoming, outgoing: [] }, (id) => votes[names.indexOf(id)]);
        const yes = votes.filter((vote) => vote === true).length;
        const missing = votes.filter((vote) => vote === undefined).length;
        const needed = majority(size);
        expect(outcome).toBe(yes >= needed ? 'won' : yes + missing >= needed ? 'pending' : 'lost');
      }
    }
  });

  it('nobody agrees to everything', () => {
    expect(quorumIndex({ incoming: [], outgoing: [] }, () => 0)).toBe(Number.POSITIVE_INFINITY);
    expect(voteOutcome({ incoming: [], outgoing: [] }, () => undefined)).toBe('won');
  });
});
