/** Which SQL is spoken: `mysql` stands for MySQL and MariaDB. */
export type Dialect = 'postgres' | 'mysql';

/** What a statement returned. */
export interface SqlResult<Row> {
  readonly rows: readonly Row[];
  /** Rows returned, inserted, updated or deleted. */
  readonly rowCount: number;
  /** The command that the server says it ran, such as `INSERT` or `ROLLBACK`; PostgreSQL only. */
  readonly command: string | undefined;
}

/** A row as a driver returns it: column names to values. */
export type SqlRow = Record<string, unknown>;

/**
 * Something that runs one statement at a time: a connection, a pool, or a query builder's transaction.
 *
 * `text` has the placeholders of its dialect (`$1` in PostgreSQL, `?` in MySQL). Integers of 64 bits come back as
 * strings or numbers as the user's driver was set up: convert them with {@link toSafeInteger} where it matters.
 */
export interface SqlConnection {
  readonly dialect: Dialect;
  query<Row = SqlRow>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>>;
}

/** Isolation levels by their names in the standard. */
export type IsolationLevel = 'read committed' | 'repeatable read' | 'serializable';

/** How a transaction runs, and whether it runs again. */
export interface TransactionOptions {
  /** @defaultValue the server's default */
  readonly isolation?: IsolationLevel;
  /** @defaultValue false */
  readonly readOnly?: boolean;
  /**
   * How often the whole transaction is run again after a failure that the server itself rolled back: a
   * serialization failure or a deadlock. Only `work` that may run several times is safe to retry.
   * Zero turns it off.
   * @defaultValue 5 retries, with full jitter below a bound that grows from 10 ms to 1000 ms
   */
  readonly retry?: number | { readonly retries?: number; readonly minMs?: number; readonly maxMs?: number };
  /**
   * Ends the waiting for a connection and between attempts, and rolls back a transaction under way; the error is
   * its reason. During COMMIT it can no more than end the waiting, which leaves the outcome unknown.
   */
  readonly signal?: AbortSignal;
}

/** How long a session is waited for and kept. */
export interface SessionOptions {
  /** Ends the waiting for a connection, and the session. */
  readonly signal?: AbortSignal;
  /**
   * Called once if the connection is lost while `work` runs, also while no statement runs on it; as early as the driver
   * hears of it, which for a peer that vanished without a word is only with the next statement. Statements fail from then
   * on; let `work` end.
   */
  readonly onLost?: (error: Error) => void;
}

/** A transaction under way. */
export interface SqlTransaction extends SqlConnection {
  /**
   * Runs `work` inside a savepoint: when it throws, its effects and no others are undone, and the error is
   * thrown on.
   */
  savepoint<T>(work: (tx: SqlTransaction) => Promise<T>): Promise<T>;
}

/** A database that can begin transactions. */
export interface SqlDatabase extends SqlConnection {
  /**
   * Runs `work` in a transaction on a connection of its own. Committed when `work` resolves and this resolves;
   * rolled back when `work` throws, and its error is thrown on. When the connection is lost during COMMIT the
   * outcome is unknown and the error says so (`UNKNOWN_OUTCOME`). A connection that failed in the middle is
   * discarded and never goes back to the pool.
   */
  transaction<T>(work: (tx: SqlTransaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /**
   * Runs `work` on one connection outside of any transaction, for what belongs to a connection: advisory locks,
   * settings, temporary tables. It goes back to the pool when `work` resolves, as `work` left it. When `work`
   * throws or `signal` aborts it is ended instead, and all that was left on it ends with it.
   */
  session<T>(work: (connection: SqlConnection) => Promise<T>, options?: SessionOptions): Promise<T>;
}
