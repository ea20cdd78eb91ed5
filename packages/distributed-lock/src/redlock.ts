import {
  type ClaimId,
  type ClaimRequest,
  type ClaimResult,
  type LockBackend,
  type LockCapabilities,
  LockClosedError,
  type LockMode,
  type LockStatus,
  type ReleaseResult,
  type RenewResult,
} from '@quorate/distributed-lock';
import { InvalidOptionError, numberOption, type Runtime, systemRuntime } from '@quorate/runtime';
import type { Redis } from 'ioredis';
import { addressOf, clientOption } from './redis/client.js';
import { prefixOption } from './redis/options.js';
import { type NodeAnswer, RedlockNode } from './redis/redlock-node.js';

/** What Redlock promises. */
export const redlockCapabilities: LockCapabilities = Object.freeze({
  fencing: 'none',
  fifo: false,
  waiting: 'retry',
  releasedOnCrash: 'time',
  safety: 'best-effort-quorum',
  modes: Object.freeze(['exclusive', 'shared'] as const),
  upgrade: false,
  downgrade: false,
  leaseMs: Object.freeze({ min: 10, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

/** How a lock is kept on several servers. */
export interface RedlockOptions {
  /**
   * Begins the names of all keys.
   * @defaultValue 'quorate:lock:'
   */
  readonly prefix?: string;
  /**
   * How long one server may take to answer before it counts as down, in milliseconds. Make it small against the lease,
   * from which it is taken.
   * @defaultValue a tenth of the lease, at most 500
   */
  readonly nodeTimeoutMs?: number;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

const MAX_NODE_TIMEOUT_MS = 500;

/**
 * Locks on a majority of independent servers, after S. Sanfilippo, "Distributed Locks with Redis" (Redlock). Pass one
 * ioredis client for each; they are no replicas of each other. Three tolerate the loss of one, five of two.
 *
 * **Best effort.** What holds: of claims that exclude each other at most one has a majority, while less than half of
 * the servers fail, none of them forgets what it had (restart one without its data only when the longest lease is over),
 * wall clocks of servers do not jump, and they run as evenly as `driftRatio` says. A holder that stands still does not
 * see that its lease is over, and there is no fence that would stop its writes (M. Kleppmann, "How to do distributed
 * locking", 2016): each server counts for itself, so a later majority may know less than an earlier one. Use it against
 * doing work twice, not where that would be wrong. A single Redis with its fence, or consensus, gives more.
 *
 * Validity counts from before the first server was asked; a lease that is over when the answers are in is undone, never
 * returned. Where nobody gets a majority each gives back what it got, and tries again after a random pause that grows.
 * Whoever waits is served by chance. Readers and writers; a majority cannot count the permits of a semaphore.
 *
 * @throws `InvalidOptionError` unless there is an odd number of at least three different clients of ioredis, none
 * of them a Cluster, no two of one address.
 */
export function redlockBackend(clients: readonly Redis[], options: RedlockOptions = {}): LockBackend {
  return new RedlockBackend(clients, options);
}

class RedlockBackend implements LockBackend {
  readonly name = 'redlock';
  readonly capabilities = redlockCapabilities;
  readonly #nodes: readonly RedlockNode[];
  readonly #quorum: number;
  readonly #nodeTimeoutMs: number | undefined;
  readonly #runtime: Runtime;
  #closed = false;

  constructor(clients: readonly Redis[], options: RedlockOptions) {
    const count = Array.isArray(clients) ? clients.length : 0;
    if (count < 3 || count % 2 === 0) {
      const given = Array.isArray(clients) ? `${String(count)} clients` : clients;
      throw new InvalidOptionError('clients', given, 'an odd number of at least 3 clients');
    }
    if (typeof (options as unknown) !== 'object')
      throw new InvalidOptionError('options', options, 'an object');
    const addresses = new Set<string>();
    for (const [index, client] of clients.entries()) {
      clientOption(`clients[${String(index)}]`, client, false);
      const address = addressOf(client);
      if (addresses.has(address))
        throw new InvalidOptionError(
          `clients[${String(index)}]`,
          address,
          'a server that is not in the list already',
        );
      addresses.add(address);
    }
    const { nodeTimeoutMs, runtime = systemRuntime } = options;
    if (nodeTimeoutMs !== undefined) numberOption('nodeTimeoutMs', nodeTimeoutMs, { min: 1 });
    this.#nodeTimeoutMs = nodeTimeoutMs;
    this.#runtime = runtime;
    const prefix = prefixOption(options.prefix);
    this.#nodes = clients.map((client) => new RedlockNode(client, prefix, runtime));
    this.#quorum = (count + 1) / 2;
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { leaseMs } = request;
    const startedAtMs = this.#runtime.monotonic();
    const { yes, no, failures } = await this.#ask(
      this.#timeoutMs(leaseMs),
      (node, timeoutMs) => node.claim(request, timeoutMs),
      // Not as soon as a majority is out of reach: behind a server that is down, the first that is taken would then look
      // like a majority that could not be asked.
      this.#decided,
    );
    const inTime = this.#runtime.monotonic() - startedAtMs < leaseMs;
    if (yes.length >= this.#quorum && inTime) return { state: 'granted', fence: undefined, validMs: leaseMs };
    await this.#undo(request, yes);
    // A majority that could not be asked is a failure; one that was not free, and a tied vote, are not.
    if (inTime && no > 0 && yes.length + no >= this.#quorum) return { state: 'busy' };
    throw this.#failure(inTime ? 'no majority answered' : 'the answers took longer than the lease', failures);
  }

  async renew(claim: ClaimId, leaseMs: number): Promise<RenewResult> {
    const { yes, no, failures } = await this.#ask(
      this.#timeoutMs(leaseMs),
      (node, timeoutMs) => node.renew(claim, leaseMs, timeoutMs),
      this.#decided,
    );
    if (yes.length >= this.#quorum) return { state: 'held', validMs: leaseMs };
    if (no >= this.#quorum) return { state: 'lost' };
    throw this.#failure('no majority answered', failures);
  }

  async release(claim: ClaimId): Promise<ReleaseResult> {
    const { yes, no, failures } = await this.#ask(
      this.#timeoutMs(),
      (node, timeoutMs) => node.release(claim, timeoutMs),
      this.#decided,
    );
    if (yes.length >= this.#quorum) return 'released';
    if (no >= this.#quorum) return 'lost';
    throw this.#failure('no majority answered', failures);
  }

  async inspect(key: string): Promise<LockStatus> {
    const votes = new Map<string, { mode: LockMode; count: number }>();
    const { yes, failures } = await this.#ask(
      this.#timeoutMs(),
      async (node, timeoutMs) => {
        for (const { owner, mode } of await node.holders(key, timeoutMs)) {
          const vote = votes.get(owner) ?? { mode, count: 0 };
          vote.count++;
          votes.set(owner, vote);
        }
        return 'yes';
      },
      (_, left) => left === 0,
    );
    if (yes.length < this.#quorum) throw this.#failure('no majority answered', failures);
    const holders = [...votes]
      .filter(([, { count }]) => count >= this.#quorum)
      .map(([owner, { mode }]) => ({ owner, mode, permits: 1, fence: undefined }));
    return { holders, waiting: 0 };
  }

  close(): Promise<void> {
    if (!this.#closed) for (const node of this.#nodes) node.close();
    this.#closed = true;
    return Promise.resolve();
  }

  readonly #decided = ({ yes, no }: Tally): boolean => yes.length >= this.#quorum || no >= this.#quorum;

  #timeoutMs(leaseMs = Number.POSITIVE_INFINITY): number {
    return this.#nodeTimeoutMs ?? Math.max(1, Math.min(leaseMs / 10, MAX_NODE_TIMEOUT_MS));
  }

  /** Asks all servers at once until it is decided, or all have answered; those still under way are not waited for. */
  #ask(
    timeoutMs: number,
    ask: (node: RedlockNode, timeoutMs: number) => Promise<NodeAnswer>,
    decided: (tally: Tally, left: number) => boolean,
  ): Promise<Tally> {
    if (this.#closed) throw new LockClosedError();
    return new Promise((resolve) => {
      const tally: Tally = { yes: [], no: 0, failures: [] };
      let left = this.#nodes.length;
      let over = false;
      for (const node of this.#nodes) {
        const count = (add: () => void): void => {
          if (over) return;
          add();
          over = --left === 0 || decided(tally, left);
          if (over) resolve(tally);
        };
        ask(node, timeoutMs).then(
          (answer) => {
            count(() => (answer === 'yes' ? tally.yes.push(node) : tally.no++));
          },
          (error: unknown) => {
            const text = error instanceof Error ? error.message : String(error);
            count(() => tally.failures.push(new Error(`${node.address}: ${text}`)));
          },
        );
      }
    });
  }

  /**
   * Gives back what a failed claim got, everywhere: also where its answer is still under way, behind which this is sent.
   * Only servers that granted it are waited for.
   */
  async #undo(claim: ClaimRequest, granted: readonly RedlockNode[]): Promise<void> {
    const timeoutMs = this.#timeoutMs(claim.leaseMs);
    const releases = this.#nodes.map(async (node) => {
      // What cannot be given back now ends with its lease.
      const done = node.release(claim, timeoutMs).catch(() => undefined);
      if (granted.includes(node)) await done;
    });
    await Promise.all(releases);
  }

  #failure(what: string, failures: readonly Error[]): Error {
    const named = failures.map(({ message }) => message).join('; ');
    return new AggregateError(
      failures,
      `${what} of ${String(this.#nodes.length)} servers${named && `: ${named}`}`,
    );
  }
}

interface Tally {
  readonly yes: RedlockNode[];
  no: number;
  readonly failures: Error[];
}
