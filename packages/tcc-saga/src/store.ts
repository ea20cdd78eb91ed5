import type { SqlConnection, SqlDatabase } from '@quorate/sql';
import { coalesce } from './coalesce.js';
import type { CancelReason, TccRecord, TccStatus } from './core/tcc.js';
import { sql } from './sql.gen.js';

/** A row to insert. */
export interface BeginRow {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  /** JSON. */
  readonly input: string;
  readonly record: TccRecord;
  readonly dedupeKey: string | undefined;
  readonly deadlineMs: number;
  /** With an owner, the instance begins with its first claim made. */
  readonly lease: { readonly owner: string; readonly leaseMs: number } | undefined;
}

/** An instance that this coordinator has claimed. */
export interface ClaimedInstance {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly fence: number;
  /** The number of the round that the claim began. */
  readonly attempts: number;
  readonly input: unknown;
  readonly record: TccRecord;
  /** Until the deadline by the database's clock; negative once it has passed. */
  readonly remainingMs: number;
}

/** A fenced write of an instance's state. */
export interface StoreRow {
  readonly id: string;
  readonly fence: number;
  readonly why: 'decision' | 'retry' | 'end';
  readonly record: TccRecord;
  readonly error: string | undefined;
  readonly attempts: number;
  /** From when on others may claim it: the lease, or the delay of the next attempt. */
  readonly delayMs: number;
}

/** An instance as it stands in the database. */
export interface StoredInstance {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly input: unknown;
  readonly record: TccRecord;
  readonly error: string | undefined;
  readonly attempts: number;
  readonly owner: string | undefined;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly nextRunMs: number;
  readonly endedMs: number | undefined;
}

interface InstanceRow {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly status: TccStatus;
  readonly reason: CancelReason | null;
  readonly input: string;
  readonly branches: string;
}

const MAX_BATCH = 256;

