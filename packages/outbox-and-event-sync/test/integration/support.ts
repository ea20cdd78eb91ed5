import { abortable, deadline, systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { freshDatabase } from '@quorate/testing';
import pg from 'pg';
import { inboxMigrations, outboxMigrationsWith } from '@quorate/outbox-and-event-sync';

/** A fresh database with the tables of outbox and inbox. */
export interface OutboxDatabase extends AsyncDisposable {
  readonly url: string;
  readonly pool: pg.Pool;
  readonly db: SqlDatabase;
}

export async function outboxDatabase(partitions = 8): Promise<OutboxDatabase> {
  const database = await freshDatabase('postgres');
  const pool = new pg.Pool({ connectionString: database.url, max: 20 });
  // Dropping the database may end connections that the pool has said goodbye to and not yet closed.
  pool.on('error', () => {});
  const db = pgDatabase(pool);
  await migrate(db, { name: 'quorate_outbox', migrations: outboxMigrationsWith({ partitions }) });
  await migrate(db, { name: 'quorate_inbox', migrations: inboxMigrations });
  return {
    url: database.url,
    pool,
    db,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database.drop();
    },
  };
}

/** A promise to settle from outside, so that a test waits for what happens and not for time. */
export function gate<T = void>(): { readonly opened: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Collects what arrives and lets a test wait until enough of it is there. */
export class Collector<T> {
  readonly items: T[] = [];
  readonly #waiting = new Set<() => void>();

  add(...items: T[]): void {
    this.items.push(...items);
    for (const check of this.#waiting) check();
  }

  async until(done: (items: readonly T[]) => boolean, timeoutMs = 20_000): Promise<readonly T[]> {
    using limit = deadline(systemRuntime, timeoutMs, {
      what: `the collector (${String(this.items.length)} items)`,
    });
    const arrived = gate();
    const check = (): void => {
      if (done(this.items)) arrived.open();
    };
    this.#waiting.add(check);
    check();
    try {
      await abortable(arrived.opened, limit.signal);
    } finally {
      this.#waiting.delete(check);
    }
    return this.items;
  }

  count(count: number): Promise<readonly T[]> {
    return this.until((items) => items.length >= count);
  }
}
