import {
  abortable,
  type Backoff,
  backoff,
  deadline,
  eventChannel,
  functionOption,
  linkSignals,
  numberOption,
  randomId,
  type Runtime,
  sleep,
  systemRuntime,
} from '@quorate/runtime';
import { quoteIdentifier, SqlError } from '@quorate/sql';
import type { PgPool, PgPoolClient } from './pg.js';

/** What a listener takes. Times are in milliseconds. */
export interface PgListenerOptions {
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
  /**
   * How often the connection is asked whether it still lives, and how long it has to answer: a peer that vanished
   * without a word is noticed after at most twice as long.
   * @defaultValue 15_000
   */
  readonly pingMs?: number;
  /**
   * How long the notification of the first test may take.
   * @defaultValue 5_000
   */
  readonly selfTestMs?: number;
  /**
   * The bound of the first delay before it connects again; it doubles up to `maxMs`, with full jitter.
   * @defaultValue 50
   */
  readonly minMs?: number;
  /** @defaultValue 10_000 */
  readonly maxMs?: number;
}

/** One channel's listener. */
export interface ListenOptions {
  /**
   * Called after the connection was lost and LISTEN is in force again: notifications may have been missed, and
   * whatever they stand for has to be looked for.
   */
  readonly missed?: () => void;
  /** Ends the waiting for LISTEN; it does not end the listening later. */
  readonly signal?: AbortSignal;
}

/** Hears NOTIFY on any number of channels over one connection, which it replaces when it is lost. */
export interface PgListener extends AsyncDisposable {
  /**
   * Listens on a channel and resolves once LISTEN is in force: every notification that is committed from then on
   * is heard, or `missed` is called. While the server cannot be reached it goes on trying. The function that it
   * resolves with ends this listening.
   *
   * @throws ListenUnavailableError when notifications do not come through, as behind a transaction pooler: poll
   * instead.
   */
  listen(
    channel: string,
    hear: (payload: string) => void,
    options?: ListenOptions,
  ): Promise<() => Promise<void>>;
  /** Stops listening and gives the connection back. Close it before the pool. */
  close(): Promise<void>;
}

/**
 * Notifications that are sent do not arrive: between this process and the server is something like a transaction
 * pooler, where the session that listens is not the one that is heard. Nothing is listened to. Poll instead, or
 * connect to the server itself. Code `LISTEN_UNAVAILABLE`.
 */
export class ListenUnavailableError extends SqlError {
  static override readonly brand: string = '@quorate/sql#ListenUnavailableError';

  constructor(cause: unknown) {
    super(
      'LISTEN_UNAVAILABLE',
      'a notification to the listening connection did not arrive (is a transaction pooler in between?); ' +
        'poll instead, or connect to the server itself',
      { cause },
    );
  }
}

/** What happens to a listener's connection: `quorate:sql:listener`. */
export interface ListenerEvent {
  readonly state: 'listening' | 'lost';
  readonly channels: readonly string[];
  /** Why the connection was lost, or could not be had. */
  readonly error?: unknown;
}

const events = eventChannel<ListenerEvent>('sql', 'listener');

/**
 * A listener on a connection of the pool, which it keeps for as long as it listens. Before the first LISTEN it
 * sends itself a notification over a second connection, to find out whether notifications come through at all.
 */
export function pgListener(pool: PgPool, options: PgListenerOptions = {}): PgListener {
  return new Listener(pool, options);
}

interface Subscription {
  readonly channel: string;
  readonly hear: (payload: string) => void;
  readonly missed: (() => void) | undefined;
  /** Settles the call of `listen`; later calls do nothing. */
  readonly settle: (error?: Error) => void;
  /** Whether LISTEN was in force for it once, so that there is something to miss. */
  inForce: boolean;
}

/** The connection in use. */
interface Current {
  readonly client: NotifiedClient;
  /** Those that LISTEN is in force for. */
  readonly channels: Set<string>;
  /** Gives the connection back. */
  readonly leave: () => void;
}

interface Notification {
  readonly channel: string;
  readonly payload?: string;
}

