import type { TccOp } from './tcc.js';

/**
 * The rule of the barrier.
 *
 * Every call inserts its own row (gid, branch, op, seq), and a cancel inserts the row of its try before its own, in
 * one statement that skips rows that exist. The rows that went in tell the three anomalies of TCC apart: a call that
 * arrives twice, a cancel without a try (empty compensation), and a try after its cancel (suspension).
 */
export type BarrierVerdict = 'execute' | 'empty' | 'occupied';

/** The rows that a call inserts, in this order. */
export function barrierRows(op: TccOp): readonly TccOp[] {
  return op === 'cancel' ? ['try', 'cancel'] : [op];
}

/**
 * What a call does after `inserted` of its {@link barrierRows} went in.
 *
 * A cancel that inserted both rows came before its try, or instead of it: there is nothing to undo, and the try's
 * row, now taken, forbids it for ever. One row of a cancel is its own, since the try's row goes in first and is
 * never removed alone.
 */
export function barrierVerdict(op: TccOp, inserted: number): BarrierVerdict {
  if (inserted === 0) return 'occupied';
  return op === 'cancel' && inserted === 2 ? 'empty' : 'execute';
}

/** Whether a call whose row is taken comes too late for ever: its try's row was put in by a cancel. */
export function isSuspended(op: TccOp, reason: string): boolean {
  return op === 'try' && reason === 'cancel';
}
