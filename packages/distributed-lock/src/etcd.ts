import type {
  ClaimId,
  ClaimRequest,
  ClaimResult,
  ClaimWatch,
  LockBackend,
  LockCapabilities,
  LockMode,
  LockStatus,
  ReleaseResult,
  RenewResult,
} from '@quorate/distributed-lock';
import { LockClosedError } from '@quorate/distributed-lock';
import { InvalidOptionError, QuorateError, type Runtime, systemRuntime, type Timer } from '@quorate/runtime';
import type { Etcd3, IKeyValue, IRangeRequest, ITxnRequest, ITxnResponse, Watcher } from 'etcd3';
import { holdersOf, predecessorOf, type QueuedClaim } from './core/etcd-queue.js';
import { KeepAlives } from './etcd-keep-alives.js';

/** What locks in etcd promise. */
export const etcdCapabilities: LockCapabilities = Object.freeze({
  fencing: 'durable',
  fifo: true,
  waiting: 'push',
  releasedOnCrash: 'time',
  safety: 'consensus',
  modes: Object.freeze(['exclusive', 'shared', 'permits'] as const),
  upgrade: false,
  downgrade: false,
  leaseMs: Object.freeze({ min: 1_000, max: 2 ** 40 }),
  maxKeyBytes: 255,
});

/** What an {@link etcdBackend} stands on. */
export interface EtcdBackendOptions {
  /** A client of the cluster, of the package `etcd3`. It stays yours: close it after the locks. */
  readonly client: Pick<Etcd3, 'kv' | 'leaseClient' | 'watch'>;
  /**
   * What the keys in etcd begin with. Clients lock each other out if theirs is the same.
   * @defaultValue 'quorate/locks/'
   */
  readonly prefix?: string;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/**
 * Locks in an etcd cluster that you run already: a key for each claim, made in one transaction, attached to an etcd lease
 * of its own. Claims stand in the order of the revisions that made them, which are their fences; one that waits watches
 * the one before it (the recipe of etcd's `concurrency` package, and of P. Hunt and others, "ZooKeeper", 2010, section
 * 2.4).
 *
 * What holds: exclusion and rising fences as long as etcd keeps its promises, over restarts of any of its members. A lease
 * is rounded up to whole seconds, and etcd makes it no shorter than one and a half election timeouts; a client that died
 * is missed for so long. A renewal asks for the lease and, through consensus, for the key. Before etcd 3.4.29 and 3.5.11 a
 * leader that was stopped for longer than a lease can still answer the first of them when it wakes up: guard with the
 * fence.
 *
 * A lock that is held for longer than a second is watched: if its etcd lease is revoked, or its key deleted, its `signal`
 * aborts as soon as etcd says so, not with the next renewal.
 */
export function etcdBackend(options: EtcdBackendOptions): LockBackend {
  return new EtcdBackend(options);
}

const MODES: readonly LockMode[] = ['exclusive', 'shared', 'permits'];
const NOT_FOUND = /lease not found/i;

/** A lock that is given back sooner is not worth a watch: it takes two messages, and a renewal is far. */
const WATCH_HELD_AFTER_MS = 1_000;

class EtcdBackend implements LockBackend {
  readonly name = 'etcd';
  readonly capabilities = etcdCapabilities;
  readonly #client: EtcdBackendOptions['client'];
  readonly #prefix: string;
  readonly #keepAlives: KeepAlives;
  readonly #runtime: Runtime;
  /** What this client waits for, by its own key. */
  readonly #watchers = new Map<string, { readonly on: string; readonly watcher: Promise<Watcher> }>();
  /** What tells that a lock that is held is gone, by its own key. */
  readonly #guards = new Map<string, Guard>();
  /** Keys of claims that were asked for and not released. */
  readonly #asked = new Set<string>();
  readonly #background = new Set<Promise<unknown>>();
  #closed = false;

