import type { Index } from '@quorate/durable-log';
import type { NodeId } from '@quorate/transport';

/** The voters whose majority decides; while a joint configuration is in force, those of the old one as well. */
export interface Voters {
  readonly incoming: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
}

/** How a vote stands. */
export type VoteOutcome = 'won' | 'lost' | 'pending';

/** How many of `size` voters are a majority. */
export function majority(size: number): number {
  return Math.floor(size / 2) + 1;
}

/**
 * The highest index that a majority has reached; in a joint configuration, that majorities of both have. An empty
 * half agrees to everything, so that the result is that of the other one.
 */
export function quorumIndex(voters: Voters, reached: (voter: NodeId) => Index): Index {
  const incoming = majorityIndex(voters.incoming, reached);
  return voters.outgoing.length === 0
    ? incoming
    : Math.min(incoming, majorityIndex(voters.outgoing, reached));
}

function majorityIndex(voters: readonly NodeId[], reached: (voter: NodeId) => Index): Index {
  const size = voters.length;
  if (size === 0) return Number.POSITIVE_INFINITY;
  const indices = new Array<Index>(size);
  // Insertion sort, descending: the sets are tiny and this runs for every acknowledgement.
  for (let taken = 0; taken < size; taken++) {
    const index = reached(voters[taken] ?? '');
    let at = taken;
    for (; at > 0; at--) {
      const above = indices[at - 1] ?? 0;
      if (above >= index) break;
      indices[at] = above;
    }
    indices[at] = index;
  }
  return indices[majority(size) - 1] ?? 0;
}

/** How a vote stands, given who granted (true), who refused (false) and who has not answered (undefined). */
export function voteOutcome(voters: Voters, granted: (voter: NodeId) => boolean | undefined): VoteOutcome {
  const incoming = majorityOutcome(voters.incoming, granted);
  const outgoing = majorityOutcome(voters.outgoing, granted);
  if (incoming === 'lost' || outgoing === 'lost') return 'lost';
  return incoming === 'won' && outgoing === 'won' ? 'won' : 'pending';
}

function majorityOutcome(
  voters: readonly NodeId[],
  granted: (voter: NodeId) => boolean | undefined,
): VoteOutcome {
  if (voters.length === 0) return 'won';
  let yes = 0;
  let no = 0;
  for (const voter of voters) {
    const vote = granted(voter);
    if (vote === true) yes++;
    else if (vote === false) no++;
  }
  const needed = majority(voters.length);
  if (yes >= needed) return 'won';
  return voters.length - no < needed ? 'lost' : 'pending';
}
