import { abortable, deadline, type Runtime } from '@quorate/runtime';
import type { SqlDatabase, SqlResult } from '@quorate/sql';
import type { Deliverable, Verdict } from './core/delivery.js';
import { OutboxNotMigratedError } from './errors.js';
import type { Message, Topics } from './message.js';
import { sql } from './sql.gen.js';

/** A message in the hands of a relay. */
export interface Fetched<T extends object = Topics> extends Deliverable {
  readonly message: Message<T>;
  /** The fence of its partition when it was fetched. */
  readonly fence: string;
}

/** A message and what is to become of it. */
export interface Judged<T extends object = Topics> {
  readonly fetched: Fetched<T>;
  readonly verdict: Verdict;
}

/** Partitions and the fences under which they are held. A fence is a 64-bit integer as text. */
export type Leases = ReadonlyMap<number, string>;

/** What a heartbeat found. */
export interface Heartbeat {
  readonly held: readonly number[];
  readonly free: number;
  readonly partitions: number;
  readonly relays: readonly string[];
}

interface MessageColumns {
  readonly partition: number;
  readonly seq: string;
  readonly key_hash: number;
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly payload: string;
  readonly headers: string;
  readonly attempts: number;
  readonly created_at: number;
}

const MAX_REASON_CHARACTERS = 2_000;

/** The statements of a relay. Leases are kept by the clock of the database, so that no relay's clock matters. */
export class RelayStore<T extends object> {
  readonly #db: SqlDatabase;
  readonly #runtime: Runtime;
  readonly #owner: string;
  readonly #leaseMs: number;

  constructor(options: {
    readonly db: SqlDatabase;
    readonly runtime: Runtime;
    readonly owner: string;
    readonly leaseMs: number;
  }) {
    this.#db = options.db;
    this.#runtime = options.runtime;
    this.#owner = options.owner;
    this.#leaseMs = options.leaseMs;
  }

  /** Throws {@link OutboxNotMigratedError} unless the tables are there. */
  async check(): Promise<void> {
    const { rows } = await this.#query<{ found: boolean }>(
      `select to_regprocedure('outbox_fetch(integer[],integer[],integer)') is not null as found`,
    );
    if (rows[0]?.found !== true) throw new OutboxNotMigratedError('the outbox tables are missing');
  }

  async heartbeat(leases: Leases): Promise<Heartbeat> {
    const { rows } = await this.#query<{ view: string }>(sql.heartbeat, [
      this.#owner,
      this.#leaseMs,
      [...leases.keys()],
      [...leases.values()],
    ]);
    return JSON.parse(rows[0]?.view ?? '') as Heartbeat;
  }

  async acquire(count: number, held: Leases): Promise<Map<number, string>> {
    const { rows } = await this.#query<{ partition: number; fence: string }>(sql.acquire, [
      this.#owner,
      this.#leaseMs,
      count,
      [...held.keys()],
    ]);
    return new Map(rows.map(({ partition, fence }) => [partition, fence]));
  }

  async release(leases: Leases): Promise<void> {
    await this.#query(sql.release, [this.#owner, [...leases.keys()], [...leases.values()]]);
  }

  /** Gives up everything, so that other relays need not wait for the leases to end. */
  async leave(leases: Leases): Promise<void> {
    await this.release(leases);
    await this.#query('delete from outbox_relay where owner = $1', [this.#owner]);
  }

  async fetch(
    partitions: readonly number[],
    leases: Leases,
    keysInFlight: readonly number[],
    limit: number,
  ): Promise<Fetched<T>[]> {
    const { rows } = await this.#query<MessageColumns>(sql.fetch, [partitions, keysInFlight, limit]);
    return rows.map((row) => {
      const seq = Number(row.seq);
      const { partition, topic, key, attempts } = row;
      return {
        partition,
        seq,
        topic,
        key,
        keyHash: row.key_hash,
        attempts,
        alone: key === row.id,
        fence: leases.get(partition) ?? '0',
        message: {
          id: row.id,
          topic,
          key,
          payload: JSON.parse(row.payload) as unknown,
          headers: JSON.parse(row.headers) as Record<string, string>,
          createdAt: row.created_at,
          attempts,
          partition,
          seq,
        } as Message<T>,
      };
    });
  }

  /** Writes the verdicts down. Returns how many changed nothing because their partition has another owner. */
  async settle(judged: readonly Judged<T>[]): Promise<number> {
    const acked: Fetched<T>[] = [];
    const failed: { fetched: Fetched<T>; delayMs: number | null; error: unknown; block: boolean }[] = [];
    for (const { fetched, verdict } of judged) {
      if (verdict.do === 'ack') acked.push(fetched);
      else if (verdict.do === 'retry')
        failed.push({ fetched, delayMs: verdict.delayMs, error: verdict.error, block: false });
      else if (verdict.do === 'bury')
        failed.push({ fetched, delayMs: null, error: verdict.error, block: verdict.blockKey });
    }
    let settled = 0;
    if (acked.length > 0) settled += (await this.#query(sql.ack, this.#places(acked))).rowCount;
    if (failed.length > 0) {
      const { rows } = await this.#query<{ settled: number }>(sql.fail, [
        ...this.#places(failed.map(({ fetched }) => fetched)),
        failed.map(({ error }) => reasonOf(error)),
        failed.map(({ delayMs }) => delayMs),
        failed.map(({ block }) => block),
      ]);
      settled += rows[0]?.settled ?? 0;
    }
    return acked.length + failed.length - settled;
  }

  /** A connection that died silently may keep a statement for hours; the leases it is about last no longer than this. */
  async #query<Row>(text: string, values?: readonly unknown[]): Promise<SqlResult<Row>> {
    const limit = deadline(this.#runtime, this.#leaseMs, { what: 'a statement of the relay' });
    try {
      return await abortable(this.#db.query<Row>(text, values), limit.signal);
    } finally {
      limit[Symbol.dispose]();
    }
  }

  #places(messages: readonly Fetched<T>[]): unknown[] {
    return [
      this.#owner,
      messages.map(({ partition }) => partition),
      messages.map(({ fence }) => fence),
      messages.map(({ seq }) => seq),
    ];
  }
}

/** An error as the tables keep it: PostgreSQL's text holds no NUL. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replaceAll('\u0000', '').slice(0, MAX_REASON_CHARACTERS);
}
