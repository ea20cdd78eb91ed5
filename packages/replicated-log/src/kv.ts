export type { KvCondition, KvItem, KvResult } from './core/kv-format.js';
export {
  createKvClient,
  type KvClient,
  type KvListOptions,
  type KvPutOptions,
  type KvReadOptions,
} from './kv-client.js';
export type { KvEvent } from './kv-feed.js';
export { type KvAnswer, KvMachine, type KvQuery } from './kv-machine.js';
