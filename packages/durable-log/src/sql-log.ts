import { identifierOption } from '@quorate/runtime';
import type { Migration, SqlConnection, SqlDatabase } from '@quorate/sql';
import { SnapshotGoneError, SnapshotOutdatedError, StorageLockedError, StorageStateError } from './errors.js';
import { createHash } from 'node:crypto';
import { receiveChunks } from './chunks.js';
import type {
  Entry,
  Index,
  LoadedLog,
  LogStorage,
  PersistBatch,
  SnapshotMeta,
  StagedSnapshot,
  StoredSnapshot,
} from './contract.js';
import { checkBatch, checkCompact, checkMeta, checkRead } from './core/checks.js';
import type { LogShape } from './core/log-shape.js';
import { Lifecycle } from './lifecycle.js';
import { sql } from './sql.gen.js';
import { LogTables, type StoredRow } from './sql-tables.js';

/** How {@link createSqlLog} keeps its rows. */
export interface SqlLogOptions {
  /** PostgreSQL, MariaDB or MySQL, over a pool: the log keeps one connection for its lock while it is open. */
  readonly database: SqlDatabase;
  /** Tells the logs of one database apart: a string of 1 to 255 bytes. */
  readonly name: string;
}

/** The tables of all logs of a database, for `migrate` of `@quorate/sql`. */
export const sqlLogMigrations: readonly Migration[] = [
  { id: 1, name: 'quorate_log', sql: { postgres: sql['001-log-postgres'], mysql: sql['001-log-mysql'] } },
];

const CHUNK_BYTES = 256 * 1024;
const FIRST_PAGE_ROWS = 16;
const MAX_PAGE_ROWS = 1024;
const MAX_GROUP = 256;
/** Identifiers of snapshots of one epoch do not meet those of another. */
const SNAPSHOTS_PER_EPOCH = 2 ** 20;

/**
 * A log in the tables of a database. Every write is a transaction, and writes that wait at the same time share one;
 * `sync: false` makes no difference. What was acknowledged is as durable as a COMMIT of that database.
 *
 * One process has it open: held by a lock of a session of the database, and where that session is lost, by an epoch
 * that every transaction checks. A writer that was overtaken is refused with `STORAGE_LOCKED`.
 */
export function createSqlLog({ database, name }: SqlLogOptions): LogStorage {
  return new SqlLog(database, identifierOption('name', name));
}

type Work = (tx: SqlConnection) => Promise<void>;
interface Job {
  readonly work: Work;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}
interface OpenLog {
  readonly epoch: number;
  /** What the log holds after everything that was called so far, done or not. */
  readonly shape: LogShape;
  release(): Promise<void>;
}

class SqlLog implements LogStorage {
  readonly #database: SqlDatabase;
  readonly #tables: LogTables;
  readonly #place: string;
  readonly #lifecycle: Lifecycle;
  #open: OpenLog | undefined;
  /** The snapshot in force once everything that was called so far is done. */
  #snapshot: StoredRow | undefined;
  readonly #staged = new Set<StoredRow>();
  #stagings = 0;
  readonly #readers = new Map<number, number>();
  readonly #retired = new Set<number>();
  #queue: Job[] = [];
  #running: Promise<void> | undefined;

  constructor(database: SqlDatabase, name: string) {
    this.#database = database;
    this.#tables = new LogTables(database.dialect, name);
    this.#place = `the log ${name}`;
    this.#lifecycle = new Lifecycle(this.#place);
  }

