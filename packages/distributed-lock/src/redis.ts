import {
  type ClaimCall,
  type ClaimId,
  type ClaimRequest,
  type ClaimResult,
  type ConvertResult,
  type LockBackend,
  LockBackendError,
  type LockCapabilities,
  LockClosedError,
  type LockMode,
  type LockStatus,
  type ReleaseResult,
  type RenewResult,
} from '@quorate/distributed-lock';
import { integerOption, InvalidOptionError, type Runtime, systemRuntime } from '@quorate/runtime';
import { addressOf, assertOpen, clientOption, type ConnectionLosses, countLosses } from './redis/client.js';
import { Inbox } from './redis/inbox.js';
import { prefixOption } from './redis/options.js';
import {
  lockKeys,
  type RedisClient,
  runScript,
  runScriptAndWait,
  type Script,
  scripts,
} from './redis/scripts.js';

export type { RedisClient } from './redis/scripts.js';

/** What locks on Redis promise. */
export const redisCapabilities: LockCapabilities = Object.freeze({
  fencing: 'volatile',
  fifo: true,
  waiting: 'push',
  releasedOnCrash: 'time',
  safety: 'single-node',
  modes: Object.freeze(['exclusive', 'shared', 'permits'] as const),
  upgrade: true,
  downgrade: true,
  leaseMs: Object.freeze({ min: 1, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

/** How locks are kept on Redis. */
export interface RedisBackendOptions {
  /**
   * Begins the names of all keys of these locks. Backends with different ones know nothing of each other.
   * @defaultValue 'quorate:lock:'
   */
  readonly prefix?: string;
  /**
   * Grants and renewals count only once so many replicas have them (`WAIT`), which makes it unlikely, not impossible,
   * that a failover forgets a lock. The connection stands still meanwhile, for up to `timeoutMs`: give the locks a
   * client of their own. When too few replicas answer in time, the call failed, and is repeated like any other.
   */
  readonly wait?: { readonly replicas: number; readonly timeoutMs: number };
  /**
   * The pauses between attempts to open the subscriber connection.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Runtime;
}

const LETTERS: Readonly<Record<LockMode, string>> = { exclusive: 'e', shared: 's', permits: 'p' };
const MODES: Readonly<Record<string, LockMode>> = { e: 'exclusive', s: 'shared', p: 'permits' };

/**
 * Locks on one Redis (6.2 or newer, or Valkey), through a client of ioredis for a server, Sentinels or a cluster. One
 * script per call; a FIFO queue on the server, which hands a lock over and says so by pub/sub.
 *
 * The first claim that has to wait opens one more connection, a duplicate of the client, for all backends of that client
 * in this process. `close` ends that connection, and never the client.
 *
 * What holds: the state is changed in one place, atomically, and all times are the server's, so that clocks of clients
 * do not matter. It holds while that server keeps its data, and its wall clock does not jump forward by the rest of a
 * lease. Replication is asynchronous: a failover may forget a lock, and grant it to a second holder.
 *
 * The fence is `max(the last one + 1, the server's time in microseconds)`. So it goes on rising after a loss of the data
 * (FLUSHALL, a restart without persistence, a failover), as long as the clock that it goes on with is not behind: that is
 * why it is called volatile. It is kept for a day after the last lease; the rest of a lock's keys go when it is free.
 *
 * An operation costs what the number of holders of its key does; waiting claims cost a logarithm of theirs.
 *
 * @throws `InvalidOptionError` for what is no open client of ioredis in normal mode.
 */
export function redisBackend(client: RedisClient, options: RedisBackendOptions = {}): LockBackend {
  return new RedisBackend(client, options);
}

class RedisBackend implements LockBackend {
  readonly name = 'redis';
  readonly capabilities = redisCapabilities;
  readonly #client: RedisClient;
  readonly #prefix: string;
  readonly #wait: RedisBackendOptions['wait'];
  readonly #inbox: Inbox;
  readonly #losses: ConnectionLosses;
  readonly #own = new Set<string>();
  #closed = false;

  constructor(client: RedisClient, options: RedisBackendOptions) {
    if (typeof (options as unknown) !== 'object')
      throw new InvalidOptionError('options', options, 'an object');
    this.#client = clientOption('client', client, true);
    this.#prefix = prefixOption(options.prefix);
    const { wait, runtime = systemRuntime } = options;
    if (wait !== undefined) {
      integerOption('wait.replicas', wait.replicas, { min: 1 });
      // Zero would wait for ever.
      integerOption('wait.timeoutMs', wait.timeoutMs, { min: 1 });
    }
    this.#wait = wait;
    this.#inbox = Inbox.join(client, runtime);
    this.#losses = countLosses(client);
  }

  async claim(request: ClaimRequest, { watch }: ClaimCall): Promise<ClaimResult> {
    const { key, owner, mode, permits, total, leaseMs, wait } = request;
    const inbox = wait ? this.#watch(owner, watch, leaseMs) : '';
    const args = [owner, LETTERS[mode], permits, total, leaseMs, inbox];
    return this.#result(Number(await this.#write(scripts.claim, key, args)), request) as ClaimResult;
  }

  async convert(request: ClaimRequest, { watch }: ClaimCall): Promise<ConvertResult> {
    const { key, owner, mode, leaseMs, wait } = request;
    const inbox = wait ? this.#watch(owner, watch, leaseMs) : '';
    const answer = await this.#write(scripts.convert, key, [owner, LETTERS[mode], leaseMs, inbox]);
    return this.#result(Number(answer), request);
  }

  async renew({ key, owner }: ClaimId, leaseMs: number): Promise<RenewResult> {
    const answer = await this.#write(scripts.renew, key, [owner, leaseMs]);
    return answer === 1 ? { state: 'held', validMs: leaseMs } : { state: 'lost' };
  }

  async release({ key, owner }: ClaimId): Promise<ReleaseResult> {
    this.#forget(owner);
    const losses = this.#losses.count;
    if ((await this.#run(scripts.release, key, [owner])) === 1) return 'released';
    // The client repeats what a lost connection left unanswered, so this may be the second answer. The core knows what
    // to make of it.
    if (losses !== this.#losses.count)
      throw new Error(`the connection to ${addressOf(this.#client)} was lost meanwhile`);
    return 'lost';
  }

  async inspect(key: string): Promise<LockStatus> {
    const [waiting = 0, ...fields] = (await this.#run(scripts.inspect, key, [])) as (string | number)[];
    const holders: LockStatus['holders'][number][] = [];
    for (let at = 0; at < fields.length; at += 4) {
      holders.push({
        owner: String(fields[at]),
        mode: MODES[String(fields[at + 1])] ?? 'exclusive',
        permits: Number(fields[at + 2]),
        fence: Number(fields[at + 3]),
      });
    }
    return { holders, waiting: Number(waiting) };
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      for (const owner of this.#own) this.#inbox.remove(owner);
      this.#inbox.leave();
      this.#losses.stop();
    }
    return Promise.resolve();
  }

  /** A call whose effect must not be forgotten. */
  #write(script: Script, key: string, args: readonly (string | number)[]): Promise<unknown> {
    return this.#wait === undefined
      ? this.#run(script, key, args)
      : this.#runAndWait(script, key, args, this.#wait);
  }

  async #runAndWait(
    script: Script,
    key: string,
    args: readonly (string | number)[],
    { replicas, timeoutMs }: NonNullable<RedisBackendOptions['wait']>,
  ): Promise<number> {
    this.#assertOpen(key);
    const keys = lockKeys(this.#prefix, key);
    const [answer, found] = await runScriptAndWait(this.#client, script, keys, args, replicas, timeoutMs);
    if (Number(answer) > 0 && found < replicas) {
      throw new LackingReplicasError(replicas, found, timeoutMs);
    }
    return Number(answer);
  }

  #run(script: Script, key: string, args: readonly (string | number)[]): Promise<unknown> {
    this.#assertOpen(key);
    return runScript(this.#client, script, lockKeys(this.#prefix, key), args);
  }

  #assertOpen(key: string): void {
    if (this.#closed) throw new LockClosedError(key);
    assertOpen(this.#client, key);
  }

  #watch(owner: string, watch: ClaimCall['watch'], leaseMs: number): string {
    this.#own.add(owner);
    // With WAIT a grant is none before it was asked for again.
    this.#inbox.add(owner, watch, this.#wait === undefined ? leaseMs : undefined);
    return this.#inbox.channel;
  }

  #forget(owner: string): void {
    if (this.#own.delete(owner)) this.#inbox.remove(owner);
  }

  #result(answer: number, { key, owner, leaseMs }: ClaimRequest): ConvertResult {
    if (answer === -1) {
      this.#inbox.listen();
      return { state: 'waiting' };
    }
    this.#forget(owner);
    if (answer > 0) return { state: 'granted', fence: answer, validMs: leaseMs };
    if (answer === 0) return { state: 'busy' };
    if (answer === -2) return { state: 'deadlock' };
    if (answer === -3) return { state: 'lost' };
    throw new LockBackendError(key, `the script of the lock answered ${String(answer)}`);
  }
}

/** Fewer replicas than asked for have the grant; it is claimed again. */
class LackingReplicasError extends Error {
  constructor(wanted: number, found: number, timeoutMs: number) {
    super(`${String(found)} of ${String(wanted)} replicas confirmed within ${String(timeoutMs)} ms`);
    this.name = 'LackingReplicasError';
  }
}
