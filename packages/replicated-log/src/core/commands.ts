import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';

/**
 * What the node puts around a user's command in the log.
 *
 * - `plain`: a command outside of any session
 * - `tick`: replicated time only
 * - `open`, `keep-alive`, `close`: the life of a session
 * - `session`: a command that takes effect once however often it is in the log
 */
export type Command =
  | { readonly kind: 'plain'; readonly timeMs: number; readonly data: Uint8Array }
  | { readonly kind: 'tick'; readonly timeMs: number }
  | { readonly kind: 'open'; readonly timeMs: number; readonly ttlMs: number }
  | { readonly kind: 'keep-alive' | 'close'; readonly timeMs: number; readonly session: number }
  | {
      readonly kind: 'session';
      readonly timeMs: number;
      readonly session: number;
      /** Numbers the commands of a session from 1 on. */
      readonly sequence: number;
      /** The client needs no result up to this sequence any more. */
      readonly acknowledged: number;
      readonly data: Uint8Array;
    };

const KINDS = ['plain', 'tick', 'open', 'keep-alive', 'close', 'session'] as const;
/** The high half of the first byte. */
const VERSION = 0x10;
/** The most bytes that {@link encodeCommand} adds to a command. */
export const MAX_HEADER_BYTES = 33;

/** Version and kind in one byte, time, what the kind needs, and the user's bytes to the end. */
export function encodeCommand(command: Command): Uint8Array {
  const data = 'data' in command ? command.data : EMPTY;
  const writer = new ByteWriter(MAX_HEADER_BYTES + data.length)
    .u8(VERSION | KINDS.indexOf(command.kind))
    .varint(command.timeMs);
  if ('ttlMs' in command) writer.varint(command.ttlMs);
  if ('session' in command) writer.varint(command.session);
  if ('sequence' in command) writer.varint(command.sequence).varint(command.acknowledged);
  return writer.raw(data).finish();
}

/** Throws `MalformedBytesError` for anything that {@link encodeCommand} does not write. */
export function decodeCommand(bytes: Uint8Array): Command {
  const reader = new ByteReader(bytes);
  const kind = KINDS[reader.u8() ^ VERSION] ?? reader.fail('a command of an unknown version or kind', 0);
  const timeMs = reader.varint();
  switch (kind) {
    case 'plain':
      return { kind, timeMs, data: reader.raw(reader.remaining) };
    case 'tick':
      reader.end();
      return { kind, timeMs };
    case 'open': {
      const ttlMs = reader.varint();
      reader.end();
      return { kind, timeMs, ttlMs };
    }
    case 'keep-alive':
    case 'close': {
      const session = reader.varint();
      reader.end();
      return { kind, timeMs, session };
    }
    case 'session': {
      const session = reader.varint();
      const sequence = reader.varint();
      const acknowledged = reader.varint();
      return { kind, timeMs, session, sequence, acknowledged, data: reader.raw(reader.remaining) };
    }
  }
}

const EMPTY = new Uint8Array();
