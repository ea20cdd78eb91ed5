// One of the processes that keep the locks and take them: TCP, a log in files that is synced, raft.
import { createLocks } from '@quorate/distributed-lock';
import { replicatedLockSpace } from '@quorate/distributed-lock/replicated-log';
import { createFileLog } from '@quorate/durable-log/file';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { LockMachine } from '@quorate/replicated-log/lock';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { LEASE_MS, serve } from './load.js';

/** What the parent gives as the only argument, in JSON. */
export interface NodeArguments {
  readonly id: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly directory: string;
}

const { id, ports, directory } = JSON.parse(process.argv[2] ?? '') as NodeArguments;
const voters = Object.keys(ports);
const peers = Object.fromEntries(
  voters.filter((peer) => peer !== id).map((peer) => [peer, `127.0.0.1:${String(ports[peer])}`]),
);
const auth = { secret: 'the secret of the benchmark' };
const transport = createTransport(
  createTcpLink({ self: id, clusterId: 'bench', auth, listen: { port: ports[id] ?? 0 }, peers }),
);
const machine = new LockMachine();
const log = await startNode({
  core: (recovered, seed) => createRaft({ id, seed, recovered, membership: { voters, learners: [] } }),
  codec: raftCodec({ group: 'bench' }),
  transport,
  storage: createFileLog({ directory }),
  stateMachine: machine,
});
const space = replicatedLockSpace({ log, machine });
await transport.start();
log.stopped.addEventListener('abort', () => {
  throw log.stopped.reason;
});
const locks = createLocks(space.backend(), { leaseMs: LEASE_MS });
serve(
  {
    async own(key) {
      const lease = await locks.acquire(key);
      return () => lease.release();
    },
  },
  () => log.status().leader,
);
