import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';

/**
 * What is asked of a lock.
 *
 * - `acquire`: takes the lock, or a place in its queue; by the owner that has either it renews
 * - `try`: takes the lock if it is free; by the owner that has it, renews
 * - `release`: gives up the lock, or the place in the queue
 */
export type LockCommand =
  | {
      readonly type: 'acquire' | 'try';
      readonly name: string;
      /** Names one claim: unique among all that ever ask for this lock. */
      readonly owner: string;
      /** The lock, or the place in the queue, is lost unless it is renewed within so long, by replicated time. */
      readonly ttlMs: number;
    }
  | { readonly type: 'release'; readonly name: string; readonly owner: string };

/** How an owner stands with a lock. */
export type LockResult =
  | {
      readonly state: 'held';
      /** Grows with every owner of any lock: what the lock protects refuses a lower one than it has seen. */
      readonly fence: number;
      readonly expiresAtMs: number;
    }
  /** `ahead` owners get it before. */
  | { readonly state: 'waiting'; readonly ahead: number; readonly expiresAtMs: number }
  /** The owner neither has it nor waits. */
  | { readonly state: 'none' };

const VERSION = 1;
const TYPES = ['acquire', 'try', 'release'] as const;
const STATES = ['held', 'waiting', 'none'] as const;
/** The most bytes of UTF-8 in the name of a lock or an owner. */
export const MAX_LOCK_NAME_BYTES = 255;

/** The bytes to propose. */
export function encodeLockCommand(command: LockCommand): Uint8Array {
  const writer = new ByteWriter()
    .u8(VERSION)
    .u8(TYPES.indexOf(command.type))
    .string(command.name)
    .string(command.owner);
  if (command.type !== 'release') writer.varint(command.ttlMs);
  return writer.finish();
}

/** Throws `MalformedBytesError` for anything that {@link encodeLockCommand} does not write. */
export function decodeLockCommand(bytes: Uint8Array): LockCommand {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('a command of an unknown version', 0);
  const type = TYPES[reader.u8()] ?? reader.fail('a command of an unknown type', 1);
  const name = reader.string(MAX_LOCK_NAME_BYTES);
  const owner = reader.string(MAX_LOCK_NAME_BYTES);
  const command: LockCommand =
    type === 'release' ? { type, name, owner } : { type, name, owner, ttlMs: reader.varint() };
  reader.end();
  return command;
}

export function encodeLockResult(result: LockResult): Uint8Array {
  const writer = new ByteWriter().u8(STATES.indexOf(result.state));
  if (result.state !== 'none') {
    writer.varint(result.state === 'held' ? result.fence : result.ahead).varint(result.expiresAtMs);
  }
  return writer.finish();
}

export function decodeLockResult(bytes: Uint8Array): LockResult {
  const reader = new ByteReader(bytes);
  const state = STATES[reader.u8()] ?? reader.fail('a result of an unknown state', 0);
  const [number, expiresAtMs] = state === 'none' ? [0, 0] : [reader.varint(), reader.varint()];
  reader.end();
  if (state === 'none') return { state };
  return state === 'held' ? { state, fence: number, expiresAtMs } : { state, ahead: number, expiresAtMs };
}
