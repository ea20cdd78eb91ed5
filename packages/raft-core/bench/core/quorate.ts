import { createRaft, type RaftCore, type RaftMessage } from '@quorate/raft-core';
import type { Effects } from '@quorate/replicated-log';
import { COMMAND_BYTES, type Contender, KEPT_ENTRIES, SNAPSHOT_ENTRIES } from './contender.js';

const VOTERS = ['a', 'b', 'c'];

class Node {
  inbox: { readonly from: string; readonly message: RaftMessage }[] = [];
  snapshotAt = SNAPSHOT_ENTRIES;

  constructor(readonly core: RaftCore) {}
}

export function quorate(): Contender {
  const command = new Uint8Array(COMMAND_BYTES).fill(7);
  const nodes = new Map(
    VOTERS.map((id, seed) => [
      id,
      new Node(createRaft({ id, seed, membership: { voters: VOTERS, learners: [] } })),
    ]),
  );
  const post = (from: string, envelopes: Effects<RaftMessage>['sendNow']): void => {
    for (const { to, message } of envelopes) nodes.get(to)?.inbox.push({ from, message });
  };
  let proposals = 0;
  const turn = (): number => {
    let applied = 0;
    for (const node of nodes.values()) {
      const { core } = node;
      if (node.inbox.length > 0) {
        const messages = node.inbox;
        node.inbox = [];
        for (const { from, message } of messages) core.step(from, message);
      }
      while (core.hasEffects()) {
        const effects = core.takeEffects();
        post(core.id, effects.sendNow);
        core.persisted(effects.seq);
        post(core.id, effects.sendAfterPersist);
        const last = effects.committed.at(-1);
        if (last === undefined) continue;
        core.applied(last.index);
        if (core.id === 'a') for (const { kind } of effects.committed) if (kind === 'command') applied++;
        if (last.index < node.snapshotAt) continue;
        node.snapshotAt = last.index + SNAPSHOT_ENTRIES;
        const meta = core.snapshotMeta();
        if (meta !== undefined) core.compact(meta, meta.index - KEPT_ENTRIES);
      }
    }
    return applied;
  };
  const leader = nodes.get('a')?.core;
  leader?.campaign();
  for (let turns = 0; turns < 20; turns++) turn();
  if (leader?.status().role !== 'leader') throw new Error('no leader');
  return {
    propose(count) {
      for (let left = count; left > 0; left--) leader.propose([command], [`a/${++proposals}`]);
    },
    turn,
  };
}
