import type { Entry, LoadedLog } from '@quorate/durable-log';
import { identifierOption, integerOption, InvalidOptionError, numberOption } from '@quorate/runtime';
import type { Membership } from '@quorate/replicated-log';
import type { NodeId } from '@quorate/transport';
import { fault } from './core/membership.js';

/** How a raft core behaves. All nodes of a cluster should agree on everything but `id`, `seed` and `recovered`. */
export interface RaftOptions {
  /** This node. */
  readonly id: NodeId;
  /**
   * The first membership, the same on every node that starts with the cluster. A node that joins later starts with
   * no voter (`{ voters: [], learners: [] }`) and learns the membership from the leader. Ignored where `recovered`
   * holds one.
   */
  readonly membership: Membership;
  /** What the storage holds: what `load` and `read` gave. Absent on a node that starts for the first time. */
  readonly recovered?: Recovered;
  /**
   * Seed of the randomised election timeouts, and the name of this life of the node: it must differ from one start
   * to the next. Danger: nodes with one seed in common keep splitting votes.
   */
  readonly seed: number;
  /**
   * A follower that hears from no leader for this many ticks, up to twice as many by chance, campaigns. Danger:
   * below about five heartbeats, elections start for a single delay.
   * @defaultValue 10
   */
  readonly electionTicks?: number;
  /**
   * A leader sends heartbeats every this many ticks. Danger: close to `electionTicks`, one lost heartbeat is an
   * election.
   * @defaultValue 1
   */
  readonly heartbeatTicks?: number;
  /**
   * A node asks whether it could win before it campaigns, so that one that was cut off does not disturb a working
   * leader when it comes back (dissertation, section 9.6). Danger: without it, such a node deposes the leader.
   * @defaultValue true
   */
  readonly preVote?: boolean;
  /**
   * A leader that hears from no majority for `electionTicks` steps down, and voters that hear from a leader refuse
   * to depose it (dissertation, sections 6.2 and 4.2.3). Danger: without it, clients wait at a leader that is cut off,
   * and a node that was removed can depose leaders.
   * @defaultValue true
   */
  readonly checkQuorum?: boolean;
  /**
   * Allows read barriers of the kind `lease`. The number is the stated bound of clock drift: the largest ratio by
   * which one node's ticks may be faster than another's, such as 1.1 for a tenth. A lease lasts while
   * `(ticks since the round of heartbeats + 1) * leaseDriftBound < electionTicks - 2`. Danger: with a larger drift such
   * reads may be stale; so they may on a machine that was suspended and whose monotonic clock stood still meanwhile.
   * Needs `checkQuorum`. After a start, a node refuses its vote for `electionTicks`.
   * @defaultValue off
   */
  readonly leaseDriftBound?: number;
  /**
   * A follower hands proposals to the leader instead of refusing them. Danger: a message that is lost leaves the outcome
   * of what it carried unknown.
   * @defaultValue true
   */
  readonly forwardProposals?: boolean;
  /**
   * Bytes of commands in one message, with their frames; a larger command travels alone. Danger: above what the
   * transport carries, messages do not arrive; a node of `@quorate/replicated-log` stops with `MESSAGE_TOO_LARGE`.
   * @defaultValue 262_144
   */
  readonly maxBytesPerMessage?: number;
  /**
   * Messages with entries under way to one peer. Danger: few of them make throughput wait for round trips; each costs
   * 16 bytes of memory for each peer.
   * @defaultValue 256
   */
  readonly maxInflightMessages?: number;
  /**
   * Bytes of commands under way to one peer. Danger: below bandwidth times round trip the peer waits.
   * @defaultValue 8 MiB
   */
  readonly maxInflightBytes?: number;
  /**
   * Bytes of commands that a leader holds uncommitted; beyond, proposals are refused with `queue-full`. Danger: so much
   * memory may be taken while no majority can be reached.
   * @defaultValue 64 MiB
   */
  readonly maxUncommittedBytes?: number;
  /**
   * Bytes of one command; a larger one is refused with `too-large`. Danger: a large command holds up everything behind
   * it, heartbeats of a stream too.
   * @defaultValue 1 MiB
   */
  readonly maxCommandBytes?: number;
  /**
   * Bytes of committed commands handed out and not applied yet; one always fits. Danger: so much memory may be taken by a
   * state machine that is slow.
   * @defaultValue 16 MiB
   */
  readonly maxApplyingBytes?: number;
  /**
   * Read barriers that wait at one node; beyond, they are refused with `queue-full`. Danger: each takes memory while no
   * majority can be reached.
   * @defaultValue 100_000
   */
  readonly maxPendingReads?: number;
}

/** What a node remembers from before its restart. */
export interface Recovered {
  readonly loaded: LoadedLog;
  /** All entries from `loaded.first` to `loaded.last`. */
  readonly entries: readonly Entry[];
}

/** Options with their defaults, checked. */
export type CheckedOptions = Required<Omit<RaftOptions, 'recovered' | 'leaseDriftBound'>> &
  Pick<RaftOptions, 'recovered' | 'leaseDriftBound'>;

const MIB = 1_048_576;

/** Throws `InvalidOptionError` for what cannot be honoured. */
export function checkOptions(options: RaftOptions): CheckedOptions {
  const electionTicks = integerOption('electionTicks', options.electionTicks ?? 10, { min: 2, max: 100_000 });
  const wrong = options.membership.voters.length === 0 ? undefined : fault(options.membership);
  if (wrong !== undefined) throw new InvalidOptionError('membership', options.membership, `valid; ${wrong}`);
  const flag = (option: 'preVote' | 'checkQuorum' | 'forwardProposals'): boolean => {
    const value: unknown = options[option] ?? true;
    if (typeof value !== 'boolean') throw new InvalidOptionError(option, value, 'true or false');
    return value;
  };
  const checkQuorum = flag('checkQuorum');
  if (options.leaseDriftBound !== undefined) {
    numberOption('leaseDriftBound', options.leaseDriftBound, { min: 1, max: electionTicks - 1 });
    if (!checkQuorum)
      throw new InvalidOptionError('checkQuorum', false, 'true where leaseDriftBound is given');
  }
  const bytes = (option: keyof RaftOptions, value: number): number =>
    integerOption(option, value, { min: 1 });
  return {
    ...options,
    id: identifierOption('id', options.id),
    seed: integerOption('seed', options.seed, { min: Number.MIN_SAFE_INTEGER }),
    electionTicks,
    heartbeatTicks: integerOption('heartbeatTicks', options.heartbeatTicks ?? 1, {
      min: 1,
      max: electionTicks - 1,
    }),
    preVote: flag('preVote'),
    checkQuorum,
    forwardProposals: flag('forwardProposals'),
    maxBytesPerMessage: bytes('maxBytesPerMessage', options.maxBytesPerMessage ?? MIB / 4),
    maxInflightMessages: integerOption('maxInflightMessages', options.maxInflightMessages ?? 256, {
      min: 1,
      max: 65_536,
    }),
    maxInflightBytes: bytes('maxInflightBytes', options.maxInflightBytes ?? 8 * MIB),
    maxUncommittedBytes: bytes('maxUncommittedBytes', options.maxUncommittedBytes ?? 64 * MIB),
    maxCommandBytes: bytes('maxCommandBytes', options.maxCommandBytes ?? MIB),
    maxApplyingBytes: bytes('maxApplyingBytes', options.maxApplyingBytes ?? 16 * MIB),
    maxPendingReads: integerOption('maxPendingReads', options.maxPendingReads ?? 100_000, { min: 1 }),
  };
}
