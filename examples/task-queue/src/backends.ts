import type { LockBackend } from '@quorate/distributed-lock';
import { etcdBackend } from '@quorate/distributed-lock/etcd';
import { leaseRowBackend as mysqlLeaseRows } from '@quorate/distributed-lock/mysql';
import { leaseRowBackend, lockMigrations } from '@quorate/distributed-lock/postgres';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { replicatedLockSpace } from '@quorate/distributed-lock/replicated-log';
import { createFileLog } from '@quorate/durable-log/file';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { LockMachine } from '@quorate/replicated-log/lock';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { migrate } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { Etcd3 } from 'etcd3';
import { Redis } from 'ioredis';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import type { WorkerArguments } from './protocol.js';

/** A kind of lock that the workers can use. */
export interface Backend {
  /** The server that it needs; none where the workers are the servers. */
  readonly service: 'etcd' | 'mysql' | 'postgres' | 'redis' | undefined;
  connect(given: WorkerArguments): Promise<LockBackend>;
}

/** All that `--backend` takes. */
export const backends: Readonly<Record<string, Backend>> = {
  raft: { service: undefined, connect: connectRaft },
  etcd: {
    service: 'etcd',
    connect: ({ url, directory }) =>
      Promise.resolve(etcdBackend({ client: new Etcd3({ hosts: url }), prefix: `${directory}/` })),
  },
  postgres: {
    service: 'postgres',
    async connect({ url }) {
      const db = pgDatabase(new Pool({ connectionString: url }));
      await migrate(db, { name: 'quorate_lock', migrations: lockMigrations });
      return leaseRowBackend(db);
    },
  },
  mysql: {
    service: 'mysql',
    async connect({ url }) {
      const db = mysqlDatabase(createPool(url));
      await migrate(db, { name: 'quorate_lock', migrations: lockMigrations });
      return mysqlLeaseRows(db);
    },
  },
  redis: {
    service: 'redis',
    connect: ({ url }) => Promise.resolve(redisBackend(new Redis(url))),
  },
};

/** This worker is one of the nodes that keep the lock. */
async function connectRaft({ id, ports, directory }: WorkerArguments): Promise<LockBackend> {
  const voters = Object.keys(ports);
  const transport = createTransport(
    createTcpLink({
      self: id,
      clusterId: 'task-queue',
      auth: { secret: 'the secret of the example' },
      listen: { port: ports[id] ?? 0 },
      peers: Object.fromEntries(
        voters.filter((peer) => peer !== id).map((peer) => [peer, `127.0.0.1:${String(ports[peer])}`]),
      ),
    }),
  );
  const machine = new LockMachine();
  const log = await startNode({
    core: (recovered, seed) => createRaft({ id, seed, recovered, membership: { voters, learners: [] } }),
    codec: raftCodec({ group: 'task-queue' }),
    transport,
    storage: createFileLog({ directory: `${directory}/${id}` }),
    stateMachine: machine,
  });
  const space = replicatedLockSpace({ log, machine });
  await transport.start();
  return space.backend();
}
