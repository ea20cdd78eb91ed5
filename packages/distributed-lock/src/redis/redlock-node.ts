import type { ClaimId, ClaimRequest, LockMode } from '@quorate/distributed-lock';
import type { Runtime } from '@quorate/runtime';
import type { Redis } from 'ioredis';
import { bounded } from '../stop.js';
import { addressOf, assertOpen, type ConnectionLosses, countLosses } from './client.js';
import { lockKey, runScript, type Script, scripts } from './scripts.js';

/** What one server says. */
export type NodeAnswer = 'yes' | 'no';

/** One of the servers that vote. Each call ends within its timeout, and rejects when the answer is not known then. */
export class RedlockNode {
  readonly address: string;
  readonly #client: Redis;
  readonly #prefix: string;
  readonly #runtime: Runtime;
  readonly #losses: ConnectionLosses;

  constructor(client: Redis, prefix: string, runtime: Runtime) {
    this.address = addressOf(client);
    this.#client = client;
    this.#prefix = prefix;
    this.#runtime = runtime;
    this.#losses = countLosses(client);
  }

  claim({ key, owner, mode, leaseMs }: ClaimRequest, timeoutMs: number): Promise<NodeAnswer> {
    const args = mode === 'shared' ? [owner, leaseMs, '', 's'] : [owner, leaseMs];
    return this.#run(scripts.claim, key, args, timeoutMs, (answer) => (Number(answer) > 0 ? 'yes' : 'no'));
  }

  renew({ key, owner }: ClaimId, leaseMs: number, timeoutMs: number): Promise<NodeAnswer> {
    return this.#run(scripts.renew, key, [owner, leaseMs], timeoutMs, (answer) =>
      answer === 1 ? 'yes' : 'no',
    );
  }

  release({ key, owner }: ClaimId, timeoutMs: number): Promise<NodeAnswer> {
    const losses = this.#losses.count;
    return this.#run(scripts.release, key, [owner], timeoutMs, (answer) => {
      if (answer === 1) return 'yes';
      // The client repeats by itself what a lost connection left unanswered: this may be the second answer.
      if (losses !== this.#losses.count) throw new Error('the connection was lost meanwhile');
      return 'no';
    });
  }

  holders(key: string, timeoutMs: number): Promise<{ owner: string; mode: LockMode }[]> {
    return this.#run(scripts.inspect, key, [], timeoutMs, (answer) => {
      const [, ...fields] = answer as unknown[];
      const holders: { owner: string; mode: LockMode }[] = [];
      for (let at = 0; at < fields.length; at += 4)
        holders.push({ owner: String(fields[at]), mode: fields[at + 1] === 's' ? 'shared' : 'exclusive' });
      return holders;
    });
  }

  close(): void {
    this.#losses.stop();
  }

  /** Rejects with a failure, and when nothing can be sent. */
  #run<T>(
    script: Script,
    key: string,
    args: (string | number)[],
    timeoutMs: number,
    read: (answer: unknown) => T,
  ): Promise<T> {
    return bounded(this.#runtime, timeoutMs, undefined, 'an answer', () => {
      assertOpen(this.#client, key);
      // What would wait for a connection is not sent: it would arrive when nobody wants it any more.
      const { status } = this.#client;
      if (status === 'reconnecting' || status === 'close') throw new Error('not connected');
      return runScript(this.#client, script, lockKey(this.#prefix, key), args, read);
    });
  }
}
