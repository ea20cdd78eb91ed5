import { type LockBackend, StaleFenceError } from '@quorate/distributed-lock';
import { type LockConformanceWorld } from '@quorate/distributed-lock/conformance';
import { type fenceGuard, lockMigrations } from '@quorate/distributed-lock/postgres';
import { systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { createPool } from 'mysql2/promise';
import { Pool, type PoolClient } from 'pg';

/** A client of a server that can be cut off from it as `kill -9` would. */
export interface SqlClient<P> {
  readonly pool: P;
  readonly db: SqlDatabase;
  /** Destroys its sockets. */
  cut(): void;
  end(): Promise<void>;
}

/** A client of PostgreSQL. */
export function pgClient(url: string, max = 10): SqlClient<Pool> {
  const pool = new Pool({ connectionString: url, max });
  const sockets = new Set<{ destroy(): void }>();
  pool.on('error', () => undefined);
  pool.on('connect', (client: PoolClient) => {
    client.on('error', () => undefined);
    sockets.add((client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream);
  });
  return {
    pool,
    db: pgDatabase(pool),
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    end: () => pool.end(),
  };
}

type MysqlPool = ReturnType<typeof createPool>;

/** A client of MySQL or MariaDB. */
export function mysqlClient(url: string, connectionLimit = 10): SqlClient<MysqlPool> {
  const pool = createPool({ uri: url, connectionLimit });
  const connections = new Set<{ destroy(): void; on(event: 'error', hear: () => void): unknown }>();
  pool.pool.on('connection', (connection) => {
    connection.on('error', () => undefined);
    connections.add(connection);
  });
  return {
    pool,
    db: mysqlDatabase(pool),
    cut() {
      for (const connection of connections) connection.destroy();
    },
    end: () => pool.end(),
  };
}

/** Long enough for a busy machine: a call that takes a third of it counts as lost. */
export const LEASE_MS = 1_500;

/** What a lock protects, as the kit asks for it: a transaction with a fence guard. */
export function guardedBy(
  guard: typeof fenceGuard,
): (client: SqlClient<unknown>, key: string, fence: number) => Promise<boolean> {
  return async ({ db }, key, fence) => {
    try {
      await db.transaction((tx) => guard(tx, key, fence));
      return true;
    } catch (error) {
      if (error instanceof StaleFenceError) return false;
      throw error;
    }
  };
}

/** Creates the tables. */
export async function migrateLocks(db: SqlDatabase): Promise<void> {
  await migrate(db, { name: 'quorate_lock', migrations: lockMigrations });
}

/** What a world of SQL needs besides its clients. */
export interface SqlWorldOptions {
  connect(): SqlClient<unknown>;
  backend(client: SqlClient<never>): LockBackend | Promise<LockBackend>;
  /** Ends what `backend` opened for a client. */
  leave?(client: SqlClient<never>): Promise<void>;
  guarded?(client: SqlClient<never>, key: string, fence: number): Promise<boolean>;
  restart?(): Promise<void>;
}

/** A world over one server, with a pool for each client. */
export function sqlWorld(options: SqlWorldOptions): LockConformanceWorld {
  const clients = new Map<LockBackend, SqlClient<never>>();
  let guard: SqlClient<never> | undefined;
  return {
    runtime: systemRuntime,
    async client() {
      const client = options.connect() as SqlClient<never>;
      const backend = await options.backend(client);
      clients.set(backend, client);
      return backend;
    },
    crash(backend) {
      clients.get(backend)?.cut();
      return Promise.resolve();
    },
    ...(options.guarded === undefined
      ? {}
      : {
          async guarded(key: string, fence: number) {
            guard ??= options.connect() as SqlClient<never>;
            return (await options.guarded?.(guard, key, fence)) ?? false;
          },
        }),
    ...(options.restart === undefined ? {} : { restart: async () => options.restart?.() }),
    async teardown() {
      for (const client of clients.values()) await options.leave?.(client);
      await Promise.all(
        [...clients.values(), ...(guard === undefined ? [] : [guard])].map((one) => one.end()),
      );
    },
  };
}
