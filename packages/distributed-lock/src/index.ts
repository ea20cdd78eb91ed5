export type {
  BackendCall,
  ClaimCall,
  ClaimGrant,
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ClaimWatch,
  ConvertResult,
  LockBackend,
  LockCapabilities,
  LockMode,
  LockStatus,
  ReleaseResult,
  RenewResult,
} from './contract.js';
export type { Election, ElectionOptions, Leader } from './election.js';
export {
  DeadlockError,
  LockAbortedError,
  LockBackendError,
  LockClosedError,
  LockError,
  type LockErrorCode,
  LockLostError,
  LockTimeoutError,
  LockUnsupportedError,
  type LossReason,
  StaleFenceError,
  VersionConflictError,
} from './errors.js';
export {
  type AcquiredEvent,
  type BackendFailedEvent,
  type LockEvent,
  lockEvents,
  type LostEvent,
  type ReleasedEvent,
} from './events.js';
export type { Lease, ReadWriteLease } from './lease.js';
export type { LeaseSet } from './lease-set.js';
export { createLocks, type LockHandle, type Locks, type PermitOptions, type ReadWriteLock } from './locks.js';
export type { AcquireOptions, LocksOptions } from './options.js';
export type { ReentrantLocks } from './reentrant.js';
export type { Work } from './using.js';