  constructor({ client, prefix = 'quorate/locks/', runtime = systemRuntime }: EtcdBackendOptions) {
    if (typeof (client as Partial<Etcd3> | undefined)?.kv?.txn !== 'function')
      throw new InvalidOptionError('client', client, 'an Etcd3 of the package etcd3');
    if (typeof (prefix as unknown) !== 'string' || prefix === '')
      throw new InvalidOptionError('prefix', prefix, 'a string that is not empty');
    this.#client = client;
    this.#prefix = prefix;
    this.#runtime = runtime;
    this.#keepAlives = new KeepAlives(client.leaseClient);
  }

  async claim(request: ClaimRequest, { watch }: { readonly watch: ClaimWatch }): Promise<ClaimResult> {
    this.#assertOpen();
    const { key, owner } = request;
    const { claims, own } = request.wait ? await this.#ask(request) : await this.#ifFree(request);
    const at = claims.findIndex((claim) => claim.owner === owner);
    const found = claims[at];
    // Not free; or its lease ended under our hands, and asking again makes another.
    if (own === undefined || found === undefined) return { state: 'busy' };
    if (at < holdersOf(claims)) {
      this.#unwatch(this.#keyOf(request));
      this.#guard(this.#keyOf(request), watch, own.seen);
      return { state: 'granted', fence: found.revision, validMs: request.leaseMs };
    }
    this.#watch(key, this.#keyOf(request), claims, at, watch, own.seen);
    return { state: 'waiting' };
  }

  async renew(claim: ClaimId, leaseMs: number): Promise<RenewResult> {
    this.#assertOpen();
    const { own } = await this.#look(claim);
    if (own === undefined || !(await this.#prolong(claim, own, leaseMs))) {
      this.#unguard(this.#keyOf(claim));
      return { state: 'lost' };
    }
    return { state: 'held', validMs: leaseMs };
  }

  async release(claim: ClaimId): Promise<ReleaseResult> {
    this.#assertOpen();
    const key = this.#keyOf(claim);
    this.#unwatch(key);
    this.#unguard(key);
    this.#asked.delete(key);
    const { responses } = await this.#txn({
      success: [{ request_delete_range: { key: Buffer.from(key), prev_kv: true } }],
    });
    const [before] = responses[0]?.response_delete_range.prev_kvs ?? [];
    if (before === undefined) return 'lost';
    this.#later(this.#revoke(before.lease));
    return 'released';
  }

