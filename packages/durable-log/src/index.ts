export type {
  Entry,
  EntryKind,
  Index,
  LoadedLog,
  LogStorage,
  PersistBatch,
  SnapshotMeta,
  StoredSnapshot,
  Term,
} from './contract.js';