  load(): Promise<LoadedLog> {
    return this.#lifecycle.load(async () => {
      const release = await this.#lock();
      try {
        const tables = this.#tables;
        const { epoch, shape, state, snapshot } = await this.#database.transaction(async (tx) => {
          const taken = await tables.takeOver(tx);
          const loaded = await tables.load(tx);
          await tables.removeSnapshots(tx, loaded.snapshot?.id ?? 0, true);
          return { epoch: taken, ...loaded };
        });
        this.#open = { epoch, shape, release };
        this.#snapshot = snapshot;
        return { state, first: shape.first, last: shape.last, ...(snapshot && { snapshot: snapshot.meta }) };
      } catch (error) {
        await release();
        throw error;
      }
    });
  }

  /** Holds a lock of the database in a session of its own until the function that it returns is called. */
  #lock(): Promise<() => Promise<void>> {
    const { name, dialect } = this.#tables;
    const key = createHash('sha256').update(`quorate log ${name}`).digest();
    return new Promise((resolve, reject) => {
      const session = this.#database.session(async (connection) => {
        if (!(await tryLock(connection, key))) throw new StorageLockedError(this.#place);
        await new Promise<void>((end) => {
          resolve(async () => {
            end();
            await session;
          });
        });
        const unlock =
          dialect === 'postgres'
            ? 'select pg_advisory_unlock($1, $2)'
            : `select release_lock(${MYSQL_LOCK_NAME})`;
        await connection.query(unlock, lockValues(dialect, key));
      });
      session.catch(reject);
    });
  }

  async write(batch: PersistBatch): Promise<void> {
    const { shape } = this.#opened();
    checkBatch(batch);
    const { last } = shape;
    const position = shape.plan(batch, this.#snapshot?.meta.index ?? 0);
    shape.append(position, batch.entries);
    await this.#enqueue(async (tx) => {
      if (position.index < last) await this.#tables.truncate(tx, position.index);
      await this.#tables.append(tx, batch.entries);
      if (batch.state !== undefined) await this.#tables.setState(tx, batch.state);
    });
  }

  async read(from: Index, to: Index, maxBytes: number): Promise<Entry[]> {
    const { shape } = this.#opened();
    checkRead(from, to, maxBytes);
    const range = shape.range(from, to);
    if (this.#running !== undefined) await this.#enqueue(() => Promise.resolve());
    const entries: Entry[] = [];
    let budget = maxBytes;
    let rows = FIRST_PAGE_ROWS;
    for (let next = range.from; next < range.to;) {
      const page = await this.#tables.read(this.#database, next, range.to, rows);
      for (const entry of page) {
        if (entries.length > 0 && entry.data.length > budget) return entries;
        entries.push(entry);
        budget -= entry.data.length;
      }
      if (page.length < rows || budget <= 0) break;
      next += page.length;
      rows = Math.min(rows * 2, MAX_PAGE_ROWS);
    }
    // Compacted while this read was under way.
    if (entries.length === 0) shape.range(from, to);
    return entries;
  }

  async stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<StagedSnapshot> {
    const { epoch } = this.#opened();
    checkMeta(meta);
    signal?.throwIfAborted();
    const id = epoch * SNAPSHOTS_PER_EPOCH + ++this.#stagings;
    const own = { ...meta, membership: new Uint8Array(meta.membership) };
    let sizeBytes = 0;
    let number = 0;
    try {
      for await (const chunk of receiveChunks(chunks, signal)) {
        for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
          const piece = chunk.subarray(at, at + CHUNK_BYTES);
          await this.#tables.addChunk(this.#database, id, number++, piece);
          sizeBytes += piece.length;
        }
      }
      await this.#tables.addSnapshot(this.#database, { id, meta: own, sizeBytes });
    } catch (error) {
      await this.#tables.removeSnapshots(this.#database, id).catch(() => undefined);
      throw error;
    }
    const row: StoredRow = { id, meta: own, sizeBytes };
    this.#staged.add(row);
    return {
      meta: own,
      sizeBytes,
      chunks: () => this.#chunks(row),
      install: () => this.#install(row),
      discard: () => this.#discard(row),
    };
  }

  async #install(row: StoredRow): Promise<void> {
    const { shape } = this.#opened();
    const { meta } = row;
    if (!this.#staged.has(row)) throw new SnapshotGoneError();
    const before = this.#snapshot;
    if (before !== undefined && meta.index <= before.meta.index) {
      await this.#discard(row);
      throw new SnapshotOutdatedError(meta, before.meta);
    }
    this.#staged.delete(row);
    this.#snapshot = row;
    const position = { index: meta.index, term: meta.term };
    const holds = shape.holds(position);
    if (!holds) shape.reset(position);
    await this.#enqueue(async (tx) => {
      await this.#tables.setSnapshot(tx, row.id);
      if (holds) return;
      await this.#tables.truncate(tx, 0);
      await this.#tables.setAnchor(tx, position);
    });
    if (before !== undefined) await this.#retire(before);
  }

  async #discard(row: StoredRow): Promise<void> {
    if (this.#staged.delete(row)) await this.#tables.removeSnapshots(this.#database, row.id);
  }

  /** Removes a snapshot that was replaced, now or when nobody reads it any more. */
  async #retire({ id }: StoredRow): Promise<void> {
    this.#retired.add(id);
    if (!this.#readers.has(id)) await this.#tables.removeSnapshots(this.#database, id);
  }

  async *#chunks({ id, sizeBytes }: StoredRow): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#retired.has(id)) throw new SnapshotGoneError();
    this.#readers.set(id, (this.#readers.get(id) ?? 0) + 1);
    try {
      let read = 0;
      for (let number = 0; read < sizeBytes; number++) {
        const chunk = await this.#tables.chunk(this.#database, id, number);
        if (chunk === undefined) throw new SnapshotGoneError();
        read += chunk.length;
        yield chunk;
      }
    } finally {
      const left = (this.#readers.get(id) ?? 1) - 1;
      if (left > 0) this.#readers.set(id, left);
      else this.#readers.delete(id);
      if (left === 0 && this.#retired.has(id)) await this.#tables.removeSnapshots(this.#database, id);
    }
  }

  async openSnapshot(): Promise<StoredSnapshot | undefined> {
    this.#opened();
    if (this.#running !== undefined) await this.#enqueue(() => Promise.resolve());
    const row = this.#snapshot;
    return row && { meta: row.meta, sizeBytes: row.sizeBytes, chunks: () => this.#chunks(row) };
  }

  async compact(to: Index): Promise<void> {
    const { shape } = this.#opened();
    checkCompact(to, this.#snapshot?.meta.index ?? 0);
    if (to < shape.first) return;
    shape.dropTo(to);
    const { anchor } = shape;
    await this.#enqueue((tx) => this.#tables.setAnchor(tx, anchor));
  }

  #enqueue(work: Work): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ work, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Runs what is queued in order, as much of it in one transaction as is there when the one before ends. */
  async #run(): Promise<void> {
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0, MAX_GROUP);
      try {
        await this.#database.transaction(async (tx) => {
          if ((await this.#tables.epoch(tx)) !== this.#open?.epoch) throw new StorageLockedError(this.#place);
          for (const { work } of group) await work(tx);
        });
        for (const { resolve } of group) resolve();
      } catch (cause) {
        const error = this.#lifecycle.fail(cause);
        for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(error);
      }
    }
    this.#running = undefined;
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      await this.#running;
      const open = this.#open;
      this.#open = undefined;
      for (const row of this.#staged) await this.#discard(row).catch(() => undefined);
      await open?.release();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #opened(): OpenLog {
    this.#lifecycle.check();
    if (this.#open === undefined) throw new StorageStateError('STORAGE_NOT_LOADED');
    return this.#open;
  }
}

async function tryLock(connection: SqlConnection, key: Buffer): Promise<boolean> {
  const { dialect } = connection;
  const text =
    dialect === 'postgres'
      ? 'select pg_try_advisory_lock($1, $2) as locked'
      : `select get_lock(${MYSQL_LOCK_NAME}, 0) as locked`;
  const { rows } = await connection.query<{ locked: unknown }>(text, lockValues(dialect, key));
  return rows[0]?.locked === true || Number(rows[0]?.locked) === 1;
}

/**
 * PostgreSQL locks two integers in a database. MySQL locks a name of at most 64 characters in the whole server, so that
 * the name has to carry the database.
 */
function lockValues(dialect: SqlConnection['dialect'], key: Buffer): readonly unknown[] {
  return dialect === 'postgres' ? [key.readInt32BE(0), key.readInt32BE(4)] : [key.toString('hex')];
}

const MYSQL_LOCK_NAME = `concat('quorate_log_', left(sha2(concat(?, database()), 256), 40))`;