  async inspect(key: string): Promise<LockStatus> {
    this.#assertOpen();
    const { responses } = await this.#txn({ success: [{ request_range: this.#queueOf(key) }] });
    const claims = this.#claimsOf(key, responses[0]?.response_range.kvs);
    const held = holdersOf(claims);
    return {
      holders: claims
        .slice(0, held)
        .map(({ owner, mode, permits, revision }) => ({ owner, mode, permits, fence: revision })),
      waiting: claims.length - held,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const key of [...this.#watchers.keys()]) this.#unwatch(key);
    for (const key of [...this.#guards.keys()]) this.#unguard(key);
    while (this.#background.size > 0) await Promise.allSettled(this.#background);
    this.#keepAlives.close();
  }

  /** Takes a place in the queue, or keeps the one that is there. */
  async #ask(request: ClaimRequest): Promise<Look> {
    const key = this.#keyOf(request);
    // A new claim is made at once; asking again looks first.
    const look = this.#asked.has(key) ? await this.#look(request) : await this.#insert(request, undefined);
    this.#asked.add(key);
    if (look.made === true) return look;
    if (look.own !== undefined && (await this.#prolong(request, look.own, request.leaseMs))) return look;
    return this.#insert(request, undefined);
  }

  /** Makes a claim if it is granted at once; leaves nothing behind otherwise. */
  async #ifFree(request: ClaimRequest): Promise<Look> {
    const { key, owner, mode, permits, total } = request;
    for (let look = await this.#look(request); ;) {
      const { claims, own, revision } = look;
      if (own !== undefined)
        return (await this.#prolong(request, own, request.leaseMs)) ? look : { claims: [], own: undefined };
      const asked = { owner, mode, permits, total, revision: Number.MAX_SAFE_INTEGER };
      if (holdersOf([...claims, asked]) <= claims.length) return { claims, own: undefined };
      const made = await this.#insert(request, revision);
      if (made.made === true) return made;
      // Somebody came in between.
      look = await this.#look({ key, owner });
    }
  }

  /** Makes a claim, unless the queue was added to after the revision `unlessAfter`. */
  async #insert(request: ClaimRequest, unlessAfter: number | undefined): Promise<Look> {
    const { mode, permits, total, leaseMs } = request;
    const key = Buffer.from(this.#keyOf(request));
    const queue = this.#queueOf(request.key);
    const { ID: lease } = await this.#client.leaseClient.leaseGrant({ TTL: Math.ceil(leaseMs / 1_000) });
    let kept = false;
    try {
      const response = await this.#txn({
        compare: [
          { target: 'Create', result: 'Equal', key, create_revision: 0 },
          ...(unlessAfter === undefined
            ? []
            : [
                {
                  target: 'Mod' as const,
                  result: 'Less' as const,
                  key: queue.key,
                  range_end: queue.range_end,
                  mod_revision: unlessAfter + 1,
                },
              ]),
        ],
        success: [
          {
            request_put: { key, lease, value: Buffer.from([MODES.indexOf(mode), permits, total].join(' ')) },
          },
          { request_range: queue },
        ],
        failure: [{ request_range: queue }],
      });
      kept = response.succeeded;
      const kvs = response.responses[kept ? 1 : 0]?.response_range.kvs;
      return { ...this.#lookAt(request, kvs, response), made: kept };
    } finally {
      // Also where the answer was lost: the key goes with it, and the claim is made again.
      if (!kept) this.#later(this.#revoke(lease));
    }
  }

  async #look(claim: ClaimId): Promise<Look & { readonly revision: number }> {
    const response = await this.#txn({ success: [{ request_range: this.#queueOf(claim.key) }] });
    return this.#lookAt(claim, response.responses[0]?.response_range.kvs, response);
  }

  #lookAt(
    claim: ClaimId,
    kvs: readonly IKeyValue[] | undefined,
    { header }: Pick<ITxnResponse, 'header'>,
  ): Look & { readonly revision: number } {
    const key = this.#keyOf(claim);
    const revision = Number(header.revision);
    const found = kvs?.find((kv) => kv.key.toString() === key);
    return {
      revision,
      claims: this.#claimsOf(claim.key, kvs),
      own: found && { lease: found.lease, created: found.create_revision, seen: revision },
    };
  }

  /** Keeps a claim that is there. Etcd counts from when it gets this. False: it is gone. */
  async #prolong(claim: ClaimId, { lease, created }: Own, leaseMs: number): Promise<boolean> {
    const seconds = Math.ceil(leaseMs / 1_000);
    const granted = await this.#keepAlives.keep(lease);
    const key = Buffer.from(this.#keyOf(claim));
    const compare: ITxnRequest['compare'] = [
      { target: 'Create', result: 'Equal', key, create_revision: created },
    ];
    if (granted <= 0) return false;
    if (granted >= seconds) {
      // That the lease lives was said by one member; that the key is there is said by consensus.
      return (await this.#txn({ compare, success: [], failure: [] })).succeeded;
    }
    // A lease of etcd has one length for life: a longer one takes its place.
    const { ID: longer } = await this.#client.leaseClient.leaseGrant({ TTL: seconds });
    let moved = false;
    try {
      const success = [{ request_put: { key, lease: longer, ignore_value: true } }];
      moved = (await this.#txn({ compare, success })).succeeded;
    } finally {
      this.#later(this.#revoke(moved ? lease : longer));
    }
    return moved;
  }

  /** Tells when what stands in the way is gone. */
  #watch(
    key: string,
    own: string,
    claims: readonly QueuedClaim[],
    at: number,
    watch: ClaimWatch,
    seen: number,
  ): void {
    const before = predecessorOf(claims, at);
    const on = before === undefined ? this.#queueName(key) : this.#keyOf({ key, owner: before.owner });
    if (this.#watchers.get(own)?.on === on) return;
    this.#unwatch(own);
    const builder = this.#client
      .watch()
      .only('delete')
      .startRevision(String(seen + 1));
    const watcher = (before === undefined ? builder.prefix(on) : builder.key(on)).create();
    this.#watchers.set(own, { on, watcher });
    watcher.then(
      (made) => {
        made.on('delete', () => watch.changed());
        // It connects again by itself; meanwhile the core asks.
        made.on('error', () => undefined);
      },
      () => {
        if (this.#watchers.get(own)?.watcher === watcher) this.#watchers.delete(own);
      },
    );
  }

  #unwatch(own: string): void {
    const watched = this.#watchers.get(own);
    if (watched === undefined) return;
    this.#watchers.delete(own);
    this.#later(watched.watcher.then((watcher) => watcher.cancel()));
  }

  /** Tells when the key of a lock that is held is gone, of which `seen` is the last revision that it was seen at. */
  #guard(own: string, watch: ClaimWatch, seen: number): void {
    if (this.#guards.has(own)) return;
    const guard: Guard = { watcher: undefined, timer: undefined };
    this.#guards.set(own, guard);
    guard.timer = this.#runtime.setTimer(WATCH_HELD_AFTER_MS, () => {
      guard.watcher = this.#client
        .watch()
        .only('delete')
        .key(own)
        // What happened until now counts.
        .startRevision(String(seen + 1))
        .create();
      guard.watcher.then(
        (watcher) => {
          // It connects again by itself; meanwhile, and without it, the next renewal tells.
          watcher.on('error', () => undefined);
          watcher.on('delete', () => {
            if (this.#guards.get(own) !== guard) return;
            this.#unguard(own);
            watch.lost(new QuorateError('LOCK_LOST', `etcd says that ${own} is gone`));
          });
        },
        () => undefined,
      );
    });
  }

  #unguard(own: string): void {
    const guard = this.#guards.get(own);
    if (guard === undefined) return;
    this.#guards.delete(own);
    guard.timer?.cancel();
    if (guard.watcher !== undefined) this.#later(guard.watcher.then((watcher) => watcher.cancel()));
  }

  async #revoke(lease: string): Promise<void> {
    await this.#client.leaseClient.leaseRevoke({ ID: lease }).catch((error: unknown) => {
      // What is left ends by itself.
      if (!NOT_FOUND.test(String(error))) throw error;
    });
  }

