import {
  identifierOption,
  integerOption,
  InvalidOptionError,
  numberOption,
  randomId,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import type { SqlConnection, SqlDatabase } from '@quorate/sql';
import {
  type BranchRecord,
  type CancelReason,
  initialRecord,
  isTerminal,
  type TccStatus,
} from './core/tcc.js';
import type { InputOf, OutputsOf, TccDefinition, TccOutcome } from './definition.js';
import { CoordinatorClosedError, SagaConflictError, SagaNotFoundError } from './errors.js';
import { tccSagaEvents } from './events.js';
import { encodeJson } from './json.js';
import { outcomeOf } from './outcome.js';
import { type BeginRow, type ClaimedInstance, Store, type StoredInstance } from './store.js';
import { Waiters } from './waiters.js';
import { Worker } from './worker.js';

/** How a coordinator works. */
export interface CoordinatorOptions {
  /** Where `saga_instance` lives: PostgreSQL. */
  readonly db: SqlDatabase;
  /** The definitions that this process can run. It claims no instance of another one. */
  readonly definitions: readonly TccDefinition[];
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
  /**
   * Names this coordinator in the table and in events. Two coordinators may bear the same name: the fence, not the
   * name, tells them apart.
   * @defaultValue a random name
   */
  readonly owner?: string;
  /**
   * How long after this process fell silent others take its instances over, in milliseconds. Renewed at a third.
   * @defaultValue 15_000
   */
  readonly leaseMs?: number;
  /**
   * How often it looks for instances that others began or gave up, in milliseconds; sooner after a hint.
   * @defaultValue 1000
   */
  readonly pollMs?: number;
  /**
   * Instances in work at a time; what is begun beyond that waits in the database.
   * @defaultValue 64
   */
  readonly concurrency?: number;
  /**
   * From which attempt on an instance is reported on the channel `quorate:tcc-saga:stuck`.
   * @defaultValue 10
   */
  readonly stuckAfter?: number;
}

/** How an instance begins. */
export interface BeginOptions<Input> {
  /** Travels as JSON, of at most 1 MiB. */
  readonly input: Input;
  /**
   * The global transaction id, at most 255 bytes. Beginning with an id that exists begins nothing.
   * @defaultValue 128 random bits
   */
  readonly id?: string;
  /** The same key with the same definition begins one instance only, however often it is called. At most 255 bytes. */
  readonly dedupeKey?: string;
  /**
   * A transaction of the caller's on the coordinator's database: the instance begins when it commits, or never.
   * After the commit call {@link Coordinator.wake} or {@link Coordinator.wait}, which spares the wait for the poll.
   */
  readonly tx?: SqlConnection;
}

/** What {@link Coordinator.begin} answers. */
export interface BeginResult {
  /** The instance's id: that of the earlier one when `created` is false. */
  readonly id: string;
  /** Whether this call began it. */
  readonly created: boolean;
}

/** An instance as it stands in the database. */
export interface TccInstance {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly status: TccStatus;
  /** Why it is or was cancelled. */
  readonly reason: CancelReason | undefined;
  readonly input: unknown;
  readonly branches: Readonly<Record<string, BranchRecord>>;
  /** The last error of the instance as a whole, such as that of a hook. */
  readonly error: string | undefined;
  /** Rounds begun in the present phase. */
  readonly attempts: number;
  /** Who works on it now, or did last before its process fell silent. */
  readonly owner: string | undefined;
  readonly createdAt: Date;
  readonly deadlineAt: Date;
  /** When anybody may take it up; undefined once it has ended. */
  readonly nextRunAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** How long to wait for an end. */
export interface WaitOptions {
  /** @defaultValue no limit */
  readonly timeoutMs?: number;
  /** Ends the wait, and not the instance. */
  readonly signal?: AbortSignal;
}

/** Runs TCC transactions to their end. Made by {@link createCoordinator}. */
export interface Coordinator extends AsyncDisposable {
  /** Its name in the table and in events. */
  readonly owner: string;
  /**
   * Begins to work on instances, whoever began them, until {@link Coordinator.close}. Keeps the process alive.
   * A coordinator that was not started can still begin instances, look and wait.
   */
  start(): void;
  /**
   * Begins an instance. Once this resolves, and `options.tx` if there is one has committed, it will end confirmed or
   * cancelled, whatever crashes in between, as long as some coordinator that holds its definition runs now and then.
   * When it rejects with a lost connection the instance may have begun: begin again with the same `id` or `dedupeKey`.
   * @throws SagaConflictError if `id` belongs to an instance of another definition
   */
  begin<Definition extends TccDefinition>(
    definition: Definition,
    options: BeginOptions<InputOf<Definition>>,
  ): Promise<BeginResult>;
  /** An instance as it stands; undefined if there is none. One query. */
  status(id: string): Promise<TccInstance | undefined>;
  /**
   * Resolves when the instance has ended. Hears of it at once where this process ends it, else within `pollMs`.
   * @throws SagaNotFoundError if there is no such instance
   * @throws DeadlineError after `timeoutMs`; the instance goes on
   */
  wait<Definition extends TccDefinition>(
    id: string,
    options?: WaitOptions,
  ): Promise<TccOutcome<InputOf<Definition>, OutputsOf<Definition>>>;
  /** A hint that something may be due: looks now rather than at the next poll. */
  wake(): void;
  /**
   * Deletes up to `limit` (1000 by default) instances that ended more than `olderThanMs` ago; answers how many.
   * Their dedupe keys are free again afterwards.
   */
  prune(options: { readonly olderThanMs: number; readonly limit?: number }): Promise<number>;
  /**
   * Claims nothing more, lets what it works on go on for up to `drainMs` (10_000 by default), then aborts it and
   * gives it back, so that others take it up at once. Idempotent.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/**
 * Makes a coordinator of TCC transactions over an SQL database. Several on several machines share the work.
 * @throws InvalidOptionError naming the option that cannot be honoured
 */
export function createCoordinator(options: CoordinatorOptions): Coordinator {
  return new TccCoordinator(options);
}

class TccCoordinator implements Coordinator {
  readonly owner: string;
  readonly #db: SqlDatabase;
  readonly #store: Store;
  readonly #runtime: Runtime;
  readonly #definitions = new Map<string, TccDefinition>();
  readonly #leaseMs: number;
  readonly #waiters: Waiters;
  readonly #worker: Worker;
  #closing: Promise<void> | undefined;

  constructor(options: CoordinatorOptions) {
    if (options.db.dialect !== 'postgres') {
      throw new InvalidOptionError(
        'db.dialect',
        options.db.dialect,
        '"postgres": the coordinator needs PostgreSQL',
      );
    }
    this.#db = options.db;
    this.#runtime = options.runtime ?? systemRuntime;
    this.owner = identifierOption('owner', options.owner ?? `coordinator-${randomId(this.#runtime)}`);
    this.#leaseMs = numberOption('leaseMs', options.leaseMs ?? 15_000, { min: 100, max: 86_400_000 });
    const pollMs = numberOption('pollMs', options.pollMs ?? 1000, { min: 10, max: 3_600_000 });
    for (const definition of options.definitions) {
      const key = keyOf(definition);
      if (this.#definitions.has(key)) {
        throw new InvalidOptionError('definitions', key, 'of different names or versions');
      }
      this.#definitions.set(key, definition);
    }
    this.#store = new Store(this.#db);
    this.#waiters = new Waiters(this.#runtime, pollMs, (ids) => this.#findEnded(ids));
    this.#worker = new Worker({
      db: this.#db,
      store: this.#store,
      runtime: this.#runtime,
      owner: this.owner,
      leaseMs: this.#leaseMs,
      pollMs,
      concurrency: integerOption('concurrency', options.concurrency ?? 64, { min: 1, max: 10_000 }),
      stuckAfter: integerOption('stuckAfter', options.stuckAfter ?? 10, { min: 1 }),
      definitions: [...this.#definitions.values()],
      definitionOf: (name, version) => this.#definitions.get(keyOf({ name, version })),
      onEnded: (outcome) => {
        this.#waiters.notify(outcome);
      },
    });
  }

  start(): void {
    this.#refuseWhenClosed('start');
    this.#worker.start();
  }

  async begin<Definition extends TccDefinition>(
    definition: Definition,
    options: BeginOptions<InputOf<Definition>>,
  ): Promise<BeginResult> {
    this.#refuseWhenClosed('begin');
    if (this.#definitions.get(keyOf(definition)) !== definition) {
      throw new InvalidOptionError(
        'definition',
        keyOf(definition),
        'one of those that the coordinator was created with',
      );
    }
    const { tx, dedupeKey } = options;
    if (tx !== undefined && tx.dialect !== this.#db.dialect) {
      throw new InvalidOptionError(
        'tx.dialect',
        tx.dialect,
        `${this.#db.dialect}, as the coordinator's database`,
      );
    }
    const row: Omit<BeginRow, 'lease'> = {
      id: options.id === undefined ? randomId(this.#runtime) : identifierOption('id', options.id),
      definition: definition.name,
      version: definition.version,
      input: encodeJson('input', options.input),
      record: initialRecord(definition.branchNames),
      dedupeKey: dedupeKey === undefined ? undefined : identifierOption('dedupeKey', dedupeKey),
      deadlineMs: definition.deadlineMs,
    };
    for (;;) {
      const created = tx === undefined ? await this.#insert(row) : await this.#enlist(row, tx);
      if (created) return { id: row.id, created };
      const existing = await this.#store.findBegun(tx, row);
      // Undefined when the one that stood in the way was pruned between the two statements.
      if (existing === undefined) continue;
      if (existing.definition === row.definition) return { id: existing.id, created };
      throw new SagaConflictError(row.id, row.definition, existing.definition);
    }
  }

  async status(id: string): Promise<TccInstance | undefined> {
    const [found] = await this.#store.find([identifierOption('id', id)]);
    return found === undefined ? undefined : instanceOf(found);
  }

  async wait<Definition extends TccDefinition = TccDefinition>(
    id: string,
    options: WaitOptions = {},
  ): Promise<TccOutcome<InputOf<Definition>, OutputsOf<Definition>>> {
    identifierOption('id', id);
    if (options.timeoutMs !== undefined) numberOption('timeoutMs', options.timeoutMs);
    this.#refuseWhenClosed('wait');
    options.signal?.throwIfAborted();
    // Registered before the look, so that an end in between is not missed.
    const outcome = this.#waiters.wait(id, options);
    if (!this.#worker.holds(id)) void this.#look(id);
    return outcome;
  }

  wake(): void {
    this.#worker.pollWithin(0);
  }

  async prune(options: { readonly olderThanMs: number; readonly limit?: number }): Promise<number> {
    return this.#store.prune(
      numberOption('olderThanMs', options.olderThanMs, { max: 3_000_000_000_000 }),
      integerOption('limit', options.limit ?? 1000, { min: 1, max: 100_000 }),
    );
  }

  async close(options: { readonly drainMs?: number } = {}): Promise<void> {
    const drainMs = numberOption('drainMs', options.drainMs ?? 10_000);
    this.#closing ??= this.#worker.close(drainMs).finally(() => {
      this.#waiters.close();
    });
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #refuseWhenClosed(what: string): void {
    if (this.#closing !== undefined) throw new CoordinatorClosedError(what);
  }

  async #insert(row: Omit<BeginRow, 'lease'>): Promise<boolean> {
    const sentAt = this.#runtime.monotonic();
    const lease = this.#worker.reserve() ? { owner: this.owner, leaseMs: this.#leaseMs } : undefined;
    let created = false;
    try {
      // A dedupe key may have to wait for somebody else's commit: nobody else shall wait with it.
      const alone = row.dedupeKey !== undefined;
      created = await (alone
        ? this.#store.beginIn(this.#db, { ...row, lease })
        : this.#store.begin({ ...row, lease }));
      if (created) this.#begun(row);
      return created;
    } finally {
      if (lease !== undefined) await this.#worker.unreserve(created ? claimedBy(row) : undefined, sentAt);
      else if (created) this.wake();
    }
  }

  async #enlist(row: Omit<BeginRow, 'lease'>, tx: SqlConnection): Promise<boolean> {
    const created = await this.#store.beginIn(tx, { ...row, lease: undefined });
    if (created) {
      this.#begun(row);
      this.#worker.expect();
    }
    return created;
  }

  #begun(row: Omit<BeginRow, 'lease'>): void {
    if (!tccSagaEvents.step.active) return;
    tccSagaEvents.step.publish({ point: 'begun', id: row.id, definition: row.definition, owner: this.owner });
  }

  /** Looks once where a wait begins. */
  async #look(id: string): Promise<void> {
    try {
      const [found] = await this.#store.find([id]);
      if (found === undefined) this.#waiters.fail(id, new SagaNotFoundError(id));
      else if (isTerminal(found.record.status)) this.#waiters.notify(outcomeOf(found));
      else this.wake();
    } catch (error) {
      this.#waiters.fail(id, error);
    }
  }

  async #findEnded(ids: readonly string[]): Promise<readonly TccOutcome[]> {
    try {
      const found = await this.#store.find(ids);
      return found.filter((one) => isTerminal(one.record.status)).map(outcomeOf);
    } catch (error) {
      // Who waits has a deadline of their own; the next poll may do better.
      if (tccSagaEvents.error.active) {
        tccSagaEvents.error.publish({ owner: this.owner, during: 'wait', error });
      }
      return [];
    }
  }
}

function keyOf(definition: Pick<TccDefinition, 'name' | 'version'>): string {
  return `${definition.name} version ${String(definition.version)}`;
}

/** An instance that was inserted with its first claim made. */
function claimedBy(row: Omit<BeginRow, 'lease'>): ClaimedInstance {
  const { id, definition, version, record } = row;
  const input = JSON.parse(row.input) as unknown;
  return { id, definition, version, record, input, fence: 1, attempts: 1, remainingMs: row.deadlineMs };
}

function instanceOf(found: StoredInstance): TccInstance {
  const { id, definition, version, record, input, error, attempts, owner, endedMs } = found;
  return {
    id,
    definition,
    version,
    status: record.status,
    reason: record.reason,
    input,
    branches: record.branches,
    error,
    attempts,
    owner,
    createdAt: new Date(found.createdMs),
    deadlineAt: new Date(found.deadlineMs),
    nextRunAt: endedMs === undefined ? new Date(found.nextRunMs) : undefined,
    endedAt: endedMs === undefined ? undefined : new Date(endedMs),
  };
}
