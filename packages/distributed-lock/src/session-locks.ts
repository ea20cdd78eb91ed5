import type {
  ClaimCall,
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ClaimWatch,
  LockBackend,
  LockCapabilities,
  ReleaseResult,
  RenewResult,
} from '@quorate/distributed-lock';
import { LockClosedError } from '@quorate/distributed-lock';
import { randomId, type Runtime, systemRuntime } from '@quorate/runtime';
import type { Dialect, SqlDatabase } from '@quorate/sql';
import { asSqlLockError, databaseOption } from './lock-sql.js';
import { PinnedSession, type SessionDialect } from './pinned-session.js';

/** What session locks take. */
export interface SessionLocksOptions {
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** What is different about the session locks of one server. */
export interface SessionLockKind {
  readonly name: string;
  readonly dialect: Dialect;
  readonly capabilities: LockCapabilities;
  readonly session: SessionDialect;
  /** What the server knows the lock of a key by. */
  lockId(key: string): string;
}

/** A claim that has its lock, or is about to. */
interface Entry extends ClaimId {
  readonly id: string;
  readonly shared: boolean;
  watch: ClaimWatch;
  /** The fence, or `undefined` if it was refused. */
  readonly claiming: Promise<number | undefined>;
  releasing: Promise<ReleaseResult> | undefined;
}

/**
 * Locks that belong to one session of the server. A session can take its own lock again, so who of this process has one
 * is decided here; keys that share an id exclude each other.
 */
export class SessionLocks implements LockBackend {
  readonly name: string;
  readonly capabilities: LockCapabilities;
  readonly #kind: SessionLockKind;
  readonly #session: PinnedSession;
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<string, Set<Entry>>();
  #closed = false;

  constructor(db: SqlDatabase, kind: SessionLockKind, options: SessionLocksOptions) {
    const { runtime = systemRuntime } = options;
    const given = databaseOption('db', db, kind.dialect);
    this.name = kind.name;
    this.capabilities = kind.capabilities;
    this.#kind = kind;
    this.#session = new PinnedSession(given, kind.session, runtime, randomId(runtime), (cause) =>
      this.#lose(cause),
    );
  }

  async claim({ key, owner, mode, leaseMs }: ClaimRequest, { watch }: ClaimCall): Promise<ClaimResult> {
    this.#assertOpen(key);
    const known = this.#entries.get(name({ key, owner }));
    if (known !== undefined && known.releasing === undefined) {
      known.watch = watch;
      await known.claiming;
      await this.#ask(key, { kind: 'ping', id: '' });
    }
    const entry =
      this.#entries.get(name({ key, owner })) ?? this.#begin({ key, owner }, mode === 'shared', watch);
    const fence = await entry?.claiming;
    if (fence === undefined) return { state: 'busy' };
    const { fencing } = this.capabilities;
    return { state: 'granted', fence: fencing === 'none' ? undefined : fence, validMs: leaseMs };
  }

  async renew(claim: ClaimId, leaseMs: number): Promise<RenewResult> {
    this.#assertOpen(claim.key);
    const entry = this.#entries.get(name(claim));
    if (entry === undefined) return { state: 'lost' };
    await this.#ask(claim.key, { kind: 'ping', id: '' });
    return this.#entries.get(name(claim)) === entry ? { state: 'held', validMs: leaseMs } : { state: 'lost' };
  }

  release(claim: ClaimId): Promise<ReleaseResult> {
    this.#assertOpen(claim.key);
    const entry = this.#entries.get(name(claim));
    if (entry === undefined) return Promise.resolve('lost');
    return (entry.releasing ??= this.#release(entry));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const clean = this.#entries.size === 0;
    this.#entries.clear();
    this.#byId.clear();
    await this.#session.close(clean);
  }

  #begin(claim: ClaimId, shared: boolean, watch: ClaimWatch): Entry | undefined {
    const id = this.#kind.lockId(claim.key);
    const beside = this.#byId.get(id) ?? new Set<Entry>();
    for (const other of beside) if (!shared || !other.shared) return undefined;
    const claiming = this.#ask(claim.key, { kind: shared ? 'lock-shared' : 'lock', id }).then(
      (result) => {
        if (result > 0) return result;
        this.#forget(entry);
        return undefined;
      },
      (error: unknown) => {
        this.#forget(entry);
        throw error;
      },
    );
    const entry: Entry = { ...claim, id, shared, watch, claiming, releasing: undefined };
    beside.add(entry);
    this.#byId.set(id, beside);
    this.#entries.set(name(claim), entry);
    return entry;
  }

  async #release(entry: Entry): Promise<ReleaseResult> {
    if ((await entry.claiming.catch(() => undefined)) === undefined) return 'lost';
    if (this.#entries.get(name(entry)) !== entry) return 'lost';
    const kind = entry.shared ? 'unlock-shared' : 'unlock';
    try {
      const result = await this.#ask(entry.key, { kind, id: entry.id });
      return result > 0 ? 'released' : 'lost';
    } finally {
      // When that failed, the session is gone, and the lock with it.
      this.#forget(entry);
    }
  }

  async #ask(key: string, operation: Parameters<PinnedSession['run']>[0]): Promise<number> {
    try {
      return await this.#session.run(operation);
    } catch (error) {
      throw asSqlLockError(key, 0, error);
    }
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(name(entry)) === entry) this.#entries.delete(name(entry));
    const beside = this.#byId.get(entry.id);
    if (beside?.delete(entry) === true && beside.size === 0) this.#byId.delete(entry.id);
  }

  #lose(cause: unknown): void {
    const lost = [...this.#entries.values()];
    this.#entries.clear();
    this.#byId.clear();
    for (const { watch } of lost) watch.lost(cause);
  }

  #assertOpen(key: string): void {
    if (this.#closed) throw new LockClosedError(key);
  }
}

function name({ key, owner }: ClaimId): string {
  return `${owner}\0${key}`;
}
