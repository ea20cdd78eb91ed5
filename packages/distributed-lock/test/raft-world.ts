import type { LockBackend } from '@quorate/distributed-lock';
import type { LockConformanceWorld } from '@quorate/distributed-lock/conformance';
import {
  type LockLog,
  type ReplicatedLockSpace,
  replicatedLockSpace,
  replicatedLogCapabilities,
} from '@quorate/distributed-lock/replicated-log';
import { createMemoryLog, createMemoryMedium } from '@quorate/durable-log';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { LockMachine } from '@quorate/replicated-log/lock';
import type { Runtime } from '@quorate/runtime';
import { createMemoryNetwork, createTransport } from '@quorate/transport';

const IDS = ['a', 'b', 'c'];

interface RaftNode {
  readonly log: LockLog;
  readonly space: ReplicatedLockSpace;
  stop(): Promise<void>;
}

/** Three nodes of raft in memory, and clients at each of them in turn. */
export async function raftWorld(runtime: Runtime): Promise<LockConformanceWorld> {
  const network = createMemoryNetwork({ runtime, latencyMs: 0.5 });
  const disks = new Map(IDS.map((id) => [id, createMemoryMedium()]));
  const nodes = new Map<string, RaftNode>();
  const fences = new Map<string, number>();
  let clients = 0;

  const start = async (id: string): Promise<void> => {
    const transport = createTransport(network.link(id), { runtime });
    const machine = new LockMachine();
    const medium = disks.get(id);
    if (medium === undefined) throw new Error(`no disk of ${id}`);
    const log = await startNode({
      core: (recovered, seed) =>
        createRaft({ id, seed, recovered, membership: { voters: IDS, learners: [] }, electionTicks: 5 }),
      codec: raftCodec({ group: 'locks' }),
      transport,
      storage: createMemoryLog({ medium }),
      stateMachine: machine,
      tickMs: 10,
      // So that a restart begins with a snapshot.
      snapshotEntries: 20,
      keepEntries: 5,
    });
    const space = replicatedLockSpace({ log, machine, runtime });
    await transport.start();
    nodes.set(id, {
      log,
      space,
      stop: async () => {
        await space.close();
        await log.close();
        await transport.close();
      },
    });
  };
  const stop = (): Promise<unknown> => Promise.all([...nodes.values()].map((node) => node.stop()));
  await Promise.all(IDS.map(start));

  return {
    runtime,
    client() {
      const id = IDS[clients++ % IDS.length] ?? 'a';
      return following(() => nodes.get(id)?.space);
    },
    crash: (client) => client.close(),
    async restart() {
      await stop();
      await Promise.all(IDS.map(start));
    },
    guarded(key, fence) {
      const accepted = fence >= (fences.get(key) ?? 0);
      if (accepted) fences.set(key, fence);
      return Promise.resolve(accepted);
    },
    async teardown() {
      await stop();
    },
  };
}

/** A client of whatever space there is now. */
function following(space: () => ReplicatedLockSpace | undefined): LockBackend {
  let of: ReplicatedLockSpace | undefined;
  let backend: LockBackend | undefined;
  let closed = false;
  const now = (): LockBackend => {
    const present = space();
    if (present === undefined) throw new Error('the node is down');
    if (backend === undefined || (of !== present && !closed)) [of, backend] = [present, present.backend()];
    return backend;
  };
  return {
    name: 'replicated-log',
    capabilities: replicatedLogCapabilities,
    claim: (request, call) => now().claim(request, call),
    convert: async (request, call) => (await now().convert?.(request, call)) ?? { state: 'lost' },
    renew: (claim, leaseMs, call) => now().renew(claim, leaseMs, call),
    release: (claim, call) => now().release(claim, call),
    inspect: async (key, call) => (await now().inspect?.(key, call)) ?? { holders: [], waiting: 0 },
    close: async () => {
      closed = true;
      await now().close();
    },
  };
}
