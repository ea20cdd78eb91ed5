import {
  backoffDelayMs,
  type BackoffOptions,
  choiceOption,
  identifierOption,
  integerOption,
  InvalidOptionError,
  numberOption,
  randomId,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import type { SqlDatabase } from '@quorate/sql';
import type { CallShape, RetryPolicy } from './core/delivery.js';
import type { Topics } from './message.js';
import { callBatch, callHandlers, type Handlers, type PublishBatch, type PublishCall } from './publisher.js';

/**
 * Begins to listen for hints that something was committed, and calls `wake` for every hint and whenever hints may have
 * been missed. Resolves, once it listens, with a function that ends it.
 */
export type HintSource = (wake: () => void) => Promise<() => Promise<void>>;

/** How a relay works. */
export interface RelayOptions<T extends object = Topics> {
  /** The database with the outbox. The relay uses up to three of its connections at a time. PostgreSQL. */
  readonly db: SqlDatabase;
  /** Where messages go: one function for batches, or a handler per topic. */
  readonly publish: PublishBatch<T> | Handlers<T>;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
  /**
   * The beginning of the relay's name in the tables; a random end keeps it apart from its predecessors. At most 200
   * bytes.
   * @defaultValue 'relay'
   */
  readonly owner?: string;
  /**
   * How long a partition stays with a relay that is not heard of any more, in milliseconds. It is renewed at a third
   * of that; after a crash others wait so long before they take over.
   * @defaultValue 10_000
   */
  readonly leaseMs?: number;
  /**
   * The most messages that are fetched at a time and handed over in one call.
   * @defaultValue 500
   */
  readonly batchSize?: number;
  /**
   * The most messages that are fetched and not yet settled. At least `batchSize`.
   * @defaultValue 2_000
   */
  readonly maxInFlight?: number;
  /**
   * The most calls of the publisher, or of handlers, at a time.
   * @defaultValue 16
   */
  readonly concurrency?: number;
  /**
   * Whether a batch may hold several messages of one key. `apart` is for publishers that send the messages of a
   * batch side by side, and so cannot hold back the second when the first fails. Handlers need neither.
   * @defaultValue 'together'
   */
  readonly sameKey?: 'together' | 'apart';
  /**
   * The longest delay between two looks at an empty outbox, in milliseconds. After a message it begins at 5 ms and
   * doubles. A hint makes it irrelevant, a lost hint costs this much.
   * @defaultValue 100
   */
  readonly pollMs?: number;
  /**
   * How long a call of the publisher may take before its signal aborts and its messages count as failed, in
   * milliseconds.
   * @defaultValue 30_000
   */
  readonly publishTimeoutMs?: number;
  /**
   * Attempts in all before a message becomes a dead letter; `Infinity` for never.
   * @defaultValue 25
   */
  readonly maxAttempts?: number;
  /**
   * What becomes of a key after one of its messages became a dead letter. `block-key` keeps the order: later
   * messages wait until the dead one is redriven or discarded. `continue-key` goes on without it.
   * @defaultValue 'block-key'
   */
  readonly afterDead?: 'block-key' | 'continue-key';
  /**
   * How the delay between attempts grows.
   * @defaultValue full jitter from 100 ms to 5 minutes
   */
  readonly backoff?: BackoffOptions;
  /** Hints that spare the wait for the next look; see {@link RelayOptions.pollMs}. */
  readonly hints?: HintSource;
}

/** Options with every default in place. */
export interface RelaySettings<T extends object> {
  readonly db: SqlDatabase;
  readonly publish: PublishCall<T>;
  readonly shape: CallShape;
  readonly policy: RetryPolicy;
  readonly runtime: Runtime;
  readonly owner: string;
  readonly leaseMs: number;
  readonly batchSize: number;
  readonly maxInFlight: number;
  readonly concurrency: number;
  readonly pollMs: number;
  readonly publishTimeoutMs: number;
  readonly hints: HintSource | undefined;
}

const MAX_BATCH = 10_000;
const MAX_OWNER_BYTES = 200;

/** Checks the options and fills in the defaults. Throws `InvalidOptionError`, which names the option. */
export function relaySettings<T extends object>(options: RelayOptions<T>): RelaySettings<T> {
  const { db, publish, runtime = systemRuntime } = options;
  if (typeof (db as Partial<SqlDatabase> | undefined)?.transaction !== 'function')
    throw new InvalidOptionError('db', db, 'a SqlDatabase, such as pgDatabase(pool) of @quorate/sql/pg');
  if (db.dialect !== 'postgres') throw new InvalidOptionError('db.dialect', db.dialect, `'postgres'`);
  const owner = identifierOption('owner', options.owner ?? 'relay');
  if (Buffer.byteLength(owner) > MAX_OWNER_BYTES)
    throw new InvalidOptionError('owner', owner, `at most ${String(MAX_OWNER_BYTES)} bytes long`);
  const batchSize = integerOption('batchSize', options.batchSize ?? 500, { min: 1, max: MAX_BATCH });
  const sameKey = choiceOption('sameKey', options.sameKey ?? 'together', ['together', 'apart']);
  const growth: BackoffOptions = { minMs: 100, maxMs: 300_000, ...options.backoff };
  backoffDelayMs(runtime, 1, growth);
  const { maxAttempts = 25 } = options;
  return {
    db,
    publish: typeof publish === 'function' ? callBatch(publish) : callHandlers(handlersOption(publish)),
    shape: { callOf: typeof publish !== 'function' ? 'key' : sameKey === 'apart' ? 'apart' : 'page' },
    policy: {
      maxAttempts:
        maxAttempts === Number.POSITIVE_INFINITY
          ? maxAttempts
          : integerOption('maxAttempts', maxAttempts, { min: 1 }),
      afterDead: choiceOption('afterDead', options.afterDead ?? 'block-key', ['block-key', 'continue-key']),
      delayMs: (attempts) => backoffDelayMs(runtime, attempts, growth),
    },
    runtime,
    owner: `${owner}-${randomId(runtime).slice(0, 16)}`,
    leaseMs: numberOption('leaseMs', options.leaseMs ?? 10_000, { min: 100, max: 3_600_000 }),
    batchSize,
    maxInFlight: integerOption('maxInFlight', options.maxInFlight ?? Math.max(2_000, batchSize), {
      min: batchSize,
      max: 10 * MAX_BATCH,
    }),
    concurrency: integerOption('concurrency', options.concurrency ?? 16, { min: 1, max: MAX_BATCH }),
    pollMs: numberOption('pollMs', options.pollMs ?? 100, { min: 1 }),
    publishTimeoutMs: numberOption('publishTimeoutMs', options.publishTimeoutMs ?? 30_000, { min: 1 }),
    hints: options.hints,
  };
}

function handlersOption<T extends object>(handlers: Handlers<T>): Handlers<T> {
  if (typeof handlers !== 'object' || (handlers as unknown) === null || Object.keys(handlers).length === 0)
    throw new InvalidOptionError('publish', handlers, 'a function, or an object with a handler per topic');
  for (const [topic, handler] of Object.entries(handlers)) {
    if (typeof handler !== 'function')
      throw new InvalidOptionError(`publish[${JSON.stringify(topic)}]`, handler, 'a function');
  }
  return handlers;
}