/** A client that hears notifications. */
type NotifiedClient = PgPoolClient & {
  on(event: 'notification', hear: (notification: Notification) => void): unknown;
  removeListener(event: 'notification', hear: (notification: Notification) => void): unknown;
};

class Listener implements PgListener {
  readonly #runtime: Runtime;
  readonly #pingMs: number;
  readonly #selfTestMs: number;
  readonly #delays: Backoff;
  readonly #subscriptions = new Set<Subscription>();
  readonly #closing = new AbortController();
  /** The loop that keeps a connection while anybody listens. */
  #running: Promise<void> | undefined;
  #current: Current | undefined;
  #tested = false;

  constructor(
    private readonly pool: PgPool,
    { runtime = systemRuntime, pingMs = 15_000, selfTestMs = 5_000, ...delays }: PgListenerOptions,
  ) {
    this.#runtime = runtime;
    this.#pingMs = numberOption('pingMs', pingMs, { min: 1 });
    this.#selfTestMs = numberOption('selfTestMs', selfTestMs, { min: 1 });
    this.#delays = backoff(runtime, delays);
  }

  async listen(
    channel: string,
    hear: (payload: string) => void,
    { missed, signal }: ListenOptions = {},
  ): Promise<() => Promise<void>> {
    quoteIdentifier('postgres', channel);
    functionOption('hear', hear);
    signal?.throwIfAborted();
    if (this.#closed()) throw closedError();
    const ready = once();
    const settle = (error?: Error): void => {
      if (error === undefined) ready.resolve();
      else ready.reject(error);
    };
    const subscription: Subscription = { channel, hear, missed, settle, inForce: false };
    this.#subscriptions.add(subscription);
    if (this.#current === undefined) this.#running ??= this.#run();
    else this.#bringInForce(this.#current).catch(() => undefined);
    try {
      await abortable(ready.promise, signal);
    } catch (error) {
      await this.#end(subscription);
      throw error;
    }
    return () => this.#end(subscription);
  }

  async close(): Promise<void> {
    this.#closing.abort(closedError());
    for (const { settle } of this.#subscriptions) settle(closedError());
    this.#subscriptions.clear();
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(subscription: Subscription): Promise<void> {
    this.#subscriptions.delete(subscription);
    const { channel } = subscription;
    const current = this.#current;
    if (this.#subscriptions.size === 0) {
      current?.leave();
      await this.#running;
      return;
    }
    if (current?.channels.has(channel) !== true || this.#channels().has(channel)) return;
    current.channels.delete(channel);
    // A connection on which this fails is lost, and nothing is listened to there.
    await current.client.query(`unlisten ${quoteIdentifier('postgres', channel)}`).catch(() => undefined);
  }

  #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #channels(): Set<string> {
    return new Set(Array.from(this.#subscriptions, ({ channel }) => channel));
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!this.#closed() && this.#subscriptions.size > 0) {
      try {
        await this.#listenUntilLost();
      } catch (error) {
        if (error instanceof ListenUnavailableError) {
          for (const { settle } of this.#subscriptions) settle(error);
          this.#subscriptions.clear();
        } else if (!this.#closed()) {
          this.#announce('lost', error);
          await sleep(this.#runtime, this.#delays.nextMs(), { signal }).catch(() => undefined);
        }
      }
    }
    this.#running = undefined;
  }

  /** Keeps one connection. Resolves when nobody listens any more, and rejects when the connection is lost. */
  async #listenUntilLost(): Promise<void> {
    const client = await this.#connect();
    const link = linkSignals(this.#closing.signal);
    const end = once();
    const hear = ({ channel, payload = '' }: Notification): void => {
      this.#deliver(channel, payload);
    };
    client.on('error', end.reject);
    client.on('notification', hear);
    link.signal.addEventListener('abort', () => {
      end.resolve();
    });
    const current: Current = {
      client,
      channels: new Set(),
      leave: () => {
        this.#current = undefined;
        link.abort();
      },
    };
    try {
      await Promise.race([this.#keep(current, link.signal), end.promise]);
      await this.#giveBack(client);
      client.removeListener('error', end.reject);
    } catch (error) {
      client.release(true);
      throw error;
    } finally {
      this.#current = undefined;
      client.removeListener('notification', hear);
      link[Symbol.dispose]();
    }
  }

  async #connect(): Promise<NotifiedClient> {
    const connecting = this.pool.connect() as Promise<NotifiedClient>;
    try {
      return await abortable(connecting, this.#closing.signal);
    } catch (error) {
      connecting.then(
        (late) => {
          late.release();
        },
        () => undefined,
      );
      throw error;
    }
  }

  /** Brings the listening in force and pings from then on; rejects when the connection fails or `signal` aborts. */
  async #keep(current: Current, signal: AbortSignal): Promise<void> {
    if (!this.#tested) await this.#selfTest(current.client);
    this.#tested = true;
    signal.throwIfAborted();
    this.#current = current;
    const before = [...this.#subscriptions].filter(({ inForce }) => inForce);
    await this.#bringInForce(current);
    this.#delays.reset();
    this.#announce('listening');
    for (const { missed } of before) outside(() => missed?.());
    for (;;) {
      await sleep(this.#runtime, this.#pingMs, { signal, keepAlive: false });
      await this.#answer(current.client, 'select 1');
    }
  }

  /** Issues LISTEN for every channel that lacks it, and then settles those who wait for one. */
  async #bringInForce(current: Current): Promise<void> {
    for (const channel of this.#channels()) {
      if (this.#current !== current) return;
      if (current.channels.has(channel)) continue;
      await current.client.query(`listen ${quoteIdentifier('postgres', channel)}`);
      current.channels.add(channel);
    }
    for (const subscription of this.#subscriptions) {
      if (!current.channels.has(subscription.channel)) continue;
      subscription.inForce = true;
      subscription.settle();
    }
  }

  /**
   * Sends a notification over another connection. Over the same one it would come through a transaction pooler
   * as well, where LISTEN does not.
   */
  async #selfTest(client: NotifiedClient): Promise<void> {
    const channel = `quorate_test_${randomId(this.#runtime)}`;
    const limit = deadline(this.#runtime, this.#selfTestMs, { what: 'a notification to itself' });
    const arrived = once();
    const hear = (notification: Notification): void => {
      if (notification.channel === channel) arrived.resolve();
    };
    client.on('notification', hear);
    try {
      await client.query(`listen ${channel}`);
      await this.pool.query('select pg_notify($1, $2)', [channel, '']);
      await abortable(arrived.promise, limit.signal).catch((error: unknown) => {
        throw new ListenUnavailableError(error);
      });
      await client.query(`unlisten ${channel}`);
    } finally {
      client.removeListener('notification', hear);
      limit[Symbol.dispose]();
    }
  }

  /** Runs a statement that has to be answered within the time of a ping. */
  async #answer(client: NotifiedClient, statement: string): Promise<void> {
    const limit = deadline(this.#runtime, this.#pingMs, { what: 'a statement of a listening connection' });
    try {
      await abortable(client.query(statement), limit.signal);
    } finally {
      limit[Symbol.dispose]();
    }
  }

  /** Returns a connection without the channels that it listened on. */
  async #giveBack(client: NotifiedClient): Promise<void> {
    await this.#answer(client, 'unlisten *');
    client.release();
  }

  #deliver(channel: string, payload: string): void {
    for (const one of this.#subscriptions) {
      if (one.channel === channel) outside(() => one.hear(payload));
    }
  }

  #announce(state: ListenerEvent['state'], error?: unknown): void {
    if (!events.active) return;
    events.publish({ state, channels: [...this.#channels()], ...(error === undefined ? {} : { error }) });
  }
}

/** Calls what the user gave; its error is an uncaught exception of its own and stops nobody else. */
function outside(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

interface Once {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Something that happens once, or fails; nobody has to wait for it. */
function once(): Once {
  let resolve: Once['resolve'] = () => undefined;
  let reject: Once['reject'] = () => undefined;
  const promise = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

function closedError(): SqlError {
  return new SqlError('LISTENER_CLOSED', 'this listener was closed');
}
