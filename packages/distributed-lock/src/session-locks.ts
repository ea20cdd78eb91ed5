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
import { PinnedSession, type SessionDialect, type SessionOperation } from './pinned-session.js';

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

/** So many keys are remembered before those that nobody has are forgotten. */
const MIN_SWEEP = 1_000;

const PING: SessionOperation = { kind: 'ping', id: '' };

/** A claim that has its lock, or is about to. */
interface Entry extends ClaimId {
  readonly shared: boolean;
  watch: ClaimWatch;
  /** The fence, or `undefined` if it was refused. */
  readonly claiming: Promise<number | undefined>;
  releasing: Promise<ReleaseResult> | undefined;
}

/** What the server knows by one id, whatever keys have it. */
interface Place {
  readonly id: string;
  readonly entries: Entry[];
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
  /** By the key. Those that nobody has stay for a while: making an id takes longer than all else that is done here. */
  readonly #places = new Map<string, Place>();
  readonly #byId = new Map<string, Place>();
  #sweepAt = MIN_SWEEP;
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
    let place = this.#placeOf(key);
    let entry = find(place, key, owner);
    if (entry !== undefined && entry.releasing === undefined) {
      entry.watch = watch;
      await entry.claiming;
      await this.#ask(key, PING);
      // One that nobody had meanwhile may have been forgotten.
      place = this.#placeOf(key);
      entry = find(place, key, owner);
    }
    entry ??= this.#begin(place, key, owner, mode === 'shared', watch);
    const fence = await entry?.claiming;
    if (fence === undefined) return { state: 'busy' };
    const { fencing } = this.capabilities;
    return { state: 'granted', fence: fencing === 'none' ? undefined : fence, validMs: leaseMs };
  }

  async renew({ key, owner }: ClaimId, leaseMs: number): Promise<RenewResult> {
    this.#assertOpen(key);
    const place = this.#placeOf(key);
    const entry = find(place, key, owner);
    if (entry === undefined) return { state: 'lost' };
    await this.#ask(key, PING);
    return find(place, key, owner) === entry ? { state: 'held', validMs: leaseMs } : { state: 'lost' };
  }

  release({ key, owner }: ClaimId): Promise<ReleaseResult> {
    this.#assertOpen(key);
    const place = this.#placeOf(key);
    const entry = find(place, key, owner);
    if (entry === undefined) return Promise.resolve('lost');
    return (entry.releasing ??= this.#release(place, entry));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#session.close(this.#takeAll().length === 0);
  }

  #begin(place: Place, key: string, owner: string, shared: boolean, watch: ClaimWatch): Entry | undefined {
    const { id, entries } = place;
    if (entries.some((other) => !shared || !other.shared)) return undefined;
    const claiming = this.#session.run({ kind: shared ? 'lock-shared' : 'lock', id }).then(
      (result) => {
        if (result > 0) return result;
        forget(place, entry);
        return undefined;
      },
      (error: unknown) => {
        forget(place, entry);
        throw asSqlLockError(key, 0, error);
      },
    );
    const entry: Entry = { key, owner, shared, watch, claiming, releasing: undefined };
    entries.push(entry);
    return entry;
  }

  async #release(place: Place, entry: Entry): Promise<ReleaseResult> {
    if ((await entry.claiming.catch(() => undefined)) === undefined) return 'lost';
    if (!place.entries.includes(entry)) return 'lost';
    const kind = entry.shared ? 'unlock-shared' : 'unlock';
    try {
      const result = await this.#ask(entry.key, { kind, id: place.id });
      return result > 0 ? 'released' : 'lost';
    } finally {
      // When that failed, the session is gone, and the lock with it.
      forget(place, entry);
    }
  }

  #ask(key: string, operation: SessionOperation): Promise<number> {
    return this.#session.run(operation).catch((error: unknown) => {
      throw asSqlLockError(key, 0, error);
    });
  }

  #placeOf(key: string): Place {
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    if (this.#places.size >= this.#sweepAt) this.#sweep();
    const id = this.#kind.lockId(key);
    const place = this.#byId.get(id) ?? { id, entries: [] };
    this.#places.set(key, place);
    this.#byId.set(id, place);
    return place;
  }

  #sweep(): void {
    for (const [key, { id, entries }] of this.#places) {
      if (entries.length > 0) continue;
      this.#places.delete(key);
      this.#byId.delete(id);
    }
    this.#sweepAt = Math.max(MIN_SWEEP, 2 * this.#places.size);
  }

  /** All entries, which are none any more. */
  #takeAll(): Entry[] {
    return [...this.#byId.values()].flatMap(({ entries }) => entries.splice(0));
  }

  #lose(cause: unknown): void {
    for (const { watch } of this.#takeAll()) watch.lost(cause);
  }

  #assertOpen(key: string): void {
    if (this.#closed) throw new LockClosedError(key);
  }
}

function find({ entries }: Place, key: string, owner: string): Entry | undefined {
  return entries.find((entry) => entry.owner === owner && entry.key === key);
}

function forget({ entries }: Place, entry: Entry): void {
  const at = entries.indexOf(entry);
  if (at >= 0) entries.splice(at, 1);
}
