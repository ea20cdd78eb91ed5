import { lockConformance } from '@quorate/distributed-lock/conformance';
import * as mysql from '@quorate/distributed-lock/mysql';
import * as postgres from '@quorate/distributed-lock/postgres';
import { freshDatabase, isolated } from '@quorate/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { guardedBy, LEASE_MS, migrateLocks, mysqlClient, pgClient, sqlWorld } from './sql-worlds.js';

/** Restarted while the kit runs, so that it is nobody else's. */
const restarted = await isolated('postgres');
const onMysql = await freshDatabase('mysql');

beforeAll(async () => {
  const client = pgClient(restarted.url);
  await migrateLocks(client.db);
  await client.end();
});
afterAll(async () => {
  await onMysql.drop();
  await restarted.stop();
});

lockConformance({
  name: 'session advisory locks in PostgreSQL',
  capabilities: postgres.sessionLockCapabilities,
  setup: () =>
    Promise.resolve(
      sqlWorld({
        connect: () => pgClient(restarted.url, 2),
        backend: ({ db }) => postgres.sessionLockBackend(db),
        guarded: guardedBy(postgres.fenceGuard),
        async restart() {
          await restarted.kill();
          await restarted.restart();
        },
      }),
    ),
  runner: { describe, it },
  leaseMs: LEASE_MS,
});

lockConformance({
  name: 'named locks in MySQL or MariaDB',
  capabilities: mysql.namedLockCapabilities,
  setup: () =>
    Promise.resolve(
      sqlWorld({
        connect: () => mysqlClient(onMysql.url, 2),
        backend: ({ db }) => mysql.namedLockBackend(db),
      }),
    ),
  runner: { describe, it },
  leaseMs: LEASE_MS,
});
