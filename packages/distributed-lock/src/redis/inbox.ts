import type { ClaimWatch } from '@quorate/distributed-lock';
import { backoff, randomId, type Runtime, type Timer } from '@quorate/runtime';
import type { Redis } from 'ioredis';
import type { RedisClient } from './scripts.js';

/**
 * Where the servers tell this process which of its waiting claims were granted: one channel, heard on one connection of
 * its own, which is opened when first somebody waits. All backends of one client share it.
 *
 * An ordinary channel rather than a sharded one: a sharded one would need a connection to each shard, and Redis 7.
 * What is published while the connection is away is lost; then everybody asks again.
 */
export class Inbox {
  static readonly #open = new WeakMap<RedisClient, Inbox>();

  readonly channel: string;
  readonly #client: RedisClient;
  readonly #runtime: Runtime;
  readonly #watches = new Map<string, Watched>();
  readonly #pauses;
  #users = 0;
  #subscriber: Redis | undefined;
  #subscribed = false;
  #retry: Timer | undefined;

  private constructor(client: RedisClient, runtime: Runtime) {
    this.#client = client;
    this.#runtime = runtime;
    this.#pauses = backoff(runtime, { minMs: 50, maxMs: 2_000 });
    this.channel = `quorate:lock:inbox:${randomId(runtime)}`;
  }

  /** The inbox of a client. Each `join` takes a {@link Inbox.leave}. */
  static join(client: RedisClient, runtime: Runtime): Inbox {
    let inbox = Inbox.#open.get(client);
    if (inbox === undefined) {
      inbox = new Inbox(client, runtime);
      Inbox.#open.set(client, inbox);
    }
    inbox.#users++;
    return inbox;
  }

  /** `user` joined and wants to hear no more. */
  leave(user: object): void {
    for (const [owner, watched] of this.#watches) if (watched.user === user) this.#watches.delete(owner);
    if (--this.#users > 0) return;
    Inbox.#open.delete(this.#client);
    this.#retry?.cancel();
    this.#subscriber?.disconnect();
    this.#subscriber = undefined;
    this.#subscribed = false;
  }

  /** Whether something may be said before it is known who waits. Most processes never have anybody who does. */
  get open(): boolean {
    return this.#subscriber !== undefined;
  }

  /** Somebody is about to claim, and may wait: what is said to it can arrive before the answer. */
  expect(owner: string, watched: Watched): void {
    this.#watches.set(owner, watched);
  }

  /** Somebody waits. If nothing was heard until now, it is told to ask again as soon as it is. */
  listen(owner: string, watched: Watched): void {
    const expected = this.#watches.has(owner);
    this.#watches.set(owner, watched);
    if (this.#subscriber === undefined && this.#retry === undefined && this.#users > 0) this.#connect();
    else if (!expected && this.#subscribed) watched.watch.changed();
  }

  remove(owner: string): void {
    if (this.#watches.size > 0) this.#watches.delete(owner);
  }

  #connect(): void {
    const node = 'nodes' in this.#client ? pick(this.#client.nodes('all'), this.#runtime) : this.#client;
    if (node === undefined) {
      this.#later();
      return;
    }
    const subscriber = node.duplicate({
      lazyConnect: true,
      autoResubscribe: false,
      retryStrategy: () => null,
    });
    this.#subscriber = subscriber;
    // Its failures show in its end; the claims that wait go on asking meanwhile.
    subscriber.on('error', () => undefined);
    subscriber.on('message', (channel: string, message: string) => {
      if (channel === this.channel) this.#tell(message);
    });
    subscriber.once('end', () => {
      if (this.#subscriber !== subscriber) return;
      this.#subscriber = undefined;
      this.#subscribed = false;
      this.#later();
    });
    subscriber
      .connect()
      .then(
        () =>
          subscriber.subscribe(this.channel).then(() => {
            this.#pauses.reset();
            this.#subscribed = this.#subscriber === subscriber;
            this.#askAgain();
          }),
        () => undefined,
      )
      .catch(() => {
        subscriber.disconnect();
      });
  }

  #later(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    // Who waits later calls `listen` again.
    if (this.#watches.size === 0 || this.#users === 0) return;
    this.#retry = this.#runtime.setTimer(this.#pauses.nextMs(), () => {
      this.#retry = undefined;
      this.#connect();
    });
  }

  #askAgain(): void {
    for (const { watch } of [...this.#watches.values()]) watch.changed();
  }

  #tell(message: string): void {
    const [owner = '', fenceText, validText] = message.split('\n');
    const watched = this.#watches.get(owner);
    if (watched === undefined) return;
    const [fence, validMs] = [Number(fenceText), Math.min(Number(validText), watched.leaseMs ?? 0)];
    // What is not from our scripts says no more than that something may have changed.
    if (Number.isSafeInteger(fence) && validMs > 0)
      watched.watch.changed({ state: 'granted', fence, validMs });
    else watched.watch.changed();
  }
}

/** Who hears what is said to an owner. */
export interface Watched {
  readonly user: object;
  readonly watch: ClaimWatch;
  /** The lease that it asked for; a grant is not believed where it is not known. */
  readonly leaseMs: number | undefined;
}

function pick<T>(of: readonly T[], runtime: Runtime): T | undefined {
  return of[Math.floor(runtime.random() * of.length)];
}
