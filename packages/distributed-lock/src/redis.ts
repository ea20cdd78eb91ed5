import {
  type ClaimCall,
  type ClaimId,
  type ClaimRequest,
  type ClaimResult,
  type ClaimWatch,
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
import { Inbox, type Watched } from './redis/inbox.js';
import { prefixOption } from './redis/options.js';
import {
  lockKey,
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
 * why it is called volatile. It is kept for a day after the last lease, or two; what else there is of a lock goes when it
 * is free.
 *
 * An operation costs what the number of holders of its key does, however many claims wait.
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

  claim(request: ClaimRequest, call: ClaimCall): Promise<ClaimResult> {
    const { key, owner, mode, permits, total, leaseMs, wait } = request;
    const inbox = wait ? this.#expect(request, call) : '';
    // The fewer there are the better: an argument costs more on its way than it does in the script.
    const args: (string | number)[] = [owner, leaseMs, inbox];
    if (mode !== 'exclusive') args.push(LETTERS[mode]);
    if (mode === 'permits') args.push(permits, total);
    return this.#write(
      scripts.claim,
      key,
      args,
      (answer) => this.#result(answer, request, call) as ClaimResult,
    );
  }

  convert(request: ClaimRequest, call: ClaimCall): Promise<ConvertResult> {
    const { key, owner, mode, leaseMs, wait } = request;
    const inbox = wait ? this.#expect(request, call) : '';
    const args = [owner, LETTERS[mode], leaseMs, inbox];
    return this.#write(scripts.convert, key, args, (answer) => this.#result(answer, request, call));
  }

  renew({ key, owner }: ClaimId, leaseMs: number): Promise<RenewResult> {
    return this.#write(scripts.renew, key, [owner, leaseMs], (answer) =>
      answer === 1 ? { state: 'held', validMs: leaseMs } : { state: 'lost' },
    );
  }

  release({ key, owner }: ClaimId): Promise<ReleaseResult> {
    this.#inbox.remove(owner);
    const losses = this.#losses.count;
    return this.#run(scripts.release, key, [owner], (answer) => {
      if (answer === 1) return 'released';
      // The client repeats what a lost connection left unanswered, so this may be the second answer. The core knows what
      // to make of it.
      if (losses !== this.#losses.count)
        throw new Error(`the connection to ${addressOf(this.#client)} was lost meanwhile`);
      return 'lost';
    });
  }

  async inspect(key: string): Promise<LockStatus> {
    const answer = await this.#run(scripts.inspect, key, [], (fields) => fields as (string | number)[]);
    const [waiting = 0, ...fields] = answer;
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
      this.#inbox.leave(this);
      this.#losses.stop();
    }
    return Promise.resolve();
  }

  /** A call whose effect must not be forgotten. */
  #write<T>(
    script: Script,
    key: string,
    args: readonly (string | number)[],
    read: (answer: unknown) => T,
  ): Promise<T> {
    return this.#wait === undefined
      ? this.#run(script, key, args, read)
      : this.#runAndWait(script, key, args, this.#wait).then(read);
  }

  async #runAndWait(
    script: Script,
    key: string,
    args: readonly (string | number)[],
    { replicas, timeoutMs }: NonNullable<RedisBackendOptions['wait']>,
  ): Promise<number> {
    this.#assertOpen(key);
    const name = lockKey(this.#prefix, key);
    const [answer, found] = await runScriptAndWait(this.#client, script, name, args, replicas, timeoutMs);
    if (Number(answer) > 0 && found < replicas) {
      throw new LackingReplicasError(replicas, found, timeoutMs);
    }
    return Number(answer);
  }

  #run<T>(
    script: Script,
    key: string,
    args: readonly (string | number)[],
    read: (answer: unknown) => T,
  ): Promise<T> {
    try {
      this.#assertOpen(key);
    } catch (error) {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
      return Promise.reject(error);
    }
    return runScript(this.#client, script, lockKey(this.#prefix, key), args, read);
  }

  #assertOpen(key: string): void {
    if (this.#closed) throw new LockClosedError(key);
    assertOpen(this.#client, key);
  }

  /** The channel on which the server says what becomes of a claim that waits. */
  #expect(request: ClaimRequest, { watch }: ClaimCall): string {
    if (this.#inbox.open) this.#inbox.expect(request.owner, this.#watched(request, watch));
    return this.#inbox.channel;
  }

  #watched({ leaseMs }: ClaimRequest, watch: ClaimWatch): Watched {
    // With WAIT a grant is none before it was asked for again.
    return { user: this, watch, leaseMs: this.#wait === undefined ? leaseMs : undefined };
  }

  #result(given: unknown, request: ClaimRequest, call: ClaimCall): ConvertResult {
    const answer = Number(given);
    const { key, owner, leaseMs } = request;
    if (answer === -1) {
      // Who was answered too late may have given up its place already.
      if (!call.signal.aborted) this.#inbox.listen(owner, this.#watched(request, call.watch));
      return { state: 'waiting' };
    }
    this.#inbox.remove(owner);
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
