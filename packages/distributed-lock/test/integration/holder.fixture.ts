// A process that takes a lock, says so, writes under its fence when it is told to, and goes on until it is ended.
import { createLocks, StaleFenceError } from '@quorate/distributed-lock';
import * as mysql from '@quorate/distributed-lock/mysql';
import * as postgres from '@quorate/distributed-lock/postgres';
import { mysqlDatabase } from '@quorate/sql/mysql2';
import { pgDatabase } from '@quorate/sql/pg';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';

/** What the process is told in its first argument, as JSON. */
export interface HolderTask {
  readonly url: string;
  readonly backend: 'leases' | 'session';
  readonly key: string;
  readonly leaseMs: number;
}

/** What it tells. */
export type HolderMessage =
  | { readonly type: 'held'; readonly fence: number }
  | { readonly type: 'wrote'; readonly accepted: boolean; readonly held: boolean };

const { url, backend, key, leaseMs } = JSON.parse(process.argv[2] ?? '') as HolderTask;
const onPostgres = url.startsWith('postgres');
const db = onPostgres
  ? pgDatabase(new Pool({ connectionString: url }).on('error', () => undefined))
  : mysqlDatabase(createPool({ uri: url }));
const { leaseRowBackend, fenceGuard } = onPostgres ? postgres : mysql;
const session = onPostgres ? postgres.sessionLockBackend : mysql.namedLockBackend;
const locks = createLocks(backend === 'leases' ? leaseRowBackend(db) : session(db), { leaseMs });
const lease = await locks.acquire(key);
const fence = locks.capabilities.fencing === 'none' ? 0 : lease.fence;
const tell = (message: HolderMessage): void => void process.send?.(message);
process.on('message', () => {
  const { held } = lease;
  void db
    .transaction(async (tx) => {
      await fenceGuard(tx, key, fence);
      await tx.query(`update protected set writer = 'holder'`);
    })
    .then(
      () => tell({ type: 'wrote', accepted: true, held }),
      (error: unknown) => {
        if (!(error instanceof StaleFenceError)) throw error;
        tell({ type: 'wrote', accepted: false, held });
      },
    );
});
tell({ type: 'held', fence });
