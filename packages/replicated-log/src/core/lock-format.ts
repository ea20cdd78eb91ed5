import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { ClaimId, ClaimRequest, LockMode } from './lock-claims.js';
import type { KeyState, TableClaim } from './lock-table.js';

/** A claim whose lease was seen to pass, and the command that had prolonged it last. */
export interface Lapsed extends ClaimId {
  readonly stamp: number;
}

/**
 * What is appended to the log.
 *
 * - `claim`, `convert`, `renew`, `release`: the calls of the contract
 * - `lapse`: whoever proposes it has seen these leases pass since those commands; who was prolonged meanwhile stays
 */
export type LockCommand =
  | { readonly type: 'claim'; readonly request: ClaimRequest }
  | {
      readonly type: 'convert';
      readonly request: ClaimRequest;
      /** Rises with each conversion of an owner: one that arrives behind a later one converts nothing. */
      readonly order: number;
    }
  | { readonly type: 'renew'; readonly claim: ClaimId; readonly leaseMs: number }
  | { readonly type: 'release'; readonly claim: ClaimId }
  | { readonly type: 'lapse'; readonly claims: readonly Lapsed[] };

/** What is remembered of a claim beside what the table knows. */
export interface ClaimMark {
  /** The index of the command that prolonged it last. */
  readonly stamp: number;
  /** The highest order of its conversions. */
  readonly order: number;
}

/** The state of a table, key by key. */
export interface StoredTable {
  /** The highest that was given out. */
  readonly fence: number;
  readonly locks: readonly (KeyState & { readonly key: string })[];
}

/** The state of a replicated lock table, as a snapshot has it. */
export interface StoredLocks {
  readonly table: StoredTable;
  readonly mark: (key: string, owner: string) => ClaimMark;
}

const VERSION = 1;
const TYPES = ['claim', 'convert', 'renew', 'release', 'lapse'] as const;
const MODES: readonly LockMode[] = ['exclusive', 'shared', 'permits'];
/** Beside the mode, in the same byte. */
const WAITS = 4;
const UPGRADES = 4;
const MAX_ID_BYTES = 255;
/** The longest lease, in milliseconds. */
export const MAX_LEASE_MS = 2 ** 40;
/** The most claims in one `lapse`. */
export const MAX_LAPSED = 64;

/** Version, type, and what the type needs. */
export function encodeLockCommand(command: LockCommand): Uint8Array {
  const writer = new ByteWriter(128).u8(VERSION).u8(TYPES.indexOf(command.type));
  switch (command.type) {
    case 'claim':
    case 'convert': {
      const { key, owner, mode, permits, total, leaseMs, wait } = command.request;
      writer.string(key).string(owner);
      writer.u8(MODES.indexOf(mode) + (wait ? WAITS : 0));
      writer.varint(permits).varint(total).varint(leaseMs);
      if (command.type === 'convert') writer.varint(command.order);
      break;
    }
    case 'renew':
      writer.string(command.claim.key).string(command.claim.owner).varint(command.leaseMs);
      break;
    case 'release':
      writer.string(command.claim.key).string(command.claim.owner);
      break;
    case 'lapse':
      writer.varint(command.claims.length);
      for (const { key, owner, stamp } of command.claims) writer.string(key).string(owner).varint(stamp);
  }
  return writer.finish();
}

/** Throws `MalformedBytesError` for anything that {@link encodeLockCommand} does not write. */
export function decodeLockCommand(bytes: Uint8Array): LockCommand {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('a lock command of an unknown version', 0);
  const type = TYPES[reader.u8()] ?? reader.fail('a lock command of an unknown type', 1);
  const command = decodeBody(reader, type);
  reader.end();
  return command;
}

function decodeBody(reader: ByteReader, type: (typeof TYPES)[number]): LockCommand {
  switch (type) {
    case 'claim':
      return { type, request: decodeRequest(reader) };
    case 'convert':
      return { type, request: decodeRequest(reader), order: reader.varint() };
    case 'renew':
      return { type, claim: decodeClaim(reader), leaseMs: decodeLease(reader) };
    case 'release':
      return { type, claim: decodeClaim(reader) };
    case 'lapse': {
      const count = reader.varint();
      if (count > MAX_LAPSED) reader.fail(`${String(count)} leases that passed`);
      const claims: Lapsed[] = [];
      for (let left = count; left > 0; left--)
        claims.push({ ...decodeClaim(reader), stamp: reader.varint() });
      return { type, claims };
    }
  }
}

