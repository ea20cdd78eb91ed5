import type { Entry, EntryKind } from '@quorate/durable-log';
import type { MessageCodec } from '@quorate/replicated-log';
import { identifierOption, integerOption } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { RaftMessage } from './messages.js';

/** Bounds of what is read. */
export interface CodecOptions {
  /** The replicated log that the messages belong to; those of another are refused. */
  readonly group: string;
  /**
   * The most entries, commands or ids in one message.
   * @defaultValue 65_536
   */
  readonly maxItems?: number;
}

const VERSION = 1;
const KINDS: readonly EntryKind[] = ['command', 'config', 'noop'];
const TYPES = [
  'append',
  'append-accepted',
  'append-rejected',
  'heartbeat',
  'heartbeat-reply',
  'vote',
  'vote-reply',
  'snapshot',
  'timeout-now',
  'forward',
  'forward-refused',
  'read-request',
  'read-reply',
] as const satisfies readonly RaftMessage['type'][];
const REASONS = ['queue-full', 'transferring', 'too-large'] as const;
const MAX_ID_BYTES = 255;

/**
 * Raft messages as bytes: version, type, group, term, and a fixed layout for each type (docs/formats.md). Decoding
 * throws `MalformedBytesError` for anything that `encode` would not have written.
 */
export function raftCodec(options: CodecOptions): MessageCodec<RaftMessage> {
  const group = identifierOption('group', options.group);
  const maxItems = integerOption('maxItems', options.maxItems ?? 65_536, { min: 1 });
  return {
    encode(message) {
      const writer = new ByteWriter(64 + sizeOf(message));
      writer.u8(VERSION).u8(TYPES.indexOf(message.type)).string(group).varint(message.term);
      encodeBody(writer, message);
      return writer.finish();
    },
    decode(bytes) {
      const reader = new ByteReader(bytes);
      if (reader.u8() !== VERSION) reader.fail('a raft message of an unknown version', 0);
      const type = TYPES[reader.u8()] ?? reader.fail('a raft message of an unknown type', 1);
      if (reader.string(MAX_ID_BYTES) !== group) reader.fail('a raft message of another group', 2);
      const message = decodeBody(reader, type, reader.varint(), maxItems);
      reader.end();
      return message;
    },
  };
}

function sizeOf(message: RaftMessage): number {
  if (message.type !== 'append') return 0;
  let bytes = 0;
  for (const { data } of message.entries) bytes += data.length + 64;
  return bytes;
}

function encodeBody(writer: ByteWriter, message: RaftMessage): void {
  switch (message.type) {
    case 'append':
      writer.varint(message.prevIndex).varint(message.prevTerm).varint(message.commit);
      writer.varint(message.entries.length);
      for (const { term, kind, id, data } of message.entries) {
        writer.varint(term).u8(KINDS.indexOf(kind) + (id === undefined ? 0 : 128));
        if (id !== undefined) writer.string(id);
        writer.bytes(data);
      }
      break;
    case 'append-accepted':
      writer.varint(message.match);
      break;
    case 'append-rejected':
      writer.varint(message.prevIndex).varint(message.hintIndex).varint(message.hintTerm);
      break;
    case 'heartbeat':
      writer.varint(message.commit).varint(message.round);
      break;
    case 'heartbeat-reply':
      writer.varint(message.round);
      break;
    case 'vote':
      writer
        .varint(message.lastIndex)
        .varint(message.lastTerm)
        .varint(message.commit)
        .varint(message.commitTerm);
      writer.u8((message.pre ? 1 : 0) + (message.transfer ? 2 : 0));
      break;
    case 'vote-reply':
      writer
        .varint(message.commit)
        .varint(message.commitTerm)
        .u8((message.pre ? 1 : 0) + (message.granted ? 2 : 0));
      break;
    case 'snapshot':
      writer.varint(message.meta.index).varint(message.meta.term).bytes(message.meta.membership);
      break;
    case 'timeout-now':
      break;
    case 'forward':
      writer.f64(message.incarnation).varint(message.sequence).varint(message.ids.length);
      for (const [at, id] of message.ids.entries()) {
        writer.string(id).bytes(message.commands[at] ?? new Uint8Array());
      }
      break;
    case 'forward-refused':
      writer.u8(REASONS.indexOf(message.reason)).varint(message.ids.length);
      for (const id of message.ids) writer.string(id);
      break;
    case 'read-request':
      writer.string(message.id);
      break;
    case 'read-reply':
      writer.string(message.id).varint(message.index);
  }
}

