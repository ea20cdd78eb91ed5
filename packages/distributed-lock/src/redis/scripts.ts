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

/** The keys of a lock. Their hash tag is the lock's own, so that one node of a cluster has them all. */
export type LockKeys = readonly [state: string, queue: string, waiters: string];

/** Names the keys of a lock, whatever is in its name: `{` and `}` would make a hash tag of a part of it. */
export function lockKeys(prefix: string, key: string): LockKeys {
  const tag = UNSAFE.test(key) ? key.replaceAll(/[%{}]/g, encodeURIComponent) : key;
  const state = `${prefix}{${tag}}`;
  return [state, `${state}:queue`, `${state}:waiters`];
}

const UNSAFE = /[%{}]/;

/** Runs a script, by its digest where the server knows it. */
export function runScript(
  client: RedisClient,
  { text, digest }: Script,
  keys: LockKeys,
  args: readonly (string | number)[],
): Promise<unknown> {
  gatherWrites(client);
  return client.evalsha(digest, 3, ...keys, ...args).catch((error: unknown) => {
    if (!isUnknownScript(error)) throw error;
    return client.eval(text, 3, ...keys, ...args);
  });
}

/**
 * Runs a script, and waits until what was written is on replicas. Resolves with the answer and their number. WAIT counts
 * for the connection, so both go to one node, one after the other.
 */
export async function runScriptAndWait(
  client: RedisClient,
  { text, digest }: Script,
  keys: LockKeys,
  args: readonly (string | number)[],
  replicas: number,
  timeoutMs: number,
): Promise<readonly [answer: unknown, replicas: number]> {
  for (const known of [true, false]) {
    const pipeline = client.pipeline();
    if (known) pipeline.evalsha(digest, 3, ...keys, ...args);
    else pipeline.eval(text, 3, ...keys, ...args);
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

/**
 * Has what is sent in this turn of the event loop leave the process in few writes: a write costs more than everything
 * else that a client does for a command. Not in one, so that the server works on the first while others are made.
 */
function gatherWrites(client: RedisClient): void {
  // A cluster has a stream for each node, and a client that never connected has none.
  const stream = 'stream' in client ? (client.stream as Redis['stream'] | undefined) : undefined;
  if (stream === undefined) return;
  let gathering = gatherings.get(client);
  if (gathering === undefined) {
    gathering = new Gathering();
    gatherings.set(client, gathering);
  }
  gathering.next(stream);
}

/** The commands of one client in this turn of the event loop. The first is written at once: often there is no other. */
class Gathering {
  #corked: Redis['stream'] | undefined;
  #count = 0;
  readonly #end = (): void => {
    this.#count = 0;
    this.#uncork();
  };

  next(stream: Redis['stream']): void {
    const count = this.#count++;
    if (count === 0) {
      process.nextTick(this.#end);
    } else if (count % GATHERED === 1 || this.#corked !== stream) {
      this.#uncork();
      this.#corked = stream;
      stream.cork();
    }
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
