import { LockBackendError, LockClosedError } from '@quorate/distributed-lock';
import { deadline, DeadlineError, type Runtime, type Timer } from '@quorate/runtime';
import type { SqlConnection, SqlDatabase } from '@quorate/sql';
import { bounded, Stop } from './stop.js';

/** One thing to do on the session. */
export interface SessionOperation {
  readonly kind: 'lock' | 'lock-shared' | 'unlock' | 'unlock-shared' | 'ping';
  /** What the server knows the lock by; empty for a ping. */
  readonly id: string;
}

/** What sessions of one kind of server are like. */
export interface SessionDialect {
  /** Marks the session with the token. Resolves with the mark that was there before, if any. */
  mark(connection: SqlConnection, token: string): Promise<string | undefined>;
  /** Makes a session that was marked ready for {@link SessionDialect.perform}. */
  prepare?(connection: SqlConnection): Promise<void>;
  /** Undoes that. */
  unprepare?(connection: SqlConnection): Promise<void>;
  /** Reads the mark of whatever connection of the server this statement reaches. */
  readMark(connection: SqlConnection): Promise<string | undefined>;
  /**
   * Does it all in one statement, and each of it only if the session still has its mark. Resolves with a number for each:
   * 0 for what was refused, 1 or a fence for what was done, `undefined` for what was left because the mark is another.
   */
  perform(
    connection: SqlConnection,
    token: string,
    operations: readonly SessionOperation[],
  ): Promise<readonly (number | undefined)[]>;
}

interface Pending {
  readonly operation: SessionOperation;
  readonly resolve: (result: number) => void;
  readonly reject: (error: unknown) => void;
}

/** A statement that takes longer was not answered, and the session is given up. */
const UNANSWERED_MS = 10_000;
/** How long a second connection is waited for when a session is opened. */
const PROBE_MS = 5_000;

/**
 * One connection on which session locks are taken: opened when it is first needed, kept until it is lost or closed. What
 * comes while a statement runs goes with the next one, as one.
 *
 * The session carries a mark of its own, which every statement looks at before it takes or gives anything: behind a
 * pooler that hands connections of the server from client to client, nothing is taken on somebody else's.
 */
export class PinnedSession {
  readonly #db: SqlDatabase;
  readonly #dialect: SessionDialect;
  readonly #runtime: Runtime;
  readonly #token: string;
  readonly #onLost: (cause: unknown) => void;
  #open: Open | undefined;
  #pending: Pending[] = [];
  #running = false;
  #closed = false;
  /** Where a statement is under way, and since when. */
  #under: Open | undefined;
  #sentAtMs = 0;
  #timer: Timer | undefined;

  constructor(
    db: SqlDatabase,
    dialect: SessionDialect,
    runtime: Runtime,
    token: string,
    onLost: (cause: unknown) => void,
  ) {
    this.#db = db;
    this.#dialect = dialect;
    this.#runtime = runtime;
    this.#token = token;
    this.#onLost = onLost;
  }

  /** Resolves with the number of {@link SessionDialect.perform}. */
  run(operation: SessionOperation): Promise<number> {
    if (this.#closed) return Promise.reject(new LockClosedError());
    const done = new Promise<number>((resolve, reject) => {
      this.#pending.push({ operation, resolve, reject });
    });
    if (!this.#running) void this.#drain();
    return done;
  }

  /** Gives the connection back, or ends it where something is still held. */
  async close(clean: boolean): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return;
    try {
      const connection = await open.ready;
      if (clean) {
        await this.#dialect.unprepare?.(connection);
        await this.#dialect.mark(connection, '');
      }
      open.end(clean ? undefined : new LockClosedError());
    } catch (error) {
      open.end(error);
    }
    await open.over;
  }

  async #drain(): Promise<void> {
    this.#running = true;
    while (this.#pending.length > 0) {
      const taken = this.#pending;
      this.#pending = [];
      await this.#perform(taken);
    }
    this.#running = false;
  }

  async #perform(taken: readonly Pending[]): Promise<void> {
    const operations = operationsOf(taken);
    const open = (this.#open ??= this.#pin());
    try {
      const connection = open.connection ?? (await open.ready);
      this.#watch(open);
      const results = await bounded(this.#runtime, Number.POSITIVE_INFINITY, open.lost, 'the session', () =>
        this.#dialect.perform(connection, this.#token, operations),
      );
      if (results.length !== operations.length || results.includes(undefined)) throw pooledError();
      let at = 0;
      for (const { operation, resolve } of taken)
        resolve(operation.kind === 'ping' ? 1 : (results[at++] ?? 0));
    } catch (error) {
      // A session lock outlives the statement that failed after it was taken: only the end of the session is sure.
      open.end(error);
      this.#lose(open, error);
      for (const { reject } of taken) reject(error);
    } finally {
      this.#under = undefined;
    }
  }

