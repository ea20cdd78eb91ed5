import { QuorateError, type QuorateErrorOptions } from '@quorate/runtime';
import type { Index, SnapshotMeta } from './contract.js';

/** The base of every error of a log storage. */
export class LogStorageError extends QuorateError {
  static override readonly brand: string = '@quorate/durable-log#LogStorageError';
}

/**
 * Somebody else has the storage open, in this process or in another. Nothing was touched. End the other one, or
 * use another place. Code `STORAGE_LOCKED`.
 */
export class StorageLockedError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#StorageLockedError';

  /** The directory, table or other place that is taken. */
  readonly place: string;

  constructor(place: string, holder?: string) {
    super(
      'STORAGE_LOCKED',
      `${place} is open${holder === undefined ? '' : ` in ${holder}`} already, and a log has one writer: end that one, or use another place`,
    );
    this.place = place;
  }
}

/** What else is known of the damage. */
export interface CorruptLogErrorOptions extends QuorateErrorOptions {
  /**
   * What `offset` counts.
   * @defaultValue 'byte'
   */
  readonly unit?: 'byte' | 'index';
}

/**
 * Bytes that were acknowledged as durable are not what was written. The storage does not open, and nothing was
 * changed. Code `CORRUPT_LOG`.
 *
 * The member of a group whose storage this is must not come back as itself, neither with an empty storage nor with a
 * backup: it would have forgotten a vote, or entries that the others count as stored by it, and what was committed could
 * be lost. Remove it from the group and add a new member, with an id of its own and an empty storage; it gets everything
 * from the others. A log that nothing else has a copy of can only come from a backup, without what was written since.
 */
export class CorruptLogError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#CorruptLogError';

  /** The file that is damaged, or the table. */
  readonly file: string;
  /** The first byte of the file that cannot be believed; in a table, the index of the entry. */
  readonly offset: number;

  constructor(file: string, offset: number, what: string, options?: CorruptLogErrorOptions) {
    super(
      'CORRUPT_LOG',
      `${what} at ${options?.unit ?? 'byte'} ${String(offset)} of ${file}. What was acknowledged is damaged; nothing was ` +
        'changed. The node of a replicated log must not come back with this id, not from a backup either, which has ' +
        'forgotten votes and entries that others count on: remove it from the group, and add a new node with a new id ' +
        'and an empty storage. A log without other copies: restore a backup; what was written after it is lost',
      options,
    );
    this.file = file;
    this.offset = offset;
  }
}

/**
 * A write, a sync or a removal failed, and every later call fails with this same error: after a failed sync nobody
 * knows what the disk holds. What was acknowledged is there when the storage is opened again. Code `STORAGE_FAILED`,
 * or `DISK_FULL` where the cause says so; `cause` is the error of the disk.
 */
export class StorageFailedError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#StorageFailedError';

  constructor(place: string, cause: unknown) {
    const full = isDiskFull(cause);
    super(
      full ? 'DISK_FULL' : 'STORAGE_FAILED',
      full
        ? `no space is left for ${place}: the storage has stopped; make room and open it again, nothing acknowledged is lost`
        : `${place} failed (${cause instanceof Error ? cause.message : String(cause)}): the storage has stopped; find ` +
            'the cause and open it again, nothing acknowledged is lost',
      { cause },
    );
  }
}

function isDiskFull(cause: unknown): boolean {
  const code = (cause as { code?: unknown } | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** A call before `load`, a second `load`, or a call after `close`. Code `STORAGE_NOT_LOADED` or `STORAGE_CLOSED`. */
export class StorageStateError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#StorageStateError';

  constructor(code: 'STORAGE_NOT_LOADED' | 'STORAGE_LOADED' | 'STORAGE_CLOSED') {
    super(
      code,
      {
        STORAGE_NOT_LOADED: 'call load() and wait for it before anything else',
        STORAGE_LOADED: 'load() is called once; open another storage on the same place to load again',
        STORAGE_CLOSED: 'the storage is closed; open another one on the same place',
      }[code],
    );
  }
}

/** Entries that were asked for were compacted. Read the snapshot instead. Code `COMPACTED`. */
export class CompactedError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#CompactedError';

  /** The first entry that is held. */
  readonly first: Index;

  constructor(from: Index, first: Index) {
    super(
      'COMPACTED',
      `entry ${String(from)} was compacted, the first one held is ${String(first)}: use the snapshot`,
    );
    this.first = first;
  }
}

/** A batch that does not fit the log it is for, and has had no effect. Code `INVALID_BATCH`. */
export class InvalidBatchError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#InvalidBatchError';

  constructor(what: string) {
    super('INVALID_BATCH', what);
  }
}

/** The snapshot in force covers as much or more; the one given up is removed. Code `SNAPSHOT_OUTDATED`. */
export class SnapshotOutdatedError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#SnapshotOutdatedError';

  /** What is in force. */
  readonly current: SnapshotMeta;

  constructor(given: SnapshotMeta, current: SnapshotMeta) {
    super(
      'SNAPSHOT_OUTDATED',
      `a snapshot up to ${String(given.index)} cannot replace the one up to ${String(current.index)}`,
    );
    this.current = current;
  }
}

/** A snapshot that was installed or discarded and cannot be used any more. Code `SNAPSHOT_GONE`. */
export class SnapshotGoneError extends LogStorageError {
  static override readonly brand: string = '@quorate/durable-log#SnapshotGoneError';

  constructor() {
    super('SNAPSHOT_GONE', 'the staged snapshot was installed or discarded before, or is no longer there');
  }
}
