import { type EventChannel, eventChannel } from '@quorate/runtime';
import type { TccOp } from './core/tcc.js';

/**
 * The points that an instance passes, each named for what has just become true. A process may die at any of them;
 * tests kill it there.
 *
 * - `begun`: its row is inserted, in the caller's transaction if there is one
 * - `claimed`: a coordinator holds its lease
 * - `invoking`, `returned`: around each operation of a branch
 * - `deciding`, `decided`: around the write of the decision
 * - `pausing`, `paused`: around the write that gives it up until its next attempt
 * - `ending`, `ended`: around the last write; `hooked` lies between them, after the hook and before the commit
 */
export type StepPoint =
  | 'begun'
  | 'claimed'
  | 'invoking'
  | 'returned'
  | 'deciding'
  | 'decided'
  | 'pausing'
  | 'paused'
  | 'ending'
  | 'hooked'
  | 'ended';

/** An instance passed a point. */
export interface StepEvent {
  readonly point: StepPoint;
  readonly id: string;
  readonly definition: string;
  /** The coordinator that it happened in. */
  readonly owner: string;
  /** Of `invoking` and `returned`. */
  readonly branch?: string;
  /** Of `invoking` and `returned`. */
  readonly op?: TccOp;
}

/** An attempt at an operation of a branch failed: its effect is unknown, and it will be repeated. */
export interface AttemptFailedEvent {
  readonly id: string;
  readonly definition: string;
  readonly branch: string;
  readonly op: TccOp;
  /** Counts from 1. */
  readonly attempt: number;
  readonly error: unknown;
}

/** An instance does not get on: somebody has to look. Published at each attempt from the option `stuckAfter` on. */
export interface StuckEvent {
  readonly id: string;
  readonly definition: string;
  readonly status: 'trying' | 'confirming' | 'cancelling';
  readonly attempts: number;
  /** The last errors, by branch; the instance's own, such as that of a hook, under the empty string. */
  readonly errors: Readonly<Record<string, string>>;
}

/** A coordinator stopped working on an instance whose lease it lost. */
export interface LeaseLostEvent {
  readonly id: string;
  readonly owner: string;
}

/** Something in the background failed and will be tried again, such as a query while the database is away. */
export interface CoordinatorErrorEvent {
  readonly owner: string;
  readonly during: 'claim' | 'renew' | 'store' | 'release' | 'wait' | 'hook' | 'load';
  readonly error: unknown;
  readonly id?: string;
}

/** The channels of this package, on `node:diagnostics_channel` under `quorate:tcc-saga:*`. */
export const tccSagaEvents: {
  readonly step: EventChannel<StepEvent>;
  readonly attemptFailed: EventChannel<AttemptFailedEvent>;
  readonly stuck: EventChannel<StuckEvent>;
  readonly leaseLost: EventChannel<LeaseLostEvent>;
  readonly error: EventChannel<CoordinatorErrorEvent>;
} = {
  step: eventChannel('tcc-saga', 'step'),
  attemptFailed: eventChannel('tcc-saga', 'attempt-failed'),
  stuck: eventChannel('tcc-saga', 'stuck'),
  leaseLost: eventChannel('tcc-saga', 'lease-lost'),
  error: eventChannel('tcc-saga', 'error'),
};
