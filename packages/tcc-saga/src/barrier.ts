import { choiceOption, identifierOption, integerOption } from '@quorate/runtime';
import type { SqlConnection } from '@quorate/sql';
import { barrierRows, barrierVerdict, isSuspended } from './core/barrier.js';
import type { TccOp } from './core/tcc.js';
import { SuspendedError } from './errors.js';
import { encodeJson } from './json.js';
import { sql } from './sql.gen.js';

/** Which call a barrier guards. The context of an operation is one. */
export interface BarrierCall<Op extends TccOp = TccOp> {
  /** The global transaction id, at most 255 bytes. */
  readonly gid: string;
  readonly branch: string;
  readonly op: Op;
  /**
   * Tells apart several guarded pieces of one operation, each in a transaction of its own. A cancel undoes the try
   * of the same number.
   * @defaultValue 0
   */
  readonly seq?: number;
}

/** What became of a guarded try or confirm. */
export interface BarrierResult<T> {
  /** `executed`: the work ran. `duplicate`: it ran before, and did not now. */
  readonly outcome: 'executed' | 'duplicate';
  /** What the work answered; for a duplicate what it answered the first time, after a round trip through JSON. */
  readonly result: T;
}

/** What became of a guarded call that may be a cancel. */
export interface CancelBarrierResult<T> {
  /** Besides those of {@link BarrierResult}, `empty`: no try has run and none ever will, so the work did not run. */
  readonly outcome: 'executed' | 'duplicate' | 'empty';
  readonly result: T | undefined;
}

/**
 * Runs `work` inside the participant's transaction `tx` at most once per (gid, branch, op, seq), and in an order that
 * TCC needs, however calls are repeated, reordered and run at once:
 *
 * - a call that arrives again does not run, and answers what the first one answered;
 * - a cancel whose try has not run does not run (empty compensation), and forbids the try;
 * - a try after its cancel throws {@link SuspendedError} (suspension); roll back and answer with that refusal.
 *
 * It costs one statement, plus one to keep a result that is not undefined. A call whose twin is still under way waits
 * for the twin's commit or rollback. All holds as soon as `tx` commits, and nothing of it if `tx` rolls back: let
 * errors of this function end the transaction. Under REPEATABLE READ and SERIALIZABLE a race may fail with 40001,
 * in MySQL with a deadlock: run the transaction again, as `SqlDatabase.transaction` does by itself.
 *
 * After D. Y. Fu's sub-transaction barrier (dtm, "Subtransaction Barrier", 2021).
 */
export function barrier<T>(
  tx: SqlConnection,
  call: BarrierCall<'try' | 'confirm'>,
  work: () => T | PromiseLike<T>,
): Promise<BarrierResult<T>>;
export function barrier<T>(
  tx: SqlConnection,
  call: BarrierCall,
  work: () => T | PromiseLike<T>,
): Promise<CancelBarrierResult<T>>;
export async function barrier<T>(
  tx: SqlConnection,
  call: BarrierCall,
  work: () => T | PromiseLike<T>,
): Promise<CancelBarrierResult<T>> {
  const key: Key = {
    gid: identifierOption('gid', call.gid),
    branch: identifierOption('branch', call.branch),
    op: choiceOption('op', call.op, ['try', 'confirm', 'cancel']),
    seq: integerOption('seq', call.seq ?? 0, { max: 2 ** 31 - 1 }),
  };
  switch (barrierVerdict(key.op, await enter(tx, key))) {
    case 'empty':
      return { outcome: 'empty', result: undefined };
    case 'occupied': {
      const first = await readFirst(tx, key);
      if (isSuspended(key.op, first.reason)) throw new SuspendedError(key.gid, key.branch);
      return { outcome: 'duplicate', result: first.result as T | undefined };
    }
    case 'execute':
      return { outcome: 'executed', result: await execute(tx, key, work) };
  }
}

/** Deletes rows of the barrier in `db`; see {@link pruneBarrier}. */
export interface PruneBarrierOptions {
  /**
   * Rows that are younger stay. Choose the deadline of your sagas, plus how long they may be retried, plus the longest
   * time in which a late call can still arrive; a week is a safe start.
   */
  readonly olderThanMs: number;
  /** @defaultValue 10_000 */
  readonly limit?: number;
}

/**
 * Deletes up to `limit` rows of the barrier that are older than `olderThanMs`, by the database's clock, and answers
 * how many. A call that arrives after its rows are gone runs as if it were the first.
 */
export async function pruneBarrier(db: SqlConnection, options: PruneBarrierOptions): Promise<number> {
  const olderThanMs = integerOption('olderThanMs', options.olderThanMs, { max: 3_000_000_000_000 });
  const limit = integerOption('limit', options.limit ?? 10_000, { min: 1, max: 1_000_000 });
  const text = sql[`barrier-prune-${db.dialect}`].replace('{limit}', String(limit));
  const values = db.dialect === 'postgres' ? [olderThanMs, limit] : [olderThanMs];
  return (await db.query(text, values)).rowCount;
}

type Key = Required<BarrierCall>;

/** Inserts the rows of the call that are not there; how many went in. */
async function enter(tx: SqlConnection, { gid, branch, op, seq }: Key): Promise<number> {
  const rows = barrierRows(op);
  const values =
    tx.dialect === 'postgres'
      ? [gid, branch, rows, seq, op]
      : rows.flatMap((row) => [gid, branch, row, seq, op]);
  const text =
    tx.dialect === 'postgres'
      ? sql['barrier-enter-postgres']
      : sql[rows.length === 1 ? 'barrier-enter-mysql' : 'barrier-enter-two-mysql'];
  return (await tx.query(text, values)).rowCount;
}

async function readFirst(
  tx: SqlConnection,
  { gid, branch, op, seq }: Key,
): Promise<{ readonly reason: string; readonly result: unknown }> {
  const { rows } = await tx.query<{ reason: string; result: string | null }>(
    sql[`barrier-read-${tx.dialect}`],
    [gid, branch, op, seq],
  );
  const first = rows[0];
  // A cancel that found only its try's row in its place: somebody deleted rows by hand. Treat it as one that ran.
  if (first === undefined) return { reason: op, result: undefined };
  return { reason: first.reason, result: first.result === null ? undefined : JSON.parse(first.result) };
}

async function execute<T>(tx: SqlConnection, key: Key, work: () => T | PromiseLike<T>): Promise<T> {
  const { gid, branch, op, seq } = key;
  try {
    const result = await work();
    if (result !== undefined) {
      const text = encodeJson(`the result of the ${op} of branch ${branch}`, result);
      await tx.query(sql[`barrier-keep-${tx.dialect}`], [text, gid, branch, op, seq]);
    }
    return result;
  } catch (error) {
    // Whoever catches this and commits all the same must not leave a row that says the work was done.
    await tx.query(sql[`barrier-leave-${tx.dialect}`], [gid, branch, op, seq]).catch(() => undefined);
    throw error;
  }
}
