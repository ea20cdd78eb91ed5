import { abortable, InvalidOptionError } from '@quorate/runtime';
import {
  beginStatements,
  createDatabase,
  type DatabaseOptions,
  isDeadlock,
  isSerializationFailure,
  mysqlErrorNumber,
  type RunStatement,
  type Session,
  type SqlConnection,
  sqlConnection,
  type SqlDatabase,
} from '@quorate/sql';

/** What is asked of a connection or pool of `mysql2/promise`. */
export interface MysqlQueryable {
  query(text: string): Promise<[unknown, unknown]>;
  execute(text: string, values: never[]): Promise<[unknown, unknown]>;
}

/** A connection of `mysql2/promise`. */
export interface MysqlConnection extends MysqlQueryable {
  readonly threadId: number | null;
  on(event: 'error', listen: (error: Error) => void): unknown;
  removeListener(event: 'error', listen: (error: Error) => void): unknown;
  destroy(): void;
}

/** A connection that a pool lent. */
export interface MysqlPoolConnection extends MysqlConnection {
  release(): void;
}

/** A pool of `mysql2/promise`. */
export interface MysqlPool extends MysqlQueryable {
  getConnection(): Promise<MysqlPoolConnection>;
}

/** A pool or connection of `mysql2`, which has one of `mysql2/promise` inside. */
export interface MysqlCallbackClient<Client> {
  promise(): Client;
}

/**
 * A database over a pool of `mysql2`, or over one of its connections; for MySQL and MariaDB.
 *
 * Values are bound by the server, never written into the text. With a pool, each transaction has a connection of
 * its own. A single connection runs one transaction or statement at a time, and is destroyed when a transaction
 * has to give it up in the middle. Whoever made the pool or connection ends it.
 *
 * A deadlock rolls the whole transaction back in these servers, and what follows on the connection would be
 * committed statement by statement: here it is refused. A lock wait timeout (1205) undoes its statement only,
 * unless the server has `innodb_rollback_on_timeout`; it is not retried.
 */
export function mysqlDatabase(
  client: MysqlPool | MysqlConnection | MysqlCallbackClient<MysqlPool | MysqlConnection>,
  options: DatabaseOptions = {},
): SqlDatabase {
  const given = withPromises(client);
  const single = !isPool(given);
  return createDatabase(
    {
      dialect: 'mysql',
      single,
      run: runOn(given),
      acquire: single
        ? () => Promise.resolve(session(given, undefined, () => undefined))
        : (signal) => borrow(given, signal),
    },
    options,
  );
}

/**
 * A connection over one on which the caller begins and ends transactions, so that what this toolkit writes
 * belongs to them.
 */
export function mysqlConnection(client: MysqlQueryable | MysqlCallbackClient<MysqlQueryable>): SqlConnection {
  return sqlConnection('mysql', runOn(withPromises(client)));
}

function withPromises<Client extends MysqlQueryable>(client: Client | MysqlCallbackClient<Client>): Client {
  const given = 'promise' in client ? client.promise() : client;
  if (typeof (given as Partial<MysqlQueryable>).execute !== 'function') {
    throw new InvalidOptionError('client', client, 'a pool or a connection of mysql2');
  }
  return given;
}

function isPool(client: MysqlPool | MysqlConnection): client is MysqlPool {
  return 'getConnection' in client;
}

function runOn(client: MysqlQueryable): RunStatement {
  return async (text, values) => {
    // Statements about transactions and DDL cannot all be prepared; those with values can.
    const [result] =
      values === undefined || values.length === 0
        ? await client.query(text)
        : await client.execute(text, values.map(bindable) as never[]);
    if (Array.isArray(result)) return { rows: result };
    return { rows: [], rowCount: (result as { readonly affectedRows: number }).affectedRows };
  };
}

/** What mysql2 would refuse or read as text. */
function bindable(value: unknown): unknown {
  if (value === undefined) return null;
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  return value;
}

async function borrow(pool: MysqlPool, signal: AbortSignal | undefined): Promise<Session> {
  const coming = pool.getConnection();
  try {
    const connection = await abortable(coming, signal);
    return session(connection, pool, () => {
      connection.release();
    });
  } catch (error) {
    // Nobody waits any more: a connection that still comes goes straight back.
    coming.then(
      (connection) => {
        connection.release();
      },
      () => undefined,
    );
    throw error;
  }
}

/** The lock table was full, and InnoDB rolled back the whole transaction. */
const ER_LOCK_TABLE_FULL = 1206;
const ER_LOCK_WAIT_TIMEOUT = 1205;

function session(client: MysqlConnection, pool: MysqlPool | undefined, giveBack: () => void): Session {
  // A connection that is lost while nothing runs on it says so by an event, and an event `error` that nobody
  // hears ends the process.
  let lost: Error | undefined;
  let tell: ((error: Error) => void) | undefined;
  const hear = (error: Error): void => {
    if (lost === undefined) tell?.(error);
    lost ??= error;
  };
  client.on('error', hear);
  const connection = sqlConnection('mysql', runOn(client));
  return {
    query: (text, values) => connection.query(text, values),
    async begin(options) {
      for (const statement of beginStatements('mysql', options)) await connection.query(statement);
    },
    async commit() {
      await connection.query('commit');
      return undefined;
    },
    async rollback() {
      await connection.query('rollback');
    },
    async undoneBy(error) {
      const number = mysqlErrorNumber(error);
      if (number === ER_LOCK_WAIT_TIMEOUT) return rollsBackOnTimeout(connection);
      return isDeadlock(error) || isSerializationFailure(error) || number === ER_LOCK_TABLE_FULL;
    },
    cancel() {
      // Ending the connection ends its statement only once the server looks at it again.
      const { threadId } = client;
      if (threadId !== null) pool?.query(`kill ${String(threadId)}`).catch(() => undefined);
    },
    onLost(listen) {
      tell = listen;
      if (lost !== undefined) listen(lost);
    },
    release(broken) {
      if (broken === undefined && lost === undefined) {
        client.removeListener('error', hear);
        giveBack();
      } else {
        // It may still have to say why it ended, so it is listened to on.
        client.destroy();
      }
    },
  };
}

async function rollsBackOnTimeout(connection: SqlConnection): Promise<boolean> {
  try {
    const { rows } = await connection.query<{ on: unknown }>('select @@innodb_rollback_on_timeout as `on`');
    return Number(rows[0]?.on) === 1;
  } catch {
    return true;
  }
}
