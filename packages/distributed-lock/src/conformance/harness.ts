import {
  type ClaimGrant,
  type ClaimRequest,
  type ClaimResult,
  type ClaimWatch,
  createLocks,
  type LockBackend,
  type LockCapabilities,
  type Locks,
  type LocksOptions,
  type LockMode,
} from '@quorate/distributed-lock';
import { abortable, deadline, type Runtime, sleep } from '@quorate/runtime';
import { strict as assert } from 'node:assert';

/** One server, and what a check may do to it and its clients. */
export interface LockConformanceWorld {
  /** The clock of the backends. With a `VirtualRuntime` the whole check runs in virtual time. */
  readonly runtime: Runtime;
  /** A new client of the server. The kit closes it. */
  client(): LockBackend | Promise<LockBackend>;
  /** Closes what else was opened. */
  teardown(): Promise<void>;
  /**
   * Ends a client as `kill -9` would: it sends nothing more, its connections are cut, what it held is not released. Its
   * backend is not used afterwards, but may be closed.
   */
  crash?(client: LockBackend): Promise<void>;
  /** Stops the server and starts it again, with what it has on disk and nothing else. Clients reconnect. */
  restart?(): Promise<void>;
  /** What a lock protects: takes a write unless it has taken one with a higher fence. Tells whether it did. */
  guarded?(key: string, fence: number): Promise<boolean>;
}

/** What a world may be unable to do. */
export type LockConformanceHook = 'crash' | 'restart' | 'guarded';

/** One check of the kit. */
export interface Check {
  readonly number: number;
  readonly name: string;
  readonly needs?: LockConformanceHook;
  /** Whether it concerns a backend of these capabilities. */
  readonly applies?: (capabilities: LockCapabilities) => boolean;
  run(check: CheckContext): Promise<void>;
}

/** How a check goes about it. */
export interface Manner {
  readonly leaseMs: number;
  readonly limitMs: number;
  readonly settleMs: number;
}

const unheard: ClaimWatch = { changed: () => undefined, lost: () => undefined };

/** A world under check, and the ways to act in it. */
export class CheckContext {
  readonly leaseMs: number;
  /** A lease that outlives the patience of a check: whatever is leaked makes it fail. */
  readonly longLeaseMs: number;
  readonly settleMs: number;
  readonly #limitMs: number;
  readonly #locks: Locks[] = [];
  readonly #raw = new Set<LockBackend>();
  #keys = 0;
  #owners = 0;

  constructor(
    readonly world: LockConformanceWorld,
    readonly capabilities: LockCapabilities,
    manner: Manner,
  ) {
    this.leaseMs = manner.leaseMs;
    this.longLeaseMs = Math.max(manner.leaseMs, Math.min(capabilities.leaseMs.max, 3 * manner.limitMs));
    this.settleMs = manner.settleMs;
    this.#limitMs = manner.limitMs;
  }

  get runtime(): Runtime {
    return this.world.runtime;
  }

  /** A key that no other check has. */
  key(): string {
    return `conformance-${String(++this.#keys)}-${Buffer.from(this.runtime.randomBytes(6)).toString('hex')}`;
  }

  async client(): Promise<LockBackend> {
    const backend = await this.world.client();
    this.#raw.add(backend);
    return backend;
  }

  /** Locks over a new client, or over a given one, which they then own. */
  async locks(options: LocksOptions = {}, backend?: LockBackend): Promise<Locks> {
    const over = backend ?? (await this.world.client());
    this.#raw.delete(over);
    const locks = createLocks(over, { leaseMs: this.leaseMs, runtime: this.runtime, ...options });
    this.#locks.push(locks);
    return locks;
  }

  /** A request by a new owner. */
  request(key: string, over: Partial<ClaimRequest> = {}): ClaimRequest {
    const owner = `owner-${String(++this.#owners)}-${Buffer.from(this.runtime.randomBytes(6)).toString('hex')}`;
    return {
      key,
      owner,
      mode: 'exclusive',
      permits: 1,
      total: 1,
      leaseMs: this.leaseMs,
      wait: false,
      ...over,
    };
  }

  claim(backend: LockBackend, request: ClaimRequest, watch: ClaimWatch = unheard): Promise<ClaimResult> {
    return this.call('a claim', (signal) => backend.claim(request, { signal, waitMs: this.#limitMs, watch }));
  }

  async granted(backend: LockBackend, request: ClaimRequest): Promise<ClaimGrant> {
    const result = await this.claim(backend, request);
    assert.equal(result.state, 'granted', `a claim of ${request.mode} that nothing stands against`);
    return result;
  }

  /** Asks again until it is granted. */
  async untilGranted(backend: LockBackend, request: ClaimRequest): Promise<ClaimGrant> {
    let result: ClaimResult | undefined;
    await this.eventually(async () => {
      result = await this.claim(backend, request);
      return result.state === 'granted';
    }, 'a claim to be granted');
    return result as ClaimGrant;
  }

  renew(backend: LockBackend, { key, owner }: ClaimRequest, leaseMs = this.leaseMs): Promise<string> {
    return this.call(
      'a renewal',
      async (signal) => (await backend.renew({ key, owner }, leaseMs, { signal })).state,
    );
  }

  release(backend: LockBackend, { key, owner }: Pick<ClaimRequest, 'key' | 'owner'>): Promise<string> {
    return this.call('a release', (signal) => backend.release({ key, owner }, { signal }));
  }

  /** Takes part in a queue: asks once, and says so where that leaves a place behind. */
  get queues(): boolean {
    return this.capabilities.waiting === 'push' || this.capabilities.waiting === 'poll';
  }

  /** What `call` resolves to; fails after the limit. */
  async call<T>(what: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const limit = deadline(this.runtime, this.#limitMs, { what });
    try {
      return await abortable(call(limit.signal), limit.signal);
    } finally {
      limit[Symbol.dispose]();
    }
  }

  within<T>(promise: Promise<T>, what: string): Promise<T> {
    return this.call(what, () => promise);
  }

  /** Until `done` holds; asks again and again. */
  async eventually(done: () => Promise<boolean> | boolean, what: string): Promise<void> {
    const due = this.runtime.monotonic() + this.#limitMs;
    while (!(await done())) {
      assert.ok(this.runtime.monotonic() < due, `waited in vain for ${what}`);
      await this.pause(5);
    }
  }

  pause(durationMs: number): Promise<void> {
    return sleep(this.runtime, durationMs);
  }

  supports(...modes: readonly LockMode[]): boolean {
    return modes.every((mode) => this.capabilities.modes.includes(mode));
  }

  /** Closes all that was made, and the world. */
  async end(): Promise<void> {
    try {
      await this.within(Promise.all(this.#locks.map((locks) => locks.close())), 'close');
      await this.within(Promise.all([...this.#raw].map((backend) => backend.close())), 'close of a backend');
    } finally {
      await this.world.teardown();
    }
  }
}

/** Checks that a promise rejects with a code. */
export async function rejects(promise: Promise<unknown>, code: string): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Error & { readonly code?: unknown },
  );
  assert.ok(error !== undefined, `must reject with ${code}, but resolved`);
  assert.equal(error.code, code, `must reject with ${code}, rejected with: ${String(error.stack)}`);
  return error;
}
