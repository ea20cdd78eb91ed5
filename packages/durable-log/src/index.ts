export type {
  Entry,
  EntryKind,
  Index,
  LoadedLog,
  LogStorage,
  PersistBatch,
  SnapshotMeta,
  StagedSnapshot,
  StoredSnapshot,
  Term,
} from './contract.js';
export {
  CompactedError,
  CorruptLogError,
  type CorruptLogErrorOptions,
  InvalidBatchError,
  LogStorageError,
  SnapshotGoneError,
  SnapshotOutdatedError,
  StorageFailedError,
  StorageLockedError,
  StorageStateError,
} from './errors.js';
export type { DirectoryLock, FileHandle, FileSystem } from './file-system.js';
export {
  createMemoryLog,
  createMemoryMedium,
  type MemoryLogOptions,
  type MemoryMedium,
} from './memory-log.js';
export {
  groupCommitted,
  type GroupCommittedEvent,
  storageFailed,
  type StorageFailedEvent,
  tailRepaired,
  type TailRepairedEvent,
} from './events.js';
export { crc32c } from './core/crc32c.js';
