export type {
  Dialect,
  IsolationLevel,
  SessionOptions,
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
export { InvalidIdentifierError, quoteIdentifier } from './core/identifier.js';
export { toSafeInteger, UnsafeIntegerError } from './core/integer.js';
export { type Migration, MigrationError } from './core/migrations.js';
export { splitStatements } from './core/statements.js';
export {
  createDatabase,
  type DatabaseOptions,
  type RunStatement,
  sqlConnection,
  type SqlDriver,
} from './database.js';
export { SqlError, TransactionAbortedError, TransactionMisuseError, UnknownOutcomeError } from './errors.js';
export {
  migrate,
  type MigrateOptions,
  type MigrateResult,
  type MigrationSet,
  printMigrations,
} from './migrate.js';
export { beginStatements, type Session, type SessionSource } from './session.js';
