import type {
  BackendCall,
  ClaimCall,
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ClaimWatch,
  ConvertResult,
  LockBackend,
  LockCapabilities,
  LockStatus,
  ReleaseResult,
  RenewResult,
} from '@quorate/distributed-lock';
import { LockClosedError } from '@quorate/distributed-lock';
import {
  abortable,
  backoff,
  integerOption,
  InvalidOptionError,
  numberOption,
  randomId,
  type Runtime,
  sleep,
  systemRuntime,
  type Timer,
} from '@quorate/runtime';
import { type Dialect, isRetryable, type SqlConnection, type SqlDatabase, toSafeInteger } from '@quorate/sql';
import { type LeaseOperation, type LeaseRead, type LeaseRound, runOnLease } from './core/lease-row.js';
import { asSqlLockError, databaseOption, keyBytes } from './lock-sql.js';
import { sql } from './sql.gen.js';

/**
 * What lease rows promise: every kind of lock, in the order of arrival, and fences that rise for ever. Waiting claims ask
 * how they stand.
 */
export const leaseRowsCapabilities: LockCapabilities = Object.freeze({
  fencing: 'durable',
  fifo: true,
  waiting: 'poll',
  releasedOnCrash: 'time',
  safety: 'single-node',
  modes: Object.freeze(['exclusive', 'shared', 'permits'] as const),
  upgrade: true,
  downgrade: true,
  leaseMs: Object.freeze({ min: 10, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

/** The same with a listener: waiting claims are told. */
export const notifiedLeaseRowsCapabilities: LockCapabilities = Object.freeze({
  ...leaseRowsCapabilities,
  waiting: 'push',
});

/** What of a `PgListener` of `@quorate/sql/pg` is used. */
export interface HandOverListener {
  listen(
    channel: string,
    hear: (payload: string) => void,
    options?: { readonly missed?: () => void; readonly signal?: AbortSignal },
  ): Promise<() => Promise<void>>;
}

/** What lease rows take. */
export interface LeaseRowsOptions {
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** What lease rows in PostgreSQL take. */
export interface NotifiedLeaseRowsOptions extends LeaseRowsOptions {
  /**
   * Hears of hand-overs at once: `pgListener(pool)` of `@quorate/sql/pg`. It stays yours to close, after the locks.
   * @defaultValue waiting claims ask
   */
  readonly listener?: HandOverListener;
}

/** Lease rows over a database of either dialect; see the subpaths. */
export function leaseRows(
  db: SqlDatabase,
  dialect: Dialect | undefined,
  { runtime = systemRuntime, listener }: NotifiedLeaseRowsOptions = {},
): LockBackend {
  const given = databaseOption('db', db, dialect);
  if (listener !== undefined && typeof (listener as Partial<HandOverListener> | null)?.listen !== 'function')
    throw new InvalidOptionError('listener', listener, 'a PgListener, such as that of pgListener(pool)');
  if (listener !== undefined && given.dialect !== 'postgres')
    throw new InvalidOptionError('listener', listener, 'left out: only PostgreSQL notifies');
  return new LeaseRows(given, runtime, listener);
}

/** One operation under way. */
interface Pending {
  readonly run: LeaseOperation<unknown>;
  readonly signal: AbortSignal;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** The operations on one key, which are run together: a process never competes with itself for a row. */
interface Line {
  pending: Pending[];
  running: boolean;
}

/** Who waits for a key here. */
interface Waiting {
  readonly watches: Map<string, ClaimWatch>;
  /** Rings when something in the row runs out. */
  timer: Timer | undefined;
}

/**
 * Each operation reads the row and writes it on condition that nobody wrote it meanwhile: no transaction stays open
 * between two statements, so that a client that stands still holds nobody up. Time is that of the server's clock.
 */
class LeaseRows implements LockBackend {
  readonly name = 'lease-rows';
  readonly capabilities: LockCapabilities;
  readonly #db: SqlDatabase;
  readonly #runtime: Runtime;
  readonly #listener: HandOverListener | undefined;
  readonly #channel: string;
  readonly #lines = new Map<string, Line>();
  readonly #waiting = new Map<string, Waiting>();
  #listening: Promise<() => Promise<void>> | undefined;
  readonly #closing = new AbortController();

  constructor(db: SqlDatabase, runtime: Runtime, listener: HandOverListener | undefined) {
    this.#db = db;
    this.#runtime = runtime;
    this.#listener = listener;
    this.#channel = `quorate_lock_${randomId(runtime)}`;
    this.capabilities = listener === undefined ? leaseRowsCapabilities : notifiedLeaseRowsCapabilities;
  }

  claim(request: ClaimRequest, call: ClaimCall): Promise<ClaimResult> {
    return this.#ask(request, call, (table, nowMs) => table.claim(request, nowMs));
  }

  convert(request: ClaimRequest, call: ClaimCall): Promise<ConvertResult> {
    return this.#ask(request, call, (table, nowMs) => table.convert(request, nowMs));
  }

  renew(claim: ClaimId, leaseMs: number, { signal }: BackendCall): Promise<RenewResult> {
    return this.#run(claim.key, signal, (table, nowMs) => table.renew(claim, leaseMs, nowMs));
  }

  release(claim: ClaimId, { signal }: BackendCall): Promise<ReleaseResult> {
    this.#forget(claim);
    return this.#run(claim.key, signal, (table, nowMs) => table.release(claim, nowMs));
  }

  inspect(key: string, { signal }: BackendCall): Promise<LockStatus> {
    return this.#run(key, signal, (table, nowMs) => table.inspect(key, nowMs));
  }

  async close(): Promise<void> {
    this.#closing.abort(new LockClosedError());
    for (const { timer } of this.#waiting.values()) timer?.cancel();
    this.#waiting.clear();
    const leave = await this.#listening?.catch(() => undefined);
    await leave?.();
  }

  async #ask<T extends ConvertResult>(
    request: ClaimRequest,
    { signal, watch }: ClaimCall,
    operation: LeaseOperation<T>,
  ): Promise<T> {
    const { key, owner } = request;
    // Before it is in the row: a hand-over may follow at once.
    if (request.wait) {
      await this.#listen(signal);
      const waiting = this.#waiting.get(key) ?? { watches: new Map<string, ClaimWatch>(), timer: undefined };
      waiting.watches.set(owner, watch);
      this.#waiting.set(key, waiting);
    }
    const result = await this.#run(key, signal, operation);
    if (result.state !== 'waiting') this.#forget(request);
    return result;
  }

  #forget({ key, owner }: ClaimId): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined || !waiting.watches.delete(owner) || waiting.watches.size > 0) return;
    waiting.timer?.cancel();
    this.#waiting.delete(key);
  }

  /** Runs an operation with all others on the key that come while one is under way. */
  #run<T>(key: string, signal: AbortSignal, run: LeaseOperation<T>): Promise<T> {
    if (this.#closing.signal.aborted) return Promise.reject(new LockClosedError(key));
    const line = this.#lines.get(key) ?? { pending: [], running: false };
    this.#lines.set(key, line);
    const settled = new Promise<T>((resolve, reject) => {
      line.pending.push({ run, signal, resolve: resolve as (result: unknown) => void, reject });
    });
    if (!line.running) void this.#drain(key, line);
    return settled;
  }

  async #drain(key: string, line: Line): Promise<void> {
    line.running = true;
    const pauses = backoff(this.#runtime, { minMs: 1, maxMs: 50 });
    let taken: Pending[] = [];
    for (;;) {
      taken = [...taken, ...line.pending].filter(wanted);
      line.pending = [];
      if (taken.length === 0) break;
      const round = this.#round(key, taken);
      const outcome = await untilNobodyWaits(round, taken);
      if (outcome === 'unwritten') {
        // Somebody else was quicker; whoever keeps losing waits longer.
        if (pauses.attempts > 0) await sleep(this.#runtime, pauses.nextMs());
        else pauses.nextMs();
        continue;
      }
      taken = [];
    }
    line.running = false;
    if (this.#lines.get(key) === line) this.#lines.delete(key);
  }

  /** Reads, runs, writes; settles all operations unless the row had changed meanwhile. */
  async #round(key: string, taken: readonly Pending[]): Promise<'done' | 'unwritten'> {
    try {
      const read = await readRow(this.#db, key);
      const listens = this.#listener === undefined ? undefined : this.#channel;
      const waiting = this.#waiting.get(key);
      const round = runOnLease(
        key,
        read,
        taken.map(({ run }) => run),
        (owner) => (waiting?.watches.has(owner) === true ? listens : undefined),
      );
      if (round.write !== undefined && !(await writeRow(this.#db, key, read, round))) return 'unwritten';
      taken.forEach(({ resolve }, index) => {
        resolve(round.results[index]);
      });
      this.#ringAt(key, round.nextExpiryMs === undefined ? undefined : round.nextExpiryMs - read.nowMs);
    } catch (error) {
      if (isRetryable(error)) return 'unwritten';
      const told = asSqlLockError(key, 0, error);
      for (const { reject } of taken) reject(told);
    }
    return 'done';
  }

  /** Has those who wait here ask again when the first claim in the row has run out. */
  #ringAt(key: string, delayMs: number | undefined): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    waiting.timer?.cancel();
    waiting.timer =
      delayMs === undefined
        ? undefined
        : this.#runtime.setTimer(delayMs + 1, () => {
            for (const watch of waiting.watches.values()) watch.changed();
          });
  }

  async #listen(signal: AbortSignal): Promise<void> {
    if (this.#listener === undefined) return;
    this.#listening ??= this.#listener.listen(this.#channel, (payload) => this.#hear(payload), {
      missed: () => {
        for (const { watches } of this.#waiting.values())
          for (const watch of watches.values()) watch.changed();
      },
      signal: this.#closing.signal,
    });
    const listening = this.#listening;
    try {
      await abortable(listening, signal);
    } catch (error) {
      listening.catch(() => {
        if (this.#listening === listening) this.#listening = undefined;
      });
      throw error;
    }
  }

  /** A hand-over. What is not one was sent by somebody else, and has no effect. */
  #hear(payload: string): void {
    let told: unknown;
    try {
      told = JSON.parse(payload);
    } catch {
      return;
    }
    if (!Array.isArray(told)) return;
    const [key, owner, fence, validMs] = told as unknown[];
    if (typeof key !== 'string' || typeof owner !== 'string') return;
    const watch = this.#waiting.get(key)?.watches.get(owner);
    if (Number.isSafeInteger(fence) && typeof validMs === 'number' && validMs > 0)
      watch?.changed({ state: 'granted', fence: Number(fence), validMs });
    else watch?.changed();
  }
}

function wanted({ signal, reject }: Pending): boolean {
  if (signal.aborted) reject(signal.reason);
  return !signal.aborted;
}

/** A round that nobody waits for any more is left to itself: however late it writes, it does so only on what it read. */
async function untilNobodyWaits(
  round: Promise<'done' | 'unwritten'>,
  taken: readonly Pending[],
): Promise<'done' | 'unwritten'> {
  let left = taken.length;
  let leave: () => void = () => undefined;
  const abandoned = new Promise<'done'>((resolve) => {
    leave = () => {
      if (--left === 0) resolve('done');
    };
  });
  for (const { signal } of taken) signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([round, abandoned]);
  } finally {
    for (const { signal } of taken) signal.removeEventListener('abort', leave);
    // Its operations settle when it does.
    round.then(
      (outcome) => {
        if (outcome === 'unwritten' && left === 0)
          for (const { reject, signal } of taken) reject(signal.reason);
      },
      () => undefined,
    );
  }
}

async function readRow(db: SqlConnection, key: string): Promise<LeaseRead> {
  const { rows } = await db.query<Record<'fence' | 'state' | 'floor' | 'now_ms', unknown>>(
    sql[`lease-read.${db.dialect}`],
    [keyBytes(key)],
  );
  const [row] = rows;
  if (row === undefined)
    throw new InvalidOptionError(
      'quorate_lock_floor',
      undefined,
      'a table with the row that the migration put into it',
    );
  const { fence, state, floor, now_ms: nowMs } = row;
  return {
    row: fence === null ? undefined : { fence: toSafeInteger(fence), state: String(state) },
    floor: toSafeInteger(floor),
    nowMs: numberOption('the time of the server', Number(nowMs), { min: 0 }),
  };
}

async function writeRow(
  db: SqlConnection,
  key: string,
  { row, floor }: LeaseRead,
  { write, told }: LeaseRound<unknown>,
): Promise<boolean> {
  if (write === undefined) return true;
  const { fence, state } = write;
  const bytes = keyBytes(key);
  const before = row?.fence ?? floor;
  const postgres = db.dialect === 'postgres';
  if (row === undefined) {
    const values = postgres ? [bytes, before, fence, state] : [bytes, fence, state, before];
    return (await db.query(sql[`lease-insert.${db.dialect}`], values)).rowCount > 0;
  }
  if (postgres && told.length > 0) {
    const payloads = told.map(({ owner, grant }) => JSON.stringify([key, owner, grant.fence, grant.validMs]));
    const channels = told.map(({ channel }) => channel);
    const values = [bytes, before, fence, state, channels, payloads];
    return (await db.query(sql['lease-tell.postgres'], values)).rowCount > 0;
  }
  const values = postgres ? [bytes, before, fence, state] : [fence, state, bytes, before];
  return (await db.query(sql[`lease-write.${db.dialect}`], values)).rowCount > 0;
}

/** Which lease rows to remove. */
export interface PruneLeasesOptions {
  /** Keys that were free for less than so many milliseconds stay; at least a minute. */
  readonly idleMs: number;
  /**
   * The most rows to remove in one call.
   * @defaultValue 10_000
   */
  readonly limit?: number;
}

/**
 * Removes the rows of keys that nobody has, waits for, or had of late, and resolves with how many there were. Fences go
 * on rising: those of keys without a row are above all that were removed.
 */
export async function pruneLeases(db: SqlDatabase, options: PruneLeasesOptions): Promise<number> {
  databaseOption('db', db);
  const idleMs = integerOption('idleMs', options.idleMs, { min: 60_000 });
  const limit = integerOption('limit', options.limit ?? 10_000, { min: 1, max: 1_000_000 });
  return db.transaction(async (tx) => {
    // Whoever makes a row looks at the floor under a lock, so that none is made with a fence that was given out.
    await tx.query('select fence from quorate_lock_floor where id = 1 for update');
    const fences = await (tx.dialect === 'postgres'
      ? tx.query<{ fence: unknown }>(sql['lease-prune.postgres'], [idleMs, limit])
      : pruneMysql(tx, idleMs, limit));
    const highest = Math.max(0, ...fences.rows.map(({ fence }) => toSafeInteger(fence)));
    const parameter = tx.dialect === 'postgres' ? '$1' : '?';
    await tx.query(`update quorate_lock_floor set fence = greatest(fence, ${parameter}) where id = 1`, [
      highest,
    ]);
    return fences.rows.length;
  });
}

async function pruneMysql(
  tx: SqlConnection,
  idleMs: number,
  limit: number,
): Promise<{ readonly rows: { readonly fence: unknown }[] }> {
  const { rows } = await tx.query<{ key: Buffer; fence: unknown }>(
    `${sql['lease-prune-find.mysql']} limit ${String(limit)}`,
    [idleMs * 1000],
  );
  const removed: { fence: unknown }[] = [];
  for (const { key, fence } of rows) {
    const { rowCount } = await tx.query('delete from quorate_lock where `key` = ? and fence = ?', [
      key,
      fence,
    ]);
    if (rowCount > 0) removed.push({ fence });
  }
  return { rows: removed };
}
