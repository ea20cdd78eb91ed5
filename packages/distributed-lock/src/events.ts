import { eventChannel } from '@quorate/runtime';
import type { LockMode, ReleaseResult } from './contract.js';
import type { LossReason } from './errors.js';

/** What every event tells. */
export interface LockEvent {
  readonly backend: string;
  readonly key: string;
  readonly owner: string;
}

/** A lock was granted, or a held one upgraded. */
export interface AcquiredEvent extends LockEvent {
  readonly mode: LockMode;
  readonly fence: number | undefined;
  /** From the call to the grant, in milliseconds. */
  readonly waitedMs: number;
}

/** A lock was given back. */
export interface ReleasedEvent extends LockEvent {
  readonly result: ReleaseResult;
  readonly heldMs: number;
}

/** A lock was lost while it was held. */
export interface LostEvent extends LockEvent {
  readonly reason: LossReason;
  readonly cause: unknown;
}

/** A call to the backend failed. What follows depends on the call; the process never ends from it. */
export interface BackendFailedEvent extends LockEvent {
  readonly call: 'claim' | 'renew' | 'release' | 'inspect';
  readonly error: unknown;
}

/** What locks publish, on `quorate:distributed-lock:<name>`. */
export const lockEvents = Object.freeze({
  acquired: eventChannel<AcquiredEvent>('distributed-lock', 'acquired'),
  released: eventChannel<ReleasedEvent>('distributed-lock', 'released'),
  lost: eventChannel<LostEvent>('distributed-lock', 'lost'),
  backendFailed: eventChannel<BackendFailedEvent>('distributed-lock', 'backend-failed'),
});
