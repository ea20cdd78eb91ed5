import {
  abortable,
  describeValue,
  functionOption,
  integerOption,
  linkSignals,
  QuorateError,
} from '@quorate/runtime';
import { decodeCheckpoint, encodeCheckpoint } from './core/checkpoint.js';
import type { Move, MovementPlan } from './plan.js';

/** What a mover may use. */
export interface MoveContext {
  /** Aborts when the migration is given up. */
  readonly signal: AbortSignal;
  /** The move's place in `plan.moves`. */
  readonly index: number;
}

/**
 * Copies the keys of one range to `move.to`, from any of `move.from`. It must be safe to repeat: a move that was
 * under way when a process died runs again.
 */
export type Mover = (move: Move, context: MoveContext) => Promise<void> | void;

/** Where a migration remembers what is done. */
export interface CheckpointStore {
  /** What was saved last, or nothing at the first start. */
  load(): Promise<Uint8Array | undefined | null> | Uint8Array | undefined | null;
  /** Replaces what was saved. Never called again before its promise settles. */
  save(checkpoint: Uint8Array): Promise<void> | void;
}

/** How far a migration is. */
export interface MigrationProgress {
  /** Moves that are done, those of earlier runs included. */
  readonly done: number;
  readonly total: number;
  /** The share of the tokens to be moved that is done: 0 to 1. */
  readonly fraction: number;
  /** The move that was done just now; undefined at the start. */
  readonly move: Move | undefined;
}

/** Options of {@link migrate}. */
export interface MigrateOptions {
  /**
   * Moves under way at a time.
   * @defaultValue 4
   */
  readonly concurrency?: number;
  /** Starts no further move and aborts those under way. The migration can be resumed from its checkpoint. */
  readonly signal?: AbortSignal;
  /** Called at the start and after each move. */
  readonly onProgress?: (progress: MigrationProgress) => void;
  /**
   * Makes the migration resumable across processes.
   * @defaultValue progress is not remembered
   */
  readonly checkpoint?: CheckpointStore;
}

/** What {@link migrate} did. */
export interface MigrationReport {
  /** Moves done by this run. */
  readonly moved: number;
  /** Moves that a checkpoint said were done before. */
  readonly resumed: number;
}

/**
 * A move failed. Moves that were under way were finished, no further one was started, and the checkpoint holds
 * what is done: call `migrate` again to go on. `cause` is the mover's error. Code `MIGRATION_FAILED`.
 */
export class MigrationError extends QuorateError {
  static override readonly brand: string = '@quorate/hash-ring#MigrationError';

  /** The move that failed first. */
  readonly move: Move;

  constructor(move: Move, cause: unknown) {
    super(
      'MIGRATION_FAILED',
      `moving tokens ${String(move.start)} to ${String(move.end)} to ${describeValue(move.to)} failed; ` +
        'what is done is in the checkpoint, migrate again to go on',
      { cause },
    );
    this.move = move;
  }
}

/**
 * Runs every move of a plan.
 *
 * Each move runs at least once, and a move counts as done only after its mover resolved. With a checkpoint, a later
 * run of an equal plan repeats at most the moves that were under way. Rejects with the signal's reason on abort and
 * with {@link MigrationError} when a mover fails; either way no mover is running any more, and the checkpoint is
 * saved. Throws `MALFORMED_BYTES` for a checkpoint that is damaged or belongs to another plan.
 */
export async function migrate(
  plan: MovementPlan,
  mover: Mover,
  options: MigrateOptions = {},
): Promise<MigrationReport> {
  functionOption('mover', mover);
  const concurrency = integerOption('concurrency', options.concurrency ?? 4, { min: 1 });
  const { signal, onProgress, checkpoint } = options;
  signal?.throwIfAborted();
  const { moves } = plan;
  const saved =
    checkpoint === undefined ? undefined : await abortable(Promise.resolve(checkpoint.load()), signal);
  const done =
    saved === undefined || saved === null ? new Uint8Array(moves.length) : decodeCheckpoint(saved, plan);
  const resumed = done.reduce((sum, flag) => sum + flag, 0);
  const sizes = moves.map(({ start, end }) => end - start + 1);
  const totalSize = sizes.reduce((sum, size) => sum + size, 0);
  let doneSize = sizes.reduce((sum, size, index) => sum + (done[index] === 1 ? size : 0), 0);
  let doneCount = resumed;
  const report = (move: Move | undefined): void => {
    onProgress?.({
      done: doneCount,
      total: moves.length,
      fraction: totalSize === 0 ? 1 : doneSize / totalSize,
      move,
    });
  };
  report(undefined);

  const linked = linkSignals(signal);
  const save =
    checkpoint === undefined
      ? undefined
      : coalesce(async () => checkpoint.save(encodeCheckpoint(done, plan)));
  let failure: { readonly error: unknown } | undefined;
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < moves.length; index = next++) {
      const move = moves[index];
      if (failure !== undefined || linked.signal.aborted) return;
      if (move === undefined || done[index] === 1) continue;
      try {
        await mover(move, { signal: linked.signal, index });
      } catch (error) {
        failure ??= { error: signal?.aborted === true ? signal.reason : new MigrationError(move, error) };
        return;
      }
      done[index] = 1;
      doneCount++;
      doneSize += sizes[index] ?? 0;
      try {
        report(move);
        await save?.();
      } catch (error) {
        failure ??= { error };
        return;
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, moves.length) }, work));
  } finally {
    linked[Symbol.dispose]();
  }
  if (failure !== undefined) throw failure.error;
  if (doneCount < moves.length) signal?.throwIfAborted();
  return { moved: doneCount - resumed, resumed };
}

/** Runs `write` one at a time; callers that come before a run has begun share it. */
function coalesce(write: () => Promise<void>): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  return () => {
    waiting ??= last
      .catch(() => undefined)
      .then(() => {
        waiting = undefined;
        return write();
      });
    last = waiting;
    return waiting;
  };
}
