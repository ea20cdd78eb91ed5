import type { CallOptions, ReadLevel, ReplicatedLog, Session } from '@quorate/replicated-log';
import { integerOption, InvalidOptionError } from '@quorate/runtime';
import {
  encodeKvCommand,
  type KvCommand,
  type KvCondition,
  type KvItem,
  type KvResult,
  MAX_KEY_BYTES,
} from './core/kv-format.js';
import type { KvAnswer, KvQuery } from './kv-machine.js';

/** How a key is written. */
export interface KvPutOptions extends CallOptions, KvCondition {
  /** The key disappears so long after the write, in milliseconds of replicated time. */
  readonly ttlMs?: number;
}

/** How keys are read. */
export interface KvReadOptions extends CallOptions {
  /** @defaultValue 'linearizable' */
  readonly level?: ReadLevel;
}

/** How keys are listed. */
export interface KvListOptions extends KvReadOptions {
  /** Only keys behind this one: the last of the page before. */
  readonly after?: string;
  /**
   * The most keys to give.
   * @defaultValue 1_000
   */
  readonly limit?: number;
}

/**
 * Reads and writes a key-value store over a node of its log. Every call settles like those of `ReplicatedLog`; writes
 * go through the session where one is given, and take effect exactly once then.
 */
export interface KvClient {
  /** Writes a key; text is written as UTF-8. `applied` is false where `ifVersion` did not hold. */
  put(key: string, value: Uint8Array | string, options?: KvPutOptions): Promise<KvResult>;
  /** Deletes a key, if it is there. */
  delete(key: string, options?: CallOptions & KvCondition): Promise<KvResult>;
  /** The value of a key and its version; undefined where it is not there. */
  get(key: string, options?: KvReadOptions): Promise<KvItem | undefined>;
  /** Keys with a prefix, in order. Costs as much as there are keys in the store. */
  list(prefix: string, options?: KvListOptions): Promise<KvAnswer>;
}

/** A client of the key-value store behind `log`, whose state machine is a `KvMachine`. */
export function createKvClient(
  log: ReplicatedLog<KvResult, KvQuery, KvAnswer>,
  session?: Session<KvResult>,
): KvClient {
  const write = (command: KvCommand, options: CallOptions): Promise<KvResult> =>
    (session ?? log).propose(encodeKvCommand(command), options);
  return {
    async put(key, value, options = {}) {
      const bytes = typeof value === 'string' ? Buffer.from(value) : value;
      const ttl =
        options.ttlMs === undefined ? {} : { ttlMs: integerOption('ttlMs', options.ttlMs, { min: 1 }) };
      return write(
        { type: 'put', key: checkKey(key), value: bytes, ...ttl, ...conditionOf(options) },
        options,
      );
    },
    async delete(key, options = {}) {
      return write({ type: 'delete', key: checkKey(key), ...conditionOf(options) }, options);
    },
    async get(key, options = {}) {
      const { level = 'linearizable' } = options;
      const [found] = await log.read({ type: 'get', key: checkKey(key) }, level, options);
      return found?.[1];
    },
    async list(prefix, options = {}) {
      const { level = 'linearizable', after } = options;
      const limit = integerOption('limit', options.limit ?? 1_000, { min: 1 });
      return log.read({ type: 'list', prefix, limit, ...(after !== undefined && { after }) }, level, options);
    },
  };
}

function conditionOf({ ifVersion }: KvCondition): KvCondition {
  return ifVersion === undefined ? {} : { ifVersion: integerOption('ifVersion', ifVersion) };
}

function checkKey(key: string): string {
  const wanted = `a string of at most ${String(MAX_KEY_BYTES)} bytes of UTF-8 without lone surrogates`;
  if (typeof key !== 'string' || /\p{Cs}/u.test(key) || Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new InvalidOptionError('key', key, wanted);
  }
  return key;
}
