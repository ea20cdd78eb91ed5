import { type EventChannel, eventChannel } from '@quorate/runtime';

const PACKAGE = 'outbox-and-event-sync';

/** Messages were published and deleted. */
export interface RelaySettledEvent {
  readonly owner: string;
  readonly published: number;
  /** Failures that will be tried again. */
  readonly failed: number;
  /** Messages that were given up. */
  readonly dead: number;
  /** Verdicts that changed nothing, because the partition has another owner by now. */
  readonly fenced: number;
  /** How long the database took to write it down, in milliseconds. */
  readonly durationMs: number;
}

/** A message failed. */
export interface RelayFailedEvent {
  readonly owner: string;
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  /** Attempts so far, this one included. */
  readonly attempts: number;
  readonly error: unknown;
  /** Delay before the next attempt; undefined when the message was given up. */
  readonly retryAfterMs: number | undefined;
}

/** Partitions came or went. */
export interface RelayLeasesEvent {
  readonly owner: string;
  readonly change: 'acquired' | 'released' | 'lost';
  readonly partitions: readonly number[];
  /** How many are held now. */
  readonly held: number;
}

/** The relay could not talk to the database, and goes on trying. */
export interface RelayErrorEvent {
  readonly owner: string;
  readonly during: 'heartbeat' | 'fetch' | 'settle' | 'close' | 'listen';
  readonly error: unknown;
}

/** `quorate:outbox-and-event-sync:settled`. */
export const relaySettled: EventChannel<RelaySettledEvent> = eventChannel(PACKAGE, 'settled');
/** `quorate:outbox-and-event-sync:failed`: each failure of a message, and with which error. */
export const relayFailed: EventChannel<RelayFailedEvent> = eventChannel(PACKAGE, 'failed');
/** `quorate:outbox-and-event-sync:leases`. */
export const relayLeases: EventChannel<RelayLeasesEvent> = eventChannel(PACKAGE, 'leases');
/** `quorate:outbox-and-event-sync:error`. */
export const relayErrors: EventChannel<RelayErrorEvent> = eventChannel(PACKAGE, 'error');
