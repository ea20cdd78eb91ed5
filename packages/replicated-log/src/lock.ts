export {
  decodeLockCommand,
  encodeLockCommand,
  type LockCommand,
  type LockResult,
} from './core/lock-format.js';
export { LockMachine, type LockQuery, type LockStatus } from './lock-machine.js';
