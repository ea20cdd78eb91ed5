export type {
  Dialect,
  IsolationLevel,
  SqlConnection,
  SqlDatabase,
  SqlResult,
  SqlRow,
  SqlTransaction,
  TransactionOptions,
} from './contract.js';
export {
  isDeadlock,
  isForeignKeyViolation,
  isLockTimeout,
  isRetryable,
  isSerializationFailure,
  isUndefinedTable,
  isUniqueViolation,
  mysqlErrorNumber,
  sqlStateOf,
} from './core/classify.js';
export {
  createDatabase,
  type DatabaseOptions,
  type RunStatement,
  sqlConnection,
  type SqlDriver,
} from './database.js';
export { SqlError, TransactionAbortedError, TransactionMisuseError, UnknownOutcomeError } from './errors.js';
export { beginStatements, type Session, type SessionSource } from './session.js';
