import { abortable, InvalidOptionError } from '@quorate/runtime';
import {
  beginStatements,
  createDatabase,
  type DatabaseOptions,
  type RunStatement,
  type Session,
  type SqlConnection,
  sqlConnection,
  type SqlDatabase,
} from '@quorate/sql';
import { cancelStatement } from './pg-cancel.js';

/** What is asked of a `Client`, `PoolClient` or `Pool` of `pg`, or of a driver that looks like it. */
export interface PgQueryable {
  query(
    text: string,
    values?: unknown[],
  ): Promise<{ rows: unknown[]; rowCount: number | null; command: string }>;
}

/** A connection of `pg`. */
export interface PgClient extends PgQueryable {
  on(event: 'error', listen: (error: Error) => void): unknown;
  removeListener(event: 'error', listen: (error: Error) => void): unknown;
  end(): Promise<void>;
}

/** A connection that a pool lent. */
export interface PgPoolClient extends Omit<PgClient, 'end'> {
  release(broken?: Error | boolean): void;
}

/** A `Pool` of `pg`. */
export interface PgPool extends PgQueryable {
  readonly totalCount: number;
  connect(): Promise<PgPoolClient>;
}

/**
 * A database over a `Pool` of `pg`, or over one connected `Client`.
 *
 * With a pool, each transaction has a connection of its own. A client runs one transaction or statement at a
 * time, and is ended when a transaction has to give it up in the middle; make one database of a client and use
 * the client in no other way. Whoever made the pool or client ends it.
 */
export function pgDatabase(client: PgPool | PgClient, options: DatabaseOptions = {}): SqlDatabase {
  checkClient(client);
  const single = !isPool(client);
  return createDatabase(
    {
      dialect: 'postgres',
      single,
      run: runOn(client),
      acquire: single ? () => Promise.resolve(endingSession(client)) : (signal) => borrow(client, signal),
    },
    options,
  );
}

/**
 * A connection over a client on which the caller begins and ends transactions, so that what this toolkit writes
 * belongs to them.
 */
export function pgConnection(client: PgQueryable): SqlConnection {
  checkClient(client);
  return sqlConnection('postgres', runOn(client));
}

function checkClient(client: PgQueryable): void {
  if (typeof (client as Partial<PgQueryable> | undefined)?.query !== 'function') {
    throw new InvalidOptionError('client', client, 'a Pool or a Client of pg');
  }
}

/** The one property of a pool that a client has nothing like. */
function isPool(client: PgPool | PgClient): client is PgPool {
  return 'totalCount' in client;
}

function runOn(client: PgQueryable): RunStatement {
  return async (text, values) => {
    const result: unknown = await client.query(text, values as unknown[] | undefined);
    // Several statements in one text give an array of results: the last one speaks for them.
    const last = (Array.isArray(result) ? result.at(-1) : result) as Awaited<
      ReturnType<PgQueryable['query']>
    >;
    return last;
  };
}

async function borrow(pool: PgPool, signal: AbortSignal | undefined): Promise<Session> {
  const coming = pool.connect();
  try {
    const client = await abortable(coming, signal);
    return session(client, (broken) => {
      client.release(broken);
    });
  } catch (error) {
    // Nobody waits any more: a connection that still comes goes straight back.
    coming.then(
      (client) => {
        client.release();
      },
      () => undefined,
    );
    throw error;
  }
}

function endingSession(client: PgClient): Session {
  return session(client, (broken) => {
    if (broken !== undefined) client.end().catch(() => undefined);
  });
}

function session(client: Omit<PgClient, 'end'>, giveBack: (broken: Error | undefined) => void): Session {
  // A client that loses its connection while nothing runs on it says so by an event, and an event `error` that
  // nobody hears ends the process. The next statement fails on its own.
  let lost: Error | undefined;
  let tell: ((error: Error) => void) | undefined;
  const hear = (error: Error): void => {
    // A server that ends a session says why, and then the socket closes: the first counts.
    if (lost === undefined) tell?.(error);
    lost ??= error;
  };
  client.on('error', hear);
  const run = runOn(client);
  const connection = sqlConnection('postgres', run);
  return {
    query: (text, values) => connection.query(text, values),
    async begin(options) {
      for (const statement of beginStatements('postgres', options)) await run(statement, undefined);
    },
    commit: async () => (await run('commit', undefined)).command,
    async rollback() {
      await run('rollback', undefined);
    },
    undoneBy: () => false,
    cancel() {
      cancelStatement(client);
    },
    onLost(listen) {
      tell = listen;
      if (lost !== undefined) listen(lost);
    },
    release(broken) {
      giveBack(broken ?? lost);
      // A client that was given up may still have to say so.
      if (broken === undefined) client.removeListener('error', hear);
    },
  };
}

export {
  type ListenerEvent,
  type ListenOptions,
  ListenUnavailableError,
  type PgListener,
  pgListener,
  type PgListenerOptions,
} from './pg-listener.js';
