export { BoundedKeys, type BoundedKeysOptions, createBoundedKeys, type KeyMove } from './bounded-keys.js';
export { createPartitioned, decodePartitioned, Partitioned, type PartitionedOptions } from './partitioned.js';
