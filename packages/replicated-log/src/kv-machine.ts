import type { AppliedCommand, ResultCodec, StateMachine } from '@quorate/replicated-log';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { ChunkReader } from './chunks.js';
import {
  decodeKvCommand,
  decodeKvItems,
  decodeKvResult,
  encodeKvItems,
  encodeKvResult,
  type KvItem,
  type KvResult,
} from './core/kv-format.js';
import { type KvEvent, KvFeed } from './kv-feed.js';

/** What a {@link KvMachine} is asked. */
export type KvQuery =
  | { readonly type: 'get'; readonly key: string }
  | {
      readonly type: 'list';
      readonly prefix: string;
      /** Only keys behind this one. */
      readonly after?: string;
      readonly limit: number;
    };

/** What it answers: the keys that were asked for, in the order of their UTF-16 code units. */
export type KvAnswer = readonly (readonly [key: string, item: KvItem])[];

const VERSION = 1;
const BLOCK_ITEMS = 256;
const MAX_BLOCK_BYTES = 1_073_741_824;

/**
 * A replicated map of strings to bytes, with versions, conditional writes and keys that expire by replicated time.
 * Give each node one of its own.
 */
export class KvMachine implements StateMachine<KvResult, KvQuery, KvAnswer> {
  readonly results: ResultCodec<KvResult> = { encode: encodeKvResult, decode: decodeKvResult };
  #items = new Map<string, KvItem>();
  /** Times at which keys expire, the next one first; those of items that were written again are skipped. */
  #expiring: { readonly atMs: number; readonly key: string }[] = [];
  readonly #feed = new KvFeed();

  apply(commands: readonly AppliedCommand[]): readonly KvResult[] {
    return commands.map((command) => {
      this.advance(command.timeMs);
      return this.#write(command);
    });
  }

  advance(timeMs: number): void {
    let due = 0;
    for (; (this.#expiring[due]?.atMs ?? Number.POSITIVE_INFINITY) <= timeMs; due++) {
      const { atMs, key } = this.#expiring[due] as { atMs: number; key: string };
      if (this.#items.get(key)?.expiresAtMs !== atMs) continue;
      this.#items.delete(key);
      this.#feed.publish({ type: 'delete', key });
    }
    if (due > 0) this.#expiring.splice(0, due);
  }

  nextTimeMs(): number | undefined {
    return this.#expiring[0]?.atMs;
  }

  query(query: KvQuery): KvAnswer {
    if (query.type === 'get') {
      const item = this.#items.get(query.key);
      return item === undefined ? [] : [[query.key, item]];
    }
    const { prefix, after, limit } = query;
    return [...this.#items]
      .filter(([key]) => key.startsWith(prefix) && (after === undefined || key > after))
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .slice(0, limit);
  }

  /**
   * The changes that this node applies from now on, below a prefix. A slow reader gets the latest change of each
   * key. `reset`: a snapshot replaced the state, and changes may have been missed; read again.
   */
  watch(prefix = ''): AsyncIterable<KvEvent> {
    return this.#feed.watch(prefix);
  }

  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    const items = [...this.#items];
    yield new ByteWriter(1).u8(VERSION).finish();
    for (let at = 0; at < items.length; at += BLOCK_ITEMS) {
      const block = encodeKvItems(items.slice(at, at + BLOCK_ITEMS));
      yield new ByteWriter(4).u32(block.length).finish();
      yield await Promise.resolve(block);
    }
    yield new ByteWriter(4).u32(0).finish();
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const reader = new ChunkReader(chunks);
    const version = new ByteReader(await reader.take(1));
    if (version.u8() !== VERSION) version.fail('a key-value store of an unknown version', 0);
    const items = new Map<string, KvItem>();
    for (;;) {
      const size = new ByteReader(await reader.take(4));
      const bytes = size.u32();
      if (bytes === 0) break;
      if (bytes > MAX_BLOCK_BYTES) size.fail(`a block of ${String(bytes)} bytes`, 0);
      for (const [key, item] of decodeKvItems(await reader.take(bytes))) items.set(key, item);
    }
    this.#items = items;
    this.#expiring = [];
    for (const [key, { expiresAtMs }] of items) {
      if (expiresAtMs !== undefined) this.#expiring.push({ atMs: expiresAtMs, key });
    }
    this.#expiring.sort((one, other) => one.atMs - other.atMs);
    this.#feed.publish({ type: 'reset' });
  }

  #write({ data, index, timeMs }: AppliedCommand): KvResult {
    const command = decodeKvCommand(data);
    const { key } = command;
    const version = this.#items.get(key)?.version ?? 0;
    if (command.ifVersion !== undefined && command.ifVersion !== version) return { applied: false, version };
    if (command.type === 'delete') {
      if (this.#items.delete(key)) this.#feed.publish({ type: 'delete', key });
      return { applied: true, version: 0 };
    }
    const { value, ttlMs } = command;
    const item: KvItem =
      ttlMs === undefined
        ? { value, version: index }
        : { value, version: index, expiresAtMs: timeMs + ttlMs };
    this.#items.set(key, item);
    if (item.expiresAtMs !== undefined) this.#expire(item.expiresAtMs, key);
    this.#feed.publish({ type: 'put', key, item });
    return { applied: true, version: index };
  }

  /** Equal times to live, the usual case, append at the end; the search is for the others. */
  #expire(atMs: number, key: string): void {
    let [low, high] = [0, this.#expiring.length];
    if ((this.#expiring[high - 1]?.atMs ?? 0) <= atMs) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#expiring[middle]?.atMs ?? 0) <= atMs) low = middle + 1;
      else high = middle;
    }
    this.#expiring.splice(low, 0, { atMs, key });
  }
}
