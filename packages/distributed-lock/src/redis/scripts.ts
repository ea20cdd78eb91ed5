import type { Cluster, Redis } from 'ioredis';
import { createHash } from 'node:crypto';
import { lua } from '../lua.gen.js';

/** A client of ioredis, of one server, of Sentinels or of a cluster. */
export type RedisClient = Redis | Cluster;

/** One operation on a lock: a script, called by its digest, and sent when the server does not know it. */
export interface Script {
  readonly text: string;
  readonly digest: string;
}

function script(name: keyof typeof lua, shortWay?: keyof typeof lua): Script {
  // The short way comes before the functions of the prelude, which cost more to define than it takes.
  const first = shortWay === undefined ? '' : `${lua[shortWay]}\n`;
  const text = `${first}${lua['redis-prelude']}\n${lua[name]}`;
  return { text, digest: createHash('sha1').update(text).digest('hex') };
}

/** The operations. */
export const scripts = Object.freeze({
  claim: script('redis-claim', 'redis-claim-free'),
  convert: script('redis-convert'),
  renew: script('redis-renew'),
  release: script('redis-release', 'redis-release-sole'),
  inspect: script('redis-inspect'),
});

/** Names the key of a lock. A cluster places it by the whole name of the lock, which a brace in it would cut short. */
export function lockKey(prefix: string, key: string): string {
  return `${prefix}{${UNSAFE.test(key) ? key.replaceAll(/[%{}]/g, encodeURIComponent) : key}}`;
}

const UNSAFE = /[%{}]/;

/** Runs a script, by its digest where the server knows it. Resolves with what `read` makes of the answer. */
export function runScript<T>(
  client: RedisClient,
  { text, digest }: Script,
  key: string,
  args: readonly (string | number)[],
  read: (answer: unknown) => T,
): Promise<T> {
  const gathering = gatheringOf(client);
  gathering?.sending();
  return client.evalsha(digest, 1, key, ...args).then(
    (answer) => {
      gathering?.answered();
      return read(answer);
    },
    (error: unknown) => {
      gathering?.answered();
      if (!isUnknownScript(error)) throw error;
      return client.eval(text, 1, key, ...args).then(read);
    },
  );
}

/**
 * Runs a script, and waits until what was written is on replicas. Resolves with the answer and their number. WAIT counts
 * for the connection, so both go to one node, one after the other.
 */
export async function runScriptAndWait(
  client: RedisClient,
  { text, digest }: Script,
  key: string,
  args: readonly (string | number)[],
  replicas: number,
  timeoutMs: number,
): Promise<readonly [answer: unknown, replicas: number]> {
  for (const known of [true, false]) {
    const pipeline = client.pipeline();
    if (known) pipeline.evalsha(digest, 1, key, ...args);
    else pipeline.eval(text, 1, key, ...args);
    const [first, second] = (await pipeline.wait(replicas, timeoutMs).exec()) ?? [];
    const error = first?.[0] ?? second?.[0];
    if (known && isUnknownScript(error)) continue;
    if (error !== null && error !== undefined) throw error;
    return [first?.[1], Number(second?.[1])];
  }
  throw new Error('unreachable: EVAL knows its script');
}

/** How many commands of one turn make one write. */
const GATHERED = 16;

const gatherings = new WeakMap<RedisClient, Gathering>();

function gatheringOf(client: RedisClient): Gathering | undefined {
  // A cluster has a stream for each node.
  if (!('stream' in client)) return undefined;
  let gathering = gatherings.get(client);
  if (gathering === undefined) {
    gathering = new Gathering(client);
    gatherings.set(client, gathering);
  }
  return gathering;
}

/**
 * Has what is sent in one turn of the event loop leave the process in few writes: a write costs more than everything
 * else that a client does for a command. Not in one, so that the server works on the first while others are made; and
 * not where no answer is awaited, because then there are seldom others.
 */
class Gathering {
  readonly #client: Redis;
  #corked: Redis['stream'] | undefined;
  #unanswered = 0;
  #inTurn = 0;
  #turnEnds = false;
  readonly #endTurn = (): void => {
    this.#inTurn = 0;
    this.#turnEnds = false;
    this.#uncork();
  };

  constructor(client: Redis) {
    this.#client = client;
  }

  sending(): void {
    if (this.#unanswered++ === 0 && !this.#turnEnds) {
      this.#inTurn = 1;
      return;
    }
    if (!this.#turnEnds) {
      this.#turnEnds = true;
      process.nextTick(this.#endTurn);
    }
    const count = this.#inTurn++;
    if (count === 0) return;
    // A client that never connected has none.
    const stream = this.#client.stream as Redis['stream'] | undefined;
    if (count % GATHERED === 1 || this.#corked !== stream) {
      this.#uncork();
      this.#corked = stream;
      stream?.cork();
    }
  }

  answered(): void {
    this.#unanswered--;
  }

  #uncork(): void {
    const stream = this.#corked;
    this.#corked = undefined;
    stream?.uncork();
  }
}

function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