  /** Gives the session up when a statement is not answered. One timer for all of them: most are answered at once. */
  #watch(open: Open): void {
    this.#under = open;
    this.#sentAtMs = this.#runtime.monotonic();
    this.#timer ??= this.#runtime.setTimer(UNANSWERED_MS, this.#look);
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    if (this.#under === undefined) return;
    const leftMs = this.#sentAtMs + UNANSWERED_MS - this.#runtime.monotonic();
    if (leftMs > 0) this.#timer = this.#runtime.setTimer(leftMs, this.#look);
    else this.#under.lost.stop(new DeadlineError(UNANSWERED_MS, 'the session'));
  };

  #pin(): Open {
    const ready = once<SqlConnection>();
    const lost = new Stop();
    const ended = once<undefined>();
    const fail = (error: unknown): void => {
      ready.reject(error);
      lost.stop(error instanceof Error ? error : new Error(String(error)));
      ended.reject(error);
      this.#lose(open, error);
    };
    const over = this.#db
      .session(
        async (connection) => {
          await this.#mark(connection);
          open.connection = connection;
          ready.resolve(connection);
          await ended.promise;
        },
        { onLost: fail },
      )
      .catch(fail);
    const open: Open = {
      connection: undefined,
      ready: ready.promise,
      lost,
      over,
      end(cause) {
        if (cause === undefined) ended.resolve(undefined);
        else ended.reject(cause);
      },
    };
    return open;
  }

  #lose(open: Open, cause: unknown): void {
    if (this.#open !== open) return;
    this.#open = undefined;
    this.#onLost(cause);
  }

  /** Marks the session, and makes sure that it is one. */
  async #mark(connection: SqlConnection): Promise<void> {
    const before = await this.#dialect.mark(connection, this.#token);
    const shared = await this.#reachedByOthers(connection);
    if (before === undefined && !shared) {
      await this.#dialect.prepare?.(connection);
      return;
    }
    await this.#dialect.mark(connection, '').catch(() => undefined);
    throw pooledError();
  }

  /**
   * While another transaction is open, the session is still the same and the transaction is on another one. A pooler
   * lends the transaction the connection of the server that the session was on, or the session another one.
   */
  async #reachedByOthers(connection: SqlConnection): Promise<boolean> {
    const limit = deadline(this.#runtime, PROBE_MS, { what: 'a second connection of the pool' });
    try {
      return await this.#db.transaction(
        async (tx) => {
          if ((await this.#dialect.readMark(tx)) === this.#token) return true;
          return (await this.#dialect.readMark(connection)) !== this.#token;
        },
        { signal: limit.signal, retry: 0 },
      );
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (code !== 'TRANSACTION_NESTED' && !limit.signal.aborted) throw error;
      throw new LockBackendError(
        undefined,
        'session locks keep a connection for themselves: hand over a pool of at least two, not a single connection',
        { cause: error },
      );
    } finally {
      limit[Symbol.dispose]();
    }
  }
}

/** What has to be sent: any statement shows that the session lives, so that pings go only where nothing else does. */
function operationsOf(taken: readonly Pending[]): readonly SessionOperation[] {
  const [first] = taken;
  if (first === undefined || taken.length === 1) return taken.map(({ operation }) => operation);
  const sent = taken.filter(({ operation }) => operation.kind !== 'ping');
  return (sent.length > 0 ? sent : [first]).map(({ operation }) => operation);
}

/** A session in use. */
interface Open {
  /** Once it is ready. */
  connection: SqlConnection | undefined;
  readonly ready: Promise<SqlConnection>;
  /** Stops when it is lost. */
  readonly lost: Stop;
  /** Resolves when the connection is back, or ended. */
  readonly over: Promise<unknown>;
  /** Gives it back, or ends it with a cause. */
  end(cause: unknown): void;
}

function pooledError(): LockBackendError {
  return new LockBackendError(
    undefined,
    'the statements of one session do not reach one session of the server: a pooler in transaction mode, such as ' +
      'PgBouncer, is in between, where clients would hold each other’s session locks. Connect to the server itself, or ' +
      'take lease rows or locks of a transaction',
  );
}

interface Once<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Something that happens once, or fails; nobody has to wait for it. */
function once<T>(): Once<T> {
  let resolve: Once<T>['resolve'] = () => undefined;
  let reject: Once<T>['reject'] = () => undefined;
  const promise = new Promise<T>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
