export {
  type ClaimGrant,
  type ClaimId,
  claimKey,
  type ClaimRequest,
  type ClaimResult,
  type ConvertResult,
  type LockMode,
  type LockStatus,
  type ReleaseResult,
  type RenewResult,
} from './core/lock-claims.js';
export {
  decodeLockCommand,
  encodeLockCommand,
  type Lapsed,
  type LockCommand,
  MAX_LEASE_MS,
} from './core/lock-format.js';
export { type HandOver, type KeyState, LockTable, type TableClaim } from './core/lock-table.js';
export { keepLeases, type LeaseKeeper, type LeaseKeeperOptions } from './lease-keeper.js';
export { type LockListener, LockMachine, type LockQuery, type LockResult } from './lock-machine.js';
