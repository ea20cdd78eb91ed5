import {
  choiceOption,
  integerOption,
  InvalidOptionError,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import { isUndefinedTable, type SqlConnection } from '@quorate/sql';
import { OutboxNotMigratedError } from './errors.js';
import { type MessageRow, type OutgoingMessage, type Topics, toRow } from './message.js';
import { sql } from './sql.gen.js';
import { checkTransaction, type Transaction } from './transaction.js';

/** How messages are published. */
export interface OutboxOptions {
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
  /**
   * Which order the messages of a key have. `commit`: that of the commits; a transaction that publishes holds a lock
   * on the key until it ends, and others that publish for the key wait. `insert`: that of the calls of `publish`,
   * without a lock; it is the order of the commits only where the transaction has locked the key's row before.
   * @defaultValue 'commit'
   */
  readonly order?: 'commit' | 'insert';
  /**
   * The most bytes of a payload as JSON. A relay holds up to `maxInFlight` payloads in memory.
   * @defaultValue 262_144
   */
  readonly maxPayloadBytes?: number;
  /**
   * The most bytes of the headers as JSON.
   * @defaultValue 16_384
   */
  readonly maxHeaderBytes?: number;
}

/** What is in the outbox. */
export interface OutboxStatus {
  /** Messages that are committed and not published. */
  readonly pending: number;
  /** Age of the oldest of them in milliseconds; zero without any. */
  readonly oldestMs: number;
  /** Keys that wait after a failure. */
  readonly blockedKeys: number;
  /** Messages that were given up. */
  readonly dead: number;
  readonly partitions: number;
  /** Partitions that some relay holds. */
  readonly leasedPartitions: number;
  /** Relays that are alive. */
  readonly relays: readonly string[];
}

/** Publishes within transactions. */
export interface Outbox<T extends object = Topics> {
  /**
   * Adds messages to the outbox as part of `tx`: they are published if and only if it commits, those of one topic and
   * key in the order of the commits and, within a call, in the order given. One statement, whatever their number.
   *
   * Two transactions that publish for the same two keys in separate calls and in opposite order deadlock; the
   * database ends one of them, and `SqlDatabase.transaction` runs it again. One call with both messages cannot.
   *
   * Returns the ids. Throws `InvalidOptionError` or {@link InvalidMessageError} before anything is written, and
   * {@link OutboxNotMigratedError} when the tables are missing.
   */
  publish(tx: Transaction, messages: OutgoingMessage<T> | readonly OutgoingMessage<T>[]): Promise<string[]>;
  /** Counts what is there. Reads the whole outbox: for a dashboard, not for every request. */
  status(connection: SqlConnection): Promise<OutboxStatus>;
}

/** The most messages of one call: it bounds the statement that goes over the wire. */
const MAX_MESSAGES = 10_000;
/** However many keys a transaction publishes for, it holds no more locks than this. */
const LOCK_SLOTS = 4_096;
/** The first half of the advisory locks' numbers; the second half is the slot. "QOBX" in ASCII. */
const LOCK_CLASS = 0x514f4258;
const PUBLISH = sql.publish.replace('{lock_class}', String(LOCK_CLASS));

/**
 * Publishes messages in the transactions of a service. The payloads are checked against `Topics` at compile time:
 * `createOutbox<{ 'order.confirmed': { orderId: string } }>()`.
 */
export function createOutbox<T extends object = Topics>(options: OutboxOptions = {}): Outbox<T> {
  const runtime = options.runtime ?? systemRuntime;
  const order = choiceOption('order', options.order ?? 'commit', ['commit', 'insert']);
  const bounds = {
    maxPayloadBytes: integerOption('maxPayloadBytes', options.maxPayloadBytes ?? 262_144, {
      min: 2,
      max: 64 * 2 ** 20,
    }),
    maxHeaderBytes: integerOption('maxHeaderBytes', options.maxHeaderBytes ?? 16_384, {
      min: 2,
      max: 2 ** 20,
    }),
  };
  return {
    async publish(tx, messages) {
      checkTransaction(tx, 'outbox.publish');
      postgresOnly(tx);
      const many = Array.isArray(messages);
      const list = (many ? messages : [messages]) as readonly OutgoingMessage[];
      if (list.length > MAX_MESSAGES)
        throw new InvalidOptionError(
          'messages',
          messages,
          `at most ${String(MAX_MESSAGES)} messages in a call`,
        );
      if (list.length === 0) return [];
      const rows = list.map((message, index) =>
        toRow(message, many ? `messages[${String(index)}]` : 'message', runtime, bounds),
      );
      await insert(tx, rows, order === 'commit' ? lockSlots(rows) : []);
      return rows.map(({ id }) => id);
    },
    async status(connection) {
      postgresOnly(connection);
      const { rows } = await connection.query<{ status: string }>(sql.status);
      return JSON.parse(rows[0]?.status ?? '') as OutboxStatus;
    },
  };
}

async function insert(tx: Transaction, rows: readonly MessageRow[], slots: readonly number[]): Promise<void> {
  const inserted = tx.query(PUBLISH, [
    slots,
    rows.map(({ keyHash }) => keyHash),
    rows.map(({ id }) => id),
    rows.map(({ topic }) => topic),
    rows.map(({ key }) => key),
    rows.map(({ payload }) => payload),
    rows.map(({ headers }) => headers),
  ]);
  const { rowCount } = await inserted.catch((error: unknown) => {
    if (!isUndefinedTable(error)) throw error;
    throw new OutboxNotMigratedError('the outbox tables are missing', { cause: error });
  });
  // The partition comes from the row of outbox_settings, so that no publisher can disagree with the relays.
  if (rowCount !== rows.length) throw new OutboxNotMigratedError('outbox_settings has no row');
}

/** The locks to take, in one order for all transactions. */
function lockSlots(rows: readonly MessageRow[]): number[] {
  const slots = new Set<number>();
  for (const { ordered, keyHash } of rows) if (ordered) slots.add((keyHash >>> 0) % LOCK_SLOTS);
  return [...slots].sort((a, b) => a - b);
}

function postgresOnly(connection: SqlConnection): void {
  if (connection.dialect !== 'postgres')
    throw new InvalidOptionError('tx.dialect', connection.dialect, `'postgres': the outbox needs PostgreSQL`);
}
