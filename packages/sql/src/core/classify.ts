/**
 * What an error of a driver means. Every function here looks through `cause`, because query builders wrap the
 * driver's errors, and knows both dialects.
 *
 * Sources: PostgreSQL manual, appendix A (error codes); MySQL and MariaDB server error references.
 */

interface DriverError {
  readonly code?: unknown;
  readonly sqlState?: unknown;
  readonly errno?: unknown;
  readonly severity?: unknown;
  readonly fatal?: unknown;
  readonly cause?: unknown;
}

const SQL_STATE = /^[0-9A-Z]{5}$/;
/** Errors that wrap each other in a circle are nobody's plan, but the search must end. */
const MAX_CAUSES = 16;

/** The error and its causes, the outermost first. */
function* chain(error: unknown): Generator<DriverError> {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && typeof current === 'object' && current !== null; depth++) {
    const one: DriverError = current;
    yield one;
    current = one.cause;
  }
}

function ownSqlState({ sqlState, code }: DriverError): string | undefined {
  if (typeof sqlState === 'string' && SQL_STATE.test(sqlState)) return sqlState;
  // The pg driver has the SQLSTATE in `code`, where Node has names such as EPIPE: those are letters only.
  return typeof code === 'string' && SQL_STATE.test(code) && /\d/.test(code) ? code : undefined;
}

/** The SQLSTATE that the server gave with an error, in either dialect and however deep it is wrapped. */
export function sqlStateOf(error: unknown): string | undefined {
  for (const one of chain(error)) {
    const state = ownSqlState(one);
    if (state !== undefined) return state;
  }
  return undefined;
}

/** The number of an error of MySQL or MariaDB. Negative numbers and those of Node's sockets are not. */
export function mysqlErrorNumber(error: unknown): number | undefined {
  for (const { errno } of chain(error)) {
    if (typeof errno === 'number' && errno >= 1000) return errno;
  }
  return undefined;
}

/** Another transaction stood in the way and this one may succeed when it is run again (SQLSTATE 40001). */
export function isSerializationFailure(error: unknown): boolean {
  // MariaDB with innodb_snapshot_isolation: "Record has changed since last read" comes as HY000.
  return sqlStateOf(error) === '40001' ? !isDeadlock(error) : mysqlErrorNumber(error) === 1020;
}

/** Two transactions waited for each other and the server ended this one (40P01; MySQL 1213). */
export function isDeadlock(error: unknown): boolean {
  return sqlStateOf(error) === '40P01' || mysqlErrorNumber(error) === 1213;
}

/** A row with this key exists already (23505; MySQL 1062 and 1586). */
export function isUniqueViolation(error: unknown): boolean {
  const number = mysqlErrorNumber(error);
  return sqlStateOf(error) === '23505' || number === 1062 || number === 1586;
}

/** A row refers to one that does not exist, or is referred to (23503; MySQL 1451 and 1452). */
export function isForeignKeyViolation(error: unknown): boolean {
  const number = mysqlErrorNumber(error);
  return sqlStateOf(error) === '23503' || number === 1451 || number === 1452;
}

/** A lock was not to be had in time or at once (55P03; MySQL 1205 and 3572). */
export function isLockTimeout(error: unknown): boolean {
  const number = mysqlErrorNumber(error);
  return sqlStateOf(error) === '55P03' || number === 1205 || number === 3572;
}

/** A table that does not exist (42P01; MySQL 1146): the migrations have not run. */
export function isUndefinedTable(error: unknown): boolean {
  return sqlStateOf(error) === '42P01' || mysqlErrorNumber(error) === 1146;
}

/** The whole transaction may be run again: a serialization failure or a deadlock. */
export function isRetryable(error: unknown): boolean {
  return isSerializationFailure(error) || isDeadlock(error);
}

/**
 * Whether the server said, to a COMMIT, that it did not commit. A fatal error says no such thing: PostgreSQL
 * may end a session after its transaction became durable and before it answered (57P01 while it waits for a
 * standby), and so may MySQL.
 */
export function isDefiniteCommitFailure(error: unknown): boolean {
  for (const one of chain(error)) {
    if (one.severity === 'FATAL' || one.severity === 'PANIC' || one.fatal === true) return false;
  }
  const state = sqlStateOf(error);
  if (state === undefined) return false;
  // 3101: group replication refused the transaction at certification.
  if (state === 'HY000') return mysqlErrorNumber(error) === 3101;
  return !state.startsWith('08') && !state.startsWith('57') && state !== '70100' && state !== '40003';
}
