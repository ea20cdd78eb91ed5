import { lockConformance } from '@quorate/distributed-lock/conformance';
import * as mysql from '@quorate/distributed-lock/mysql';
import * as optimistic from '@quorate/distributed-lock/optimistic';
import * as postgres from '@quorate/distributed-lock/postgres';
import { type PgListener, pgListener } from '@quorate/sql/pg';
import { freshDatabase, isolated } from '@quorate/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { guardedBy, LEASE_MS, migrateLocks, mysqlClient, pgClient, sqlWorld } from './sql-worlds.js';

const onPostgres = await freshDatabase('postgres');
const onMysql = await freshDatabase('mysql');
/** Restarted while the kit runs, so that it is nobody else's. */
const restarted = await isolated('postgres');
const listeners = new Map<unknown, PgListener>();

beforeAll(async () => {
  for (const client of [pgClient(onPostgres.url), pgClient(restarted.url), mysqlClient(onMysql.url)]) {
    await migrateLocks(client.db);
    await client.end();
  }
});
afterAll(async () => {
  await onPostgres.drop();
  await onMysql.drop();
  await restarted.stop();
});

lockConformance({
  name: 'lease rows in PostgreSQL, with a listener',
  capabilities: postgres.notifiedLeaseRowsCapabilities,
  setup: () =>
    Promise.resolve(
      sqlWorld({
        connect: () => pgClient(onPostgres.url),
        backend(client) {
          const listener = pgListener(client.pool);
          listeners.set(client, listener);
          return postgres.leaseRowBackend(client.db, { listener });
        },
        leave: async (client) => listeners.get(client)?.close(),
        guarded: guardedBy(postgres.fenceGuard),
      }),
    ),
  runner: { describe, it },
  leaseMs: LEASE_MS,
  impossible: { restart: 'this server is shared; the same rows without a listener are restarted' },
});

lockConformance({
  name: 'lease rows in PostgreSQL',
  capabilities: postgres.leaseRowsCapabilities,
  setup: () =>
    Promise.resolve(
      sqlWorld({
        connect: () => pgClient(restarted.url),
        backend: ({ db }) => postgres.leaseRowBackend(db),
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
  name: 'lease rows in MySQL or MariaDB',
  capabilities: mysql.leaseRowsCapabilities,
  setup: () =>
    Promise.resolve(
      sqlWorld({
        connect: () => mysqlClient(onMysql.url),
        backend: ({ db }) => mysql.leaseRowBackend(db),
        guarded: guardedBy(mysql.fenceGuard),
      }),
    ),
  runner: { describe, it },
  leaseMs: LEASE_MS,
  impossible: { restart: 'this server is shared' },
});

// The same rows by the subpath that takes either database; of what guards the writes each database has its own.
for (const [name, connect, guard] of [
  ['PostgreSQL', () => pgClient(onPostgres.url), postgres.fenceGuard],
  ['MySQL or MariaDB', () => mysqlClient(onMysql.url), mysql.fenceGuard],
] as const) {
  lockConformance({
    name: `lease rows of /optimistic in ${name}`,
    capabilities: optimistic.leaseRowsCapabilities,
    setup: () =>
      Promise.resolve(
        sqlWorld({
          connect,
          backend: ({ db }) => optimistic.leaseRowBackend(db),
          guarded: guardedBy(guard),
        }),
      ),
    runner: { describe, it },
    leaseMs: LEASE_MS,
    impossible: { restart: 'this server is shared' },
  });
}
