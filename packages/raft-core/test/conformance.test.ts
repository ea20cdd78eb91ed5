import { createRaft, raftCodec, type RaftMessage } from '@quorate/raft-core';
import type { ConsensusCore, Effects } from '@quorate/replicated-log';
import { conformance } from '@quorate/replicated-log/conformance';
import { describe, expect, it } from 'vitest';

const codec = raftCodec({ group: 'kit' });

conformance({
  name: 'raft passes the conformance kit of replicated logs',
  createCore: createRaft,
  codec,
  runner: { describe, it },
});

type Core = ConsensusCore<RaftMessage>;

/** A core with some of its methods replaced. */
function broken(core: Core, change: (core: Core) => Partial<Core>): Core {
  const changed = change(core) as Record<PropertyKey, unknown>;
  return new Proxy(core, {
    get(target, name) {
      if (Object.hasOwn(changed, name)) return changed[name];
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
}

const effects = (change: (taken: Effects<RaftMessage>) => Effects<RaftMessage>) => (core: Core) => ({
  takeEffects: () => change(core.takeEffects()),
});

const mistakes: readonly [what: string, change: (core: Core) => Partial<Core>][] = [
  [
    'promises before it is durable',
    effects((taken) => ({
      ...taken,
      sendNow: [...taken.sendNow, ...taken.sendAfterPersist],
      sendAfterPersist: [],
    })),
  ],
  [
    'counts what is not on its disk',
    (core) => ({
      takeEffects: () => {
        const taken = core.takeEffects();
        core.persisted(taken.seq);
        return taken;
      },
    }),
  ],
  [
    'forgets its votes and terms',
    effects(({ persist, ...taken }) => ({
      ...taken,
      ...(persist && { persist: { ...persist, state: new Uint8Array() } }),
    })),
  ],
  [
    'forgets entries',
    effects(({ persist, ...taken }) => ({
      ...taken,
      ...(persist?.state && { persist: { state: persist.state, entries: [] } }),
    })),
  ],
  ['numbers effects twice', effects((taken) => ({ ...taken, seq: Math.ceil(taken.seq / 2) }))],
  [
    'leaves an entry out',
    effects((taken) => ({ ...taken, committed: taken.committed.filter(({ index }) => index !== 3) })),
  ],
  [
    'drops the ids of proposals',
    effects((taken) => ({
      ...taken,
      committed: taken.committed.map(({ index, term, kind, data }) => ({ index, term, kind, data })),
    })),
  ],
  [
    'answers reads without asking anybody',
    (core) => {
      const own: { id: string; ok: true; index: number }[] = [];
      return {
        readBarrier: (id) => own.push({ id, ok: true, index: core.status().commit }),
        hasEffects: () => own.length > 0 || core.hasEffects(),
        takeEffects: () => {
          const taken = core.takeEffects();
          return { ...taken, results: [...taken.results, ...own.splice(0)] };
        },
      };
    },
  ],
  [
    'proposes twice',
    (core) => ({
      propose: (commands, ids) => {
        core.propose(commands, ids);
        core.propose(commands, ids);
      },
    }),
  ],
  [
    'refuses what it does',
    (core) => {
      const refused: { id: string; ok: false; reason: 'queue-full' }[] = [];
      return {
        propose: (commands, ids) => {
          core.propose(commands, ids);
          refused.push(...ids.map((id) => ({ id, ok: false as const, reason: 'queue-full' as const })));
        },
        takeEffects: () => {
          const taken = core.takeEffects();
          return { ...taken, results: [...taken.results, ...refused.splice(0)] };
        },
      };
    },
  ],
  ['never sends snapshots', effects((taken) => ({ ...taken, sendSnapshots: [] }))],
  ['ignores changes of membership', () => ({ changeMembership: () => undefined })],
  ['ignores the hand-over', () => ({ transferLeadership: () => undefined })],
];

describe('the conformance kit of replicated logs finds a core that', () => {
  it.each(mistakes)('%s', (_, change) => {
    const failures: string[] = [];
    conformance({
      name: 'broken',
      createCore: (setup) => broken(createRaft(setup), change),
      codec,
      seeds: 10,
      runner: {
        describe: (_name, define) => define(),
        it: (name, run) => {
          // One failure is enough, and the later checks may take long to see another.
          if (failures.length > 0) return;
          try {
            run();
          } catch {
            failures.push(name);
          }
        },
      },
    });
    expect(failures).not.toEqual([]);
  });
});