/** The coordinator's tables. Every time in them is the database's own; no clock of a client enters. */
export class Store {
  /** Inserts an instance; false when its id or dedupe key is taken. Calls of one moment share a statement. */
  readonly begin: (row: BeginRow) => Promise<boolean>;
  /** Writes an instance's state; false when the fence has moved on. Calls of one moment share a statement. */
  readonly store: (row: StoreRow) => Promise<boolean>;

  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
    this.begin = coalesce((rows) => insertRows(db, rows), MAX_BATCH);
    this.store = coalesce((rows) => storeRows(db, rows), MAX_BATCH);
  }

  /** Like {@link Store.begin}, in a transaction of the caller's or one that may wait for another's commit. */
  async beginIn(connection: SqlConnection, row: BeginRow): Promise<boolean> {
    const [inserted] = await insertRows(connection, [row]);
    return inserted === true;
  }

  /** Like {@link Store.store}, in a transaction. */
  async storeIn(connection: SqlConnection, row: StoreRow): Promise<boolean> {
    const [stored] = await storeRows(connection, [row]);
    return stored === true;
  }

  /** The instance that has this id or dedupe key. */
  async findBegun(
    connection: SqlConnection | undefined,
    row: Pick<BeginRow, 'id' | 'definition' | 'dedupeKey'>,
  ): Promise<{ readonly id: string; readonly definition: string } | undefined> {
    const { rows } = await (connection ?? this.#db).query<{ id: string; definition: string }>(
      sql['find-begun'],
      [row.id, row.definition, row.dedupeKey ?? null],
    );
    return rows[0];
  }

  /** Claims up to `limit` instances that are due, of these definitions only. */
  async claim(
    owner: string,
    definitions: readonly { readonly name: string; readonly version: number }[],
    limit: number,
    leaseMs: number,
  ): Promise<ClaimedInstance[]> {
    const { rows } = await this.#db.query<
      InstanceRow & {
        readonly fence: number | string;
        readonly attempts: number;
        readonly remaining_ms: number;
      }
    >(sql.claim, [
      owner,
      definitions.map((one) => one.name),
      definitions.map((one) => one.version),
      limit,
      leaseMs,
    ]);
    return rows.map((row) => ({
      id: row.id,
      definition: row.definition,
      version: row.version,
      fence: Number(row.fence),
      attempts: row.attempts,
      input: JSON.parse(row.input) as unknown,
      record: recordOf(row),
      remainingMs: row.remaining_ms,
    }));
  }

  /** Renews leases; tells which are renewed and which are lost. Rows that a write of ours has locked are neither. */
  async renew(
    held: readonly { readonly id: string; readonly fence: number }[],
    leaseMs: number,
  ): Promise<{ readonly id: string; readonly renewed: boolean; readonly lost: boolean }[]> {
    const { rows } = await this.#db.query<{ id: string; renewed: boolean; lost: boolean }>(sql.renew, [
      held.map((one) => one.id),
      held.map((one) => one.fence),
      leaseMs,
    ]);
    return [...rows];
  }

  /** Gives leases back, so that others may claim at once. */
  async release(held: readonly { readonly id: string; readonly fence: number }[]): Promise<void> {
    await this.#db.query(sql.release, [held.map((one) => one.id), held.map((one) => one.fence)]);
  }

  async find(ids: readonly string[]): Promise<StoredInstance[]> {
    const { rows } = await this.#db.query<
      InstanceRow & {
        readonly error: string | null;
        readonly attempts: number;
        readonly lease_owner: string | null;
        readonly created_ms: number;
        readonly deadline_ms: number;
        readonly next_run_ms: number;
        readonly ended_ms: number | null;
      }
    >(sql.find, [ids]);
    return rows.map((row) => ({
      id: row.id,
      definition: row.definition,
      version: row.version,
      input: JSON.parse(row.input) as unknown,
      record: recordOf(row),
      error: row.error ?? undefined,
      attempts: row.attempts,
      owner: row.lease_owner ?? undefined,
      createdMs: row.created_ms,
      deadlineMs: row.deadline_ms,
      nextRunMs: row.next_run_ms,
      endedMs: row.ended_ms ?? undefined,
    }));
  }

  /** Deletes up to `limit` instances that ended longer ago; answers how many. */
  async prune(olderThanMs: number, limit: number): Promise<number> {
    return (await this.#db.query(sql.prune, [olderThanMs, limit])).rowCount;
  }
}

function recordOf(row: InstanceRow): TccRecord {
  const branches = JSON.parse(row.branches) as TccRecord['branches'];
  return row.reason === null
    ? { status: row.status, branches }
    : { status: row.status, reason: row.reason, branches };
}

async function insertRows(connection: SqlConnection, rows: readonly BeginRow[]): Promise<boolean[]> {
  const result = await connection.query<{ id: string }>(sql.begin, [
    rows.map((row) => row.id),
    rows.map((row) => row.definition),
    rows.map((row) => row.version),
    rows.map((row) => row.input),
    rows.map((row) => JSON.stringify(row.record.branches)),
    rows.map((row) => row.dedupeKey ?? null),
    rows.map((row) => row.deadlineMs),
    rows.map((row) => row.lease?.leaseMs ?? 0),
    rows.map((row) => row.lease?.owner ?? null),
  ]);
  const inserted = new Set(result.rows.map((row) => row.id));
  return rows.map((row) => inserted.delete(row.id));
}

async function storeRows(connection: SqlConnection, rows: readonly StoreRow[]): Promise<boolean[]> {
  const result = await connection.query<{ id: string }>(sql.store, [
    rows.map((row) => row.id),
    rows.map((row) => row.fence),
    rows.map((row) => row.why),
    rows.map((row) => row.record.status),
    rows.map((row) => row.record.reason ?? null),
    rows.map((row) => JSON.stringify(row.record.branches)),
    rows.map((row) => row.error ?? null),
    rows.map((row) => row.attempts),
    rows.map((row) => row.delayMs),
  ]);
  const stored = new Set(result.rows.map((row) => row.id));
  return rows.map((row) => stored.has(row.id));
}
