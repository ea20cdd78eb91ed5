import { identifierOption, integerOption, InvalidOptionError, numberOption } from '@quorate/runtime';
import type { SqlConnection } from '@quorate/sql';
import { sql } from './sql.gen.js';
import { checkTransaction, type Transaction } from './transaction.js';

/** Who consumes. */
export interface InboxOptions {
  /**
   * Names the consumer: each takes every message once. Two services that share a database need two names. 1 to 255
   * bytes.
   */
  readonly consumer: string;
}

/** Whether a message took effect now, or had before, with what the work returned then. */
export interface OnceResult<R> {
  readonly outcome: 'executed' | 'duplicate';
  /** What the work returned. For a duplicate what it returned the first time, as JSON gives it back. */
  readonly result: R;
}

/** How old marks are removed. */
export interface PruneOptions {
  /**
   * Marks older than this go, in milliseconds by the database's clock. It has to be longer than the longest time
   * after which a duplicate may arrive: a duplicate whose mark is gone takes effect again.
   */
  readonly olderThanMs: number;
  /**
   * Rows per statement, so that none locks many rows or runs for long.
   * @defaultValue 1_000
   */
  readonly batchSize?: number;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
}

/** Lets each message take effect once. */
export interface Inbox {
  /**
   * Runs `work` unless the consumer has taken `messageId` before, as part of `tx`: the mark and the work's own writes
   * commit together or not at all. So the effects on this database happen exactly once per id, under crashes,
   * redeliveries and concurrent duplicates (of which the second waits for the first). What the work does elsewhere
   * happens at least once.
   *
   * When `work` throws, the mark and its writes are undone, also if the caller goes on and commits, and the error is
   * thrown on. A result other than `undefined` is stored as JSON and returned for duplicates.
   *
   * Under REPEATABLE READ and above, a concurrent duplicate fails with a serialization failure, which
   * `SqlDatabase.transaction` retries.
   */
  once<R>(tx: Transaction, messageId: string, work: () => R | PromiseLike<R>): Promise<OnceResult<R>>;
  /** Removes old marks of this consumer, in batches. Returns how many. */
  prune(db: SqlConnection, options: PruneOptions): Promise<number>;
}

const SQL = {
  postgres: {
    mark: 'insert into inbox_seen (consumer, message_id) values ($1, $2) on conflict do nothing',
    keep: 'update inbox_seen set result = $1 where consumer = $2 and message_id = $3',
    recall: 'select result::text as result from inbox_seen where consumer = $1 and message_id = $2',
    prune: sql['inbox-prune.postgres'],
  },
  mysql: {
    // IGNORE hides nothing else: both values were checked to fit their columns.
    mark: 'insert ignore into inbox_seen (consumer, message_id) values (?, ?)',
    keep: 'update inbox_seen set result = ? where consumer = ? and message_id = ?',
    // A locking read sees what the first transaction committed, also behind the snapshot of REPEATABLE READ.
    recall: 'select result from inbox_seen where consumer = ? and message_id = ? for update',
    prune: sql['inbox-prune.mysql'],
  },
} as const;

/** An inbox for one consumer. Its table is made by `inboxMigrations`; PostgreSQL, MySQL and MariaDB. */
export function createInbox(options: InboxOptions): Inbox {
  const consumer = identifierOption('consumer', options.consumer);
  let savepoints = 0;
  return {
    async once<R>(
      tx: Transaction,
      messageId: string,
      work: () => R | PromiseLike<R>,
    ): Promise<OnceResult<R>> {
      checkTransaction(tx, 'inbox.once');
      const id = identifierOption('messageId', messageId);
      const { mark, keep, recall } = SQL[tx.dialect];
      // In MySQL a savepoint replaces one of the same name, which may be that of a work around this one.
      const savepoint = `quorate_inbox_${String(savepoints++)}`;
      try {
        await tx.query(`savepoint ${savepoint}`);
        const { rowCount } = await tx.query(mark, [consumer, id]);
        if (rowCount === 0) {
          const { rows } = await tx.query<{ result: string | null }>(recall, [consumer, id]);
          await tx.query(`release savepoint ${savepoint}`);
          const stored = rows[0]?.result ?? null;
          return { outcome: 'duplicate', result: (stored === null ? undefined : JSON.parse(stored)) as R };
        }
        const result = await work();
        if (result !== undefined) await tx.query(keep, [toJson(result), consumer, id]);
        await tx.query(`release savepoint ${savepoint}`);
        return { outcome: 'executed', result };
      } catch (error) {
        // A deadlock in MySQL has rolled back the transaction and its savepoints; the error itself says more.
        await tx.query(`rollback to savepoint ${savepoint}`).catch(() => undefined);
        throw error;
      }
    },
    async prune(db, { olderThanMs, batchSize = 1_000, signal }) {
      const limit = integerOption('batchSize', batchSize, { min: 1, max: 100_000 });
      const age = numberOption('olderThanMs', olderThanMs);
      const { prune } = SQL[db.dialect];
      const statement = prune.replace('{limit}', String(limit));
      const values = db.dialect === 'postgres' ? [consumer, age, limit] : [consumer, age];
      let pruned = 0;
      for (;;) {
        signal?.throwIfAborted();
        const { rowCount } = await db.query(statement, values);
        pruned += rowCount;
        if (rowCount < limit) return pruned;
      }
    },
  };
}

function toJson(result: unknown): string {
  const json = JSON.stringify(result) as string | undefined;
  if (json === undefined)
    throw new InvalidOptionError('result', result, 'undefined, or a value that JSON can hold');
  return json;
}
