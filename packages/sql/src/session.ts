import type { Dialect, SqlResult, TransactionOptions } from './contract.js';

/** One connection, held for one transaction. What an adapter of a driver has to provide. */
export interface Session {
  query(text: string, values?: readonly unknown[]): Promise<SqlResult<unknown>>;
  begin(options: TransactionOptions): Promise<void>;
  /** Resolves with the command that the server says it ran, where the driver tells. */
  commit(): Promise<string | undefined>;
  rollback(): Promise<void>;
  /** Whether the server, with this error, rolled back the whole transaction and goes on outside of it. */
  undoneBy(error: unknown): boolean | Promise<boolean>;
  /** Asks the server to end the statement under way. Best effort: nobody waits for it. */
  cancel(): void;
  /** Has the loss of the connection told, at once if it is lost already. At most once per session. */
  onLost?(listen: (error: Error) => void): void;
  /** Gives the connection back; with an error, ends it instead. */
  release(broken?: Error): void;
}

/** Where transactions get their connections. */
export interface SessionSource {
  readonly dialect: Dialect;
  /** Waits for a connection until `signal` aborts; one that comes later is given back unused. */
  acquire(signal: AbortSignal | undefined): Promise<Session>;
}

/**
 * Statements that begin a transaction. In MySQL the isolation level is set for the next transaction only, and an
 * access mode is always named: what a `set transaction` of somebody else left behind does not linger.
 */
export function beginStatements(dialect: Dialect, options: TransactionOptions): readonly string[] {
  const { isolation, readOnly = false } = options;
  if (dialect === 'mysql') {
    return [
      ...(isolation === undefined ? [] : [`set transaction isolation level ${isolation}`]),
      `start transaction ${readOnly ? 'read only' : 'read write'}`,
    ];
  }
  return [
    `begin${isolation === undefined ? '' : ` isolation level ${isolation}`}${readOnly ? ' read only' : ''}`,
  ];
}
