import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';

/** When a write takes effect: always, or only while the key has this version; 0 stands for a key that is not there. */
export interface KvCondition {
  readonly ifVersion?: number;
}

/** A write, as it stands in the log. */
export type KvCommand =
  | ({
      readonly type: 'put';
      readonly key: string;
      readonly value: Uint8Array;
      /** The key disappears so long after the write, by replicated time; absent: never. */
      readonly ttlMs?: number;
    } & KvCondition)
  | ({ readonly type: 'delete'; readonly key: string } & KvCondition);

/** What became of a write. */
export interface KvResult {
  /** Whether the condition held. A `delete` without one always applies. */
  readonly applied: boolean;
  /** The version of the key afterwards: the index of the entry that wrote it; 0 where it is not there. */
  readonly version: number;
}

/** One key in the store. */
export interface KvItem {
  readonly value: Uint8Array;
  /** The index of the entry that wrote it: grows with every write. */
  readonly version: number;
  /** When it disappears, by replicated time in milliseconds since the Unix epoch. */
  readonly expiresAtMs?: number;
}

/** The most bytes of UTF-8 in a key. */
export const MAX_KEY_BYTES = 4_096;

const VERSION = 1;
const PUT = 1;
const DELETE = 2;
const HAS_CONDITION = 4;
const HAS_TTL = 8;

export function encodeKvCommand(command: KvCommand): Uint8Array {
  const ttlMs = command.type === 'put' ? command.ttlMs : undefined;
  const flags =
    (command.type === 'put' ? PUT : DELETE) |
    (command.ifVersion === undefined ? 0 : HAS_CONDITION) |
    (ttlMs === undefined ? 0 : HAS_TTL);
  const size = command.type === 'put' ? command.value.length : 0;
  const writer = new ByteWriter(24 + command.key.length + size).u8(VERSION).u8(flags).string(command.key);
  if (command.ifVersion !== undefined) writer.varint(command.ifVersion);
  if (ttlMs !== undefined) writer.varint(ttlMs);
  if (command.type === 'put') writer.raw(command.value);
  return writer.finish();
}

/** Throws `MalformedBytesError` for anything that {@link encodeKvCommand} does not write. */
export function decodeKvCommand(bytes: Uint8Array): KvCommand {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('a command of an unknown version', 0);
  const flags = reader.u8();
  const type = flags & 3;
  if (flags > 15 || (type !== PUT && type !== DELETE)) reader.fail('a command of an unknown type', 1);
  const key = reader.string(MAX_KEY_BYTES);
  const ifVersion = flags & HAS_CONDITION ? reader.varint() : undefined;
  if (type === DELETE) {
    if (flags & HAS_TTL) reader.fail('a delete with a time to live', 1);
    reader.end();
    return ifVersion === undefined ? { type: 'delete', key } : { type: 'delete', key, ifVersion };
  }
  const ttlMs = flags & HAS_TTL ? reader.varint() : undefined;
  const put = { type: 'put' as const, key, value: new Uint8Array(reader.raw(reader.remaining)) };
  // The usual put has neither, and is made for every command on every node.
  if (ifVersion === undefined && ttlMs === undefined) return put;
  return { ...put, ...(ifVersion !== undefined && { ifVersion }), ...(ttlMs !== undefined && { ttlMs }) };
}

export function encodeKvResult({ applied, version }: KvResult): Uint8Array {
  return new ByteWriter(9)
    .u8(applied ? 1 : 0)
    .varint(version)
    .finish();
}

export function decodeKvResult(bytes: Uint8Array): KvResult {
  const reader = new ByteReader(bytes);
  const applied = reader.u8();
  if (applied > 1) reader.fail('a result that is neither applied nor not', 0);
  const version = reader.varint();
  reader.end();
  return { applied: applied === 1, version };
}

/** Items of a snapshot, as one block. */
export function encodeKvItems(items: Iterable<readonly [string, KvItem]>): Uint8Array {
  const writer = new ByteWriter();
  for (const [key, { value, version, expiresAtMs }] of items) {
    writer
      .string(key)
      .varint(version)
      .varint(expiresAtMs ?? 0)
      .bytes(value);
  }
  return writer.finish();
}

export function* decodeKvItems(bytes: Uint8Array): Generator<[string, KvItem], void, undefined> {
  const reader = new ByteReader(bytes);
  while (reader.remaining > 0) {
    const key = reader.string(MAX_KEY_BYTES);
    const version = reader.varint();
    const expiresAtMs = reader.varint();
    const value = Uint8Array.from(reader.bytes());
    yield [key, expiresAtMs === 0 ? { value, version } : { value, version, expiresAtMs }];
  }
}
