import { type EventChannel, eventChannel } from '@quorate/runtime';

const PACKAGE = 'durable-log';

/** A group of records was written, and made durable where one of them asked for it. */
export interface GroupCommittedEvent {
  readonly directory: string;
  readonly records: number;
  readonly bytes: number;
  /** How long the sync took, in milliseconds; undefined when there was none. */
  readonly syncMs: number | undefined;
}

/** What a crash left of writes that were never acknowledged was cut off. */
export interface TailRepairedEvent {
  readonly file: string;
  /** Where the records end. */
  readonly offset: number;
  readonly bytes: number;
}

/** The storage has failed and refuses everything. */
export interface StorageFailedEvent {
  readonly place: string;
  readonly error: Error;
}

/** `quorate:durable-log:group-committed` */
export const groupCommitted: EventChannel<GroupCommittedEvent> = eventChannel(PACKAGE, 'group-committed');

/** `quorate:durable-log:tail-repaired` */
export const tailRepaired: EventChannel<TailRepairedEvent> = eventChannel(PACKAGE, 'tail-repaired');

/** `quorate:durable-log:storage-failed` */
export const storageFailed: EventChannel<StorageFailedEvent> = eventChannel(PACKAGE, 'storage-failed');