  #later(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => this.#background.delete(settled));
    this.#background.add(settled);
  }

  #txn(request: ITxnRequest): Promise<ITxnResponse> {
    return this.#client.kv.txn(request);
  }

  #claimsOf(key: string, kvs: readonly IKeyValue[] | undefined): readonly QueuedClaim[] {
    const start = this.#queueName(key).length;
    return (kvs ?? []).map((kv) => {
      const [mode = 0, permits = 1, total = 1] = kv.value.toString().split(' ').map(Number);
      return {
        owner: kv.key.toString().slice(start),
        mode: MODES[mode] ?? 'exclusive',
        permits,
        total,
        revision: Number(kv.create_revision),
      };
    });
  }

  #queueName(key: string): string {
    return `${this.#prefix}${encodeURIComponent(key)}/`;
  }

  #keyOf({ key, owner }: ClaimId): string {
    return this.#queueName(key) + owner;
  }

  #queueOf(key: string): IRangeRequest & { readonly key: Buffer; readonly range_end: Buffer } {
    const name = this.#queueName(key);
    return {
      key: Buffer.from(name),
      // The byte behind the slash.
      range_end: Buffer.from(`${name.slice(0, -1)}0`),
      sort_order: 'Ascend',
      sort_target: 'Create',
    };
  }

  #assertOpen(): void {
    if (this.#closed) throw new LockClosedError();
  }
}

/** A claim of ours in etcd. */
interface Own {
  readonly lease: string;
  readonly created: string;
  /** The revision at which it was seen. */
  readonly seen: number;
}

interface Guard {
  timer: Timer | undefined;
  watcher: Promise<Watcher> | undefined;
}

interface Look {
  readonly claims: readonly QueuedClaim[];
  readonly own: Own | undefined;
  /** It was made just now. */
  readonly made?: boolean;
}
