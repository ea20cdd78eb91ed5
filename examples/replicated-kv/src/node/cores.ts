import type { CoreStatus, NodeOptions } from '@quorate/replicated-log';
import type { KvAnswer, KvQuery, KvResult } from '@quorate/replicated-log/kv';
import { createRaft, raftCodec, type RaftMessage, type RaftStatus } from '@quorate/raft-core';

/** The part of a node's options that depends on the protocol. */
type CoreOptions<M, S extends CoreStatus> = Pick<
  NodeOptions<M, S, KvResult, KvQuery, KvAnswer>,
  'core' | 'codec'
>;

/** How each protocol makes its core for the node `id` of a cluster of `voters`. */
const CORES = {
  raft: (id: string, voters: readonly string[]): CoreOptions<RaftMessage, RaftStatus> => ({
    core: (recovered, seed) => createRaft({ id, seed, membership: { voters, learners: [] }, recovered }),
    codec: raftCodec({ group: 'replicated-kv' }),
  }),
};

/** The protocols there are: all behind one contract, so that nothing else here knows which one runs. */
export type CoreName = keyof typeof CORES;

export const CORE_NAMES = Object.keys(CORES) as CoreName[];

/** Makes what `startNode` needs for a protocol. */
export function coreOf(
  name: CoreName,
  id: string,
  voters: readonly string[],
): ReturnType<(typeof CORES)[CoreName]> {
  return CORES[name](id, voters);
}

/** Whether there is a protocol of this name. */
export function isCoreName(name: string): name is CoreName {
  return Object.hasOwn(CORES, name);
}
