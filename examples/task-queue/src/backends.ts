import type { LockBackend } from '@quorate/distributed-lock';
import { etcdBackend } from '@quorate/distributed-lock/etcd';
import { leaseRowBackend as mysqlLeaseRows } from '@quorate/distributed-lock/mysql';
import { leaseRowBackend as optimisticLeaseRows } from '@quorate/distributed-lock/optimistic';
import { leaseRowBackend, lockMigrations } from '@quorate/distributed-lock/postgres';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { redlockBackend } from '@quorate/distributed-lock/redlock';
import { replicatedLockSpace } from '@quorate/distributed-lock/replicated-log';
import { createFileLog } from '@quorate/durable-log/file';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { LockMachine } from '@quorate/replicated-log/lock';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { randomId, systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { Etcd3 } from 'etcd3';
import { Redis } from 'ioredis';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import type { WorkerArguments } from './protocol.js';
import { SqlRow, type TaskRow, VersionedRow } from './store.js';

/** A kind of lock that the workers can use. */
export interface Backend {
  /** The server that it needs; none where the workers are the servers. */
  readonly service: 'etcd' | 'mysql' | 'postgres' | 'redis' | undefined;
  /** How many servers of its own it needs; none if one that others use too will do. */
  readonly servers?: number;
  /** What keeps the tasks, and former holders from them; in memory, by the fence, unless it says otherwise. */
  row?(urls: readonly string[]): Promise<TaskRow>;
  connect(given: WorkerArguments): Promise<LockBackend>;
}

/** All that `--backend` takes. */
export const backends: Readonly<Record<string, Backend>> = {
  raft: { service: undefined, connect: connectRaft },
  etcd: {
    service: 'etcd',
    connect: ({ urls, directory }) =>
      Promise.resolve(etcdBackend({ client: new Etcd3({ hosts: [...urls] }), prefix: `${directory}/` })),
  },
  optimistic: {
    service: 'postgres',
    connect: async ({ urls: [url] }) => optimisticLeaseRows(await migrated(postgres(url))),
    row: ([url]) => SqlRow.create(postgres(url), `task_queue_${randomId(systemRuntime)}`),
  },
  postgres: {
    service: 'postgres',
    connect: async ({ urls: [url] }) => leaseRowBackend(await migrated(postgres(url))),
  },
  mysql: {
    service: 'mysql',
    connect: async ({ urls: [url = ''] }) => mysqlLeaseRows(await migrated(mysqlDatabase(createPool(url)))),
  },
  redis: {
    service: 'redis',
    connect: ({ urls: [url = ''] }) => Promise.resolve(redisBackend(new Redis(url))),
  },
  redlock: {
    service: 'redis',
    servers: 3,
    connect: ({ urls }) => Promise.resolve(redlockBackend(urls.map((url) => new Redis(url)))),
    row: () => Promise.resolve(new VersionedRow()),
  },
};

function postgres(url: string | undefined): SqlDatabase {
  return pgDatabase(new Pool({ connectionString: url }));
}

async function migrated(db: SqlDatabase): Promise<SqlDatabase> {
  await migrate(db, { name: 'quorate_lock', migrations: lockMigrations });
  return db;
}

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
