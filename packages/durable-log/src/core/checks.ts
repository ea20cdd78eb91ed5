import { integerOption, InvalidOptionError } from '@quorate/runtime';
import type { Index, PersistBatch, SnapshotMeta } from '../contract.js';
import { InvalidBatchError } from '../errors.js';
import { MAX_INDEX } from './log-shape.js';
import { MAX_MEMBERSHIP_BYTES } from './snapshot-format.js';

/** Checks what of a batch can be checked without the log that it is for. */
export function checkBatch({ state, entries }: PersistBatch): void {
  if (!Array.isArray(entries)) throw new InvalidBatchError('entries must be an array');
  if (state !== undefined && !(state instanceof Uint8Array)) {
    throw new InvalidBatchError('state must be a Uint8Array');
  }
}

/** Checks the arguments of a read. */
export function checkRead(from: Index, to: Index, maxBytes: number): void {
  integerOption('from', from, { min: 1, max: MAX_INDEX });
  integerOption('to', to, { min: 1, max: MAX_INDEX + 1 });
  integerOption('maxBytes', maxBytes);
}

/** Checks what a snapshot is said to stand for. */
export function checkMeta({ index, term, membership }: SnapshotMeta): void {
  integerOption('meta.index', index, { min: 1, max: MAX_INDEX });
  integerOption('meta.term', term, { max: MAX_INDEX });
  if (!(membership instanceof Uint8Array) || membership.length > MAX_MEMBERSHIP_BYTES) {
    throw new InvalidOptionError(
      'meta.membership',
      membership,
      `a Uint8Array of at most ${String(MAX_MEMBERSHIP_BYTES)} bytes`,
    );
  }
}

/** Checks that what `compact` is to remove is in a snapshot. */
export function checkCompact(to: Index, covered: Index): void {
  integerOption('to', to);
  if (to > covered) {
    throw new InvalidOptionError('to', to, `at most ${String(covered)}, which is what the snapshot covers`);
  }
}