function decodeClaim(reader: ByteReader): ClaimId {
  return { key: decodeName(reader, 'key'), owner: decodeName(reader, 'owner') };
}

function decodeRequest(reader: ByteReader): ClaimRequest {
  const { key, owner } = decodeClaim(reader);
  const flags = reader.u8();
  const mode = MODES[flags & ~WAITS] ?? reader.fail('a lock mode that does not exist');
  const permits = reader.varint();
  const total = reader.varint();
  checkPermits(reader, mode, permits, total);
  return { key, owner, mode, permits, total, leaseMs: decodeLease(reader), wait: (flags & WAITS) !== 0 };
}

function checkPermits(reader: ByteReader, mode: LockMode, permits: number, total: number): void {
  if (permits < 1 || permits > total || (mode !== 'permits' && total !== 1))
    reader.fail(`${String(permits)} of ${String(total)} permits for a lock that is ${mode}`);
}

function decodeName(reader: ByteReader, what: string): string {
  const name = reader.string(MAX_ID_BYTES);
  return name === '' ? reader.fail(`an empty ${what}`) : name;
}

function decodeLease(reader: ByteReader): number {
  const leaseMs = reader.varint();
  return leaseMs < 1 || leaseMs > MAX_LEASE_MS ? reader.fail(`a lease of ${String(leaseMs)} ms`) : leaseMs;
}

/** The whole state in one piece. */
export function encodeLocks({ table, mark }: StoredLocks): Uint8Array {
  const writer = new ByteWriter(4_096).u8(VERSION).varint(table.fence).varint(table.locks.length);
  for (const { key, holders, queue } of table.locks) {
    writer.string(key);
    for (const claims of [holders, queue]) {
      writer.varint(claims.length);
      for (const claim of claims) encodeClaim(writer, claim, mark(key, claim.owner));
    }
  }
  return writer.finish();
}

function encodeClaim(writer: ByteWriter, claim: TableClaim, { stamp, order }: ClaimMark): void {
  const { owner, mode, permits, total, leaseMs, expiresAtMs, fence, upgrading } = claim;
  writer.string(owner).u8(MODES.indexOf(mode) + (upgrading ? UPGRADES : 0));
  writer.varint(permits).varint(total).varint(leaseMs).varint(expiresAtMs).varint(fence);
  writer.varint(stamp).varint(order);
}

/** Throws `MalformedBytesError` for anything that {@link encodeLocks} does not write. */
export function decodeLocks(bytes: Uint8Array): {
  readonly table: StoredTable;
  readonly marks: readonly (ClaimId & ClaimMark)[];
} {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('locks of an unknown version', 0);
  const fence = reader.varint();
  const locks: StoredTable['locks'][number][] = [];
  const marks: (ClaimId & ClaimMark)[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const key = decodeName(reader, 'key');
    const claims = (): TableClaim[] => {
      const found: TableClaim[] = [];
      for (let more = reader.varint(); more > 0; more--) {
        const claim = decodeStored(reader, fence);
        marks.push({ key, owner: claim.owner, stamp: reader.varint(), order: reader.varint() });
        found.push(claim);
      }
      return found;
    };
    locks.push({ key, holders: claims(), queue: claims() });
  }
  reader.end();
  return { table: { fence, locks }, marks };
}

function decodeStored(reader: ByteReader, highest: number): TableClaim {
  const owner = decodeName(reader, 'owner');
  const flags = reader.u8();
  const mode = MODES[flags & ~UPGRADES] ?? reader.fail('a lock mode that does not exist');
  const permits = reader.varint();
  const total = reader.varint();
  checkPermits(reader, mode, permits, total);
  const leaseMs = decodeLease(reader);
  const expiresAtMs = decodeLease(reader);
  const fence = reader.varint();
  if (fence > highest) reader.fail(`a fence of ${String(fence)} above the highest, ${String(highest)}`);
  return {
    owner,
    mode,
    permits,
    total,
    leaseMs,
    expiresAtMs,
    fence,
    upgrading: (flags & UPGRADES) !== 0,
  };
}