function decodeBody(
  reader: ByteReader,
  type: RaftMessage['type'],
  term: number,
  maxItems: number,
): RaftMessage {
  const flags = (): number => {
    const value = reader.u8();
    return value > 3 ? reader.fail('unknown flags') : value;
  };
  const count = (): number => {
    const items = reader.varint();
    return items > maxItems ? reader.fail(`${String(items)} items in one message`) : items;
  };
  const id = (): string => reader.string(MAX_ID_BYTES);
  switch (type) {
    case 'append': {
      const prevIndex = reader.varint();
      const prevTerm = reader.varint();
      const commit = reader.varint();
      const entries: Entry[] = [];
      for (let left = count(), index = prevIndex + 1; left > 0; left--, index++)
        entries.push(entry(reader, index));
      return { type, term, prevIndex, prevTerm, commit, entries };
    }
    case 'append-accepted':
      return { type, term, match: reader.varint() };
    case 'append-rejected':
      return {
        type,
        term,
        prevIndex: reader.varint(),
        hintIndex: reader.varint(),
        hintTerm: reader.varint(),
      };
    case 'heartbeat':
      return { type, term, commit: reader.varint(), round: reader.varint() };
    case 'heartbeat-reply':
      return { type, term, round: reader.varint() };
    case 'vote': {
      const lastIndex = reader.varint();
      const lastTerm = reader.varint();
      const commit = reader.varint();
      const commitTerm = reader.varint();
      const bits = flags();
      return {
        type,
        term,
        lastIndex,
        lastTerm,
        commit,
        commitTerm,
        pre: (bits & 1) === 1,
        transfer: bits >= 2,
      };
    }
    case 'vote-reply': {
      const commit = reader.varint();
      const commitTerm = reader.varint();
      const bits = flags();
      return { type, term, commit, commitTerm, pre: (bits & 1) === 1, granted: bits >= 2 };
    }
    case 'snapshot':
      return {
        type,
        term,
        meta: { index: reader.varint(), term: reader.varint(), membership: reader.bytes() },
      };
    case 'timeout-now':
      return { type, term };
    case 'forward': {
      const incarnation = reader.f64();
      if (!Number.isSafeInteger(incarnation)) reader.fail('an incarnation that is no integer');
      const sequence = reader.varint();
      const ids: string[] = [];
      const commands: Uint8Array[] = [];
      for (let left = count(); left > 0; left--) {
        ids.push(id());
        commands.push(reader.bytes());
      }
      return { type, term, incarnation, sequence, commands, ids };
    }
    case 'forward-refused': {
      const reason = REASONS[reader.u8()] ?? reader.fail('an unknown reason');
      return { type, term, reason, ids: Array.from({ length: count() }, id) };
    }
    case 'read-request':
      return { type, term, id: id() };
    case 'read-reply':
      return { type, term, id: id(), index: reader.varint() };
  }
}

function entry(reader: ByteReader, index: number): Entry {
  const term = reader.varint();
  const bits = reader.u8();
  const kind = KINDS[bits & 127] ?? reader.fail('an entry of an unknown kind');
  if (bits < 128) return { index, term, kind, data: reader.bytes() };
  const id = reader.string(MAX_ID_BYTES);
  return { index, term, kind, data: reader.bytes(), id };
}
