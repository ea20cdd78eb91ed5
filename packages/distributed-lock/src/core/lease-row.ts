import { type HandOver, LockTable, type TableClaim } from '@quorate/replicated-log/lock';
import { QuorateError } from '@quorate/runtime';
import type { LockMode } from '../contract.js';

/** A row of the table of leases, as it was read; `undefined` where there is none yet. */
export interface LeaseRow {
  /** Above all fences of the key, and different after every write: what a write is conditional on. */
  readonly fence: number;
  readonly state: string;
}

/** What is read with a row. */
export interface LeaseRead {
  readonly row: LeaseRow | undefined;
  /** No fence of a row that was removed is above this. */
  readonly floor: number;
  /** By the clock of the server. */
  readonly nowMs: number;
}

/** What came of operations on a row. */
export interface LeaseRound<T> {
  readonly results: readonly T[];
  /** The row to write, if it changed. */
  readonly write: LeaseRow | undefined;
  /** Who was granted what it waited for, and where it listens. */
  readonly told: readonly (HandOver & { readonly channel: string })[];
  /** When something in the row runs out, if nothing happens before. */
  readonly nextExpiryMs: number | undefined;
}

/** One operation on the claims of a key, by the clock of the server. */
export type LeaseOperation<T> = (table: LockTable, nowMs: number) => T;

/** The first part of a stored state. Another one is from a later version of this package. */
const VERSION = 1;
const MODES: readonly LockMode[] = ['exclusive', 'shared', 'permits'];

/** A claim as it is stored: owner, mode, permits, total, lease, end, fence, upgrading, channel. */
type Stored = readonly [string, number, number, number, number, number, number, 0 | 1, string];

/**
 * Runs operations on a row as one. Pure: the row is written where it was read, on condition that its fence is still the
 * same, so that a row changes as if the operations had run alone, whoever is frozen or slow in between.
 *
 * `channel` tells where an owner listens.
 */
export function runOnLease<T>(
  key: string,
  { row, floor, nowMs }: LeaseRead,
  operations: readonly LeaseOperation<T>[],
  channel: (owner: string) => string | undefined,
): LeaseRound<T> {
  const table = new LockTable();
  const before = row?.fence ?? floor;
  const { holders, queue, channels } = decode(key, row?.state ?? '');
  table.load(key, { holders, queue }, before);
  const results = operations.map((operation) => operation(table, nowMs));
  const told = table.takeHandOvers().flatMap((handOver) => {
    const listens = channels.get(handOver.owner);
    return listens === undefined ? [] : [{ ...handOver, channel: listens }];
  });
  const after = table.dump(key);
  const known = new Map(queue.map(({ owner, expiresAtMs }) => [owner, expiresAtMs]));
  // A place is stored with half a lease to spare, so that those who ask how they stand seldom write.
  const places = after.queue.map((claim) =>
    known.get(claim.owner) === claim.expiresAtMs
      ? claim
      : { ...claim, expiresAtMs: claim.expiresAtMs + Math.floor(claim.leaseMs / 2) },
  );
  const where = ({ owner }: TableClaim): string => channel(owner) ?? channels.get(owner) ?? '';
  const state = encode(after.holders, places, where);
  const ends = [...after.holders, ...places].map(({ expiresAtMs }) => expiresAtMs);
  const nextExpiryMs = ends.length === 0 ? undefined : Math.min(...ends);
  const fence = Math.max(table.fence, before + 1);
  const same = state === (row?.state ?? '');
  return { results, write: same ? undefined : { fence, state }, told, nextExpiryMs };
}

function encode(
  holders: readonly TableClaim[],
  queue: readonly TableClaim[],
  channel: (claim: TableClaim) => string,
): string {
  if (holders.length + queue.length === 0) return '';
  const stored = (claim: TableClaim): Stored => [
    claim.owner,
    MODES.indexOf(claim.mode),
    claim.permits,
    claim.total,
    claim.leaseMs,
    claim.expiresAtMs,
    claim.fence,
    claim.upgrading ? 1 : 0,
    // Nobody who holds the lock and wants no more has to be told.
    claim.fence === 0 || claim.upgrading ? channel(claim) : '',
  ];
  // ASCII only, whatever the encoding of the database.
  return JSON.stringify([VERSION, holders.map(stored), queue.map(stored)]).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function decode(
  key: string,
  state: string,
): {
  readonly holders: readonly TableClaim[];
  readonly queue: readonly TableClaim[];
  readonly channels: ReadonlyMap<string, string>;
} {
  const channels = new Map<string, string>();
  if (state === '') return { holders: [], queue: [], channels };
  const claim = (value: unknown): TableClaim => {
    if (!isStored(value)) throw unreadable(key, state);
    const [owner, mode, permits, total, leaseMs, expiresAtMs, fence, upgrading, channel] = value;
    if (channel !== '') channels.set(owner, channel);
    return {
      owner,
      mode: MODES[mode] ?? 'exclusive',
      permits,
      total,
      leaseMs,
      expiresAtMs,
      fence,
      upgrading: upgrading === 1,
    };
  };
  const [version, holders, queue] = parse(key, state);
  if (version !== VERSION || !Array.isArray(holders) || !Array.isArray(queue)) throw unreadable(key, state);
  return { holders: holders.map(claim), queue: queue.map(claim), channels };
}

function parse(key: string, state: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(state);
    if (Array.isArray(value)) return value;
  } catch {
    // Told below.
  }
  throw unreadable(key, state);
}

function isStored(value: unknown): value is Stored {
  if (!Array.isArray(value) || value.length !== 9) return false;
  const [owner, mode, ...rest] = value as unknown[];
  return (
    typeof owner === 'string' &&
    typeof rest.at(-1) === 'string' &&
    MODES[mode as number] !== undefined &&
    rest.slice(0, -1).every((number) => Number.isFinite(number) && Number(number) >= 0)
  );
}

function unreadable(key: string, state: string): QuorateError {
  const shown = JSON.stringify(state.slice(0, 200));
  return new QuorateError(
    'LOCK_STATE_UNREADABLE',
    `the row of ${JSON.stringify(key)} in quorate_lock has the state ${shown}, which this version does not know`,
  );
}
