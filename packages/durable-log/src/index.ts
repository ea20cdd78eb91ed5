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
  InvalidBatchError,
  LogStorageError,
  SnapshotGoneError,
  SnapshotOutdatedError,
  StorageFailedError,
  StorageLockedError,
  StorageStateError,
} from './errors.js';
export type { DirectoryLock, FileHandle, FileSystem } from './file-system.js';
