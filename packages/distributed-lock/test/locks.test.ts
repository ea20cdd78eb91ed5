import {
  createLocks,
  DeadlockError,
  type LockBackend,
  LockBackendError,
  LockClosedError,
  LockError,
  lockEvents,
  LockLostError,
  type Locks,
  type LocksOptions,
  LockTimeoutError,
} from '@quorate/distributed-lock';
import { memoryBackend, memoryCapabilities, memoryLockSpace } from '@quorate/distributed-lock/memory';
import { InvalidOptionError, QuorateError, sleep } from '@quorate/runtime';
import { createVirtualRuntime, type VirtualRuntime } from '@quorate/runtime/virtual';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let runtime: VirtualRuntime;
let space: ReturnType<typeof memoryLockSpace>;
const opened: Locks[] = [];

beforeEach(() => {
  runtime = createVirtualRuntime();
  space = memoryLockSpace({ runtime });
});

afterEach(async () => {
  await settle(Promise.all(opened.splice(0).map((locks) => locks.close())));
  await runtime.advance(120_000);
  expect(runtime.pendingTimers).toBe(0);
});

function open(
  options: LocksOptions = {},
  spoil: (inner: LockBackend) => Partial<LockBackend> = () => ({}),
): Locks {
  const inner = space.backend();
  const locks = createLocks({ ...inner, ...spoil(inner) }, { runtime, leaseMs: 3_000, ...options });
  opened.push(locks);
  return locks;
}

/** What a promise comes to, letting time pass. */
async function settle<T>(promise: Promise<T>): Promise<T> {
  let done = false;
  const finish = (): void => {
    done = true;
  };
  promise.then(finish, finish);
  await runtime.runUntil(() => done);
  return promise;
}

const down = (): Promise<never> => Promise.reject(new Error('connection refused'));

describe('a lease', () => {
  it('ends before it can expire elsewhere, by the stated drift, when the backend is away', async () => {
    const failures: unknown[] = [];
    const stop = lockEvents.backendFailed.subscribe((event) => failures.push(event.error));
    const one = open({ driftRatio: 0.01, driftMs: 2 }, () => ({ renew: down }));
    const start = runtime.monotonic();
    const lease = await one.acquire('a');
    expect(lease.remainingMs()).toBe(2_968);
    let abortedAt = 0;
    lease.signal.addEventListener('abort', () => (abortedAt = runtime.monotonic() - start));
    const next = await settle(open().acquire('a'));
    expect(abortedAt).toBe(2_968);
    expect(runtime.monotonic() - start).toBeGreaterThanOrEqual(3_000);
    expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired', key: 'a' });
    expect(await settle(lease.release())).toBe('lost');
    expect(next.held).toBe(true);
    expect(failures.length).toBeGreaterThan(3);
    stop();
  });

  it('counts from before the request was sent, and is renewed first when the reply was slow', async () => {
    let renewals = 0;
    const slow = open({}, (inner) => ({
      async claim(request, call) {
        const result = await inner.claim(request, call);
        await sleep(runtime, 900);
        return result;
      },
      renew(claim, leaseMs, call) {
        renewals++;
        return inner.renew(claim, leaseMs, call);
      },
    }));
    expect((await settle(slow.acquire('a', { leaseMs: 3_000 }))).remainingMs()).toBe(2_068);
    expect(renewals).toBe(0);
    expect((await settle(slow.acquire('b', { leaseMs: 2_800 }))).remainingMs()).toBeGreaterThan(0);
  });

  it('is never handed out when it has run out', async () => {
    const slow = open({ leaseMs: 30 }, (inner) => ({
      async claim(request, call) {
        const result = await inner.claim(request, call);
        await sleep(runtime, 60);
        return result;
      },
    }));
    await expect(settle(slow.acquire('a', { waitMs: 5_000 }))).rejects.toBeInstanceOf(LockError);
  });

  it('sees the end of its lease after the process stood still, before any timer runs', async () => {
    let ahead = 0;
    const clock = { ...runtime, monotonic: () => runtime.monotonic() + ahead };
    const locks = createLocks(space.backend(), { runtime: clock, leaseMs: 3_000 });
    const lease = await locks.acquire('a');
    ahead = 5_000;
    expect(() => lease.assertHeld()).toThrow(LockLostError);
    expect(lease.signal.aborted).toBe(true);
    ahead = 0;
    expect(lease.held).toBe(false);
    await locks.close();
  });

  it('is extended, and then renewed for as long', async () => {
    const lease = await open({ renew: false }).acquire('a');
    await runtime.advance(2_000);
    expect(await settle(lease.extend(10_000))).toBeGreaterThan(9_000);
    await runtime.advance(9_000);
    expect(lease.held).toBe(true);
    await runtime.advance(2_000);
    await expect(settle(lease.extend())).rejects.toMatchObject({ code: 'LOCK_LOST' });
  });

  it('is lost at once when its session ends', async () => {
    let cut: ((cause: unknown) => void) | undefined;
    const lease = await open({}, (inner) => ({
      claim(request, call) {
        cut = (cause) => call.watch.lost(cause);
        return inner.claim(request, call);
      },
    })).acquire('a');
    const cause = new Error('ECONNRESET');
    cut?.(cause);
    expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'session', cause });
    expect(await lease.release()).toBe('lost');
  });

  it('has no fence where the backend has none, and says so', async () => {
    const lease = await open({}, (inner) => ({
      capabilities: { ...inner.capabilities, fencing: 'none' },
      async claim(request, call) {
        const result = await inner.claim(request, call);
        return result.state === 'granted' ? { ...result, fence: undefined } : result;
      },
    })).acquire('a');
    expect(() => lease.fence).toThrow(/LOCK_UNSUPPORTED.*fencing/);
  });

  it('releases itself at the end of a block, without masking what the block threw', async () => {
    const locks = open({ attempts: 1 }, () => ({ release: down }));
    const thrown = await (async () => {
      await using lease = await locks.acquire('a');
      lease.assertHeld();
      throw new Error('mine');
    })().catch((error: unknown) => error);
    expect(thrown).toEqual(new Error('mine'));
  });
});

it('lets any number wait at once, without a warning of too many listeners', async () => {
  const warnings: Error[] = [];
  const hear = (warning: Error): void => void warnings.push(warning);
  process.on('warning', hear);
  const locks = open();
  const uses = Array.from({ length: 30 }, () => locks.using('k', () => Promise.resolve()));
  await settle(Promise.all(uses));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', hear);
  expect(warnings).toEqual([]);
});

describe('using', () => {
  it('keeps the result when only the release failed, and tells that on the channel', async () => {
    const failures: string[] = [];
    const stop = lockEvents.backendFailed.subscribe(({ call }) => failures.push(call));
    const locks = open({ attempts: 2 }, () => ({ release: down }));
    expect(await settle(locks.using('a', () => 7))).toBe(7);
    expect(failures).toEqual(['release', 'release']);
    stop();
  });

  it('rejects with the loss when the work went on after it', async () => {
    const locks = open({ renew: false });
    await expect(
      settle(locks.using('a', { leaseMs: 100 }, () => sleep(runtime, 500))),
    ).rejects.toBeInstanceOf(LockLostError);
  });
});

describe('waiting', () => {
  it('has one error for each way to end, which all are lock errors', async () => {
    const one = open();
    await one.acquire('a');
    const timeout = await settle(one.acquire('a', { waitMs: 500 }).catch((error: unknown) => error));
    expect(timeout).toBeInstanceOf(LockTimeoutError);
    expect(timeout).toBeInstanceOf(LockError);
    expect(timeout).toBeInstanceOf(QuorateError);
    expect(timeout).not.toBeInstanceOf(LockLostError);
    expect(String(timeout)).toMatch(/LOCK_TIMEOUT: "a" did not become free within 500 ms/);
    const failing = open({ attempts: 2 }, () => ({ claim: down }));
    const failed = await settle(failing.acquire('a').catch((error: unknown) => error));
    expect(failed).toBeInstanceOf(LockBackendError);
    expect(failed).toMatchObject({ code: 'LOCK_BACKEND', cause: new Error('connection refused') });
    const closing = one.acquire('a').catch((error: unknown) => error);
    await settle(one.close());
    expect(await closing).toBeInstanceOf(LockClosedError);
  });

  it('gives up at its time also when the backend never answers', async () => {
    const mute = open({}, () => ({ claim: () => new Promise(() => undefined) }));
    const start = runtime.monotonic();
    await expect(settle(mute.acquire('a', { waitMs: 250 }))).rejects.toBeInstanceOf(LockTimeoutError);
    expect(runtime.monotonic() - start).toBe(250);
  });

  it('does not take a grant that was told too late', async () => {
    // The backend hands over, but the message arrives when the lease is over: the claim must be asked for again.
    const holder = open();
    const first = await holder.acquire('a');
    let asked = 0;
    const late = open({ leaseMs: 1_000 }, (inner) => ({
      async claim(request, call) {
        asked++;
        if (asked === 2) {
          await sleep(runtime, 5_000);
          throw new Error('timeout');
        }
        return inner.claim(request, {
          ...call,
          watch: {
            changed: (grant) => runtime.setTimer(1_500, () => call.watch.changed(grant)),
            lost: () => undefined,
          },
        });
      },
    }));
    const waiting = late.acquire('a');
    await runtime.advance(50);
    await first.release();
    const other = await settle(
      open()
        .acquire('a', { waitMs: 1_200 })
        .catch(() => undefined),
    );
    await other?.release();
    const lease = await settle(waiting);
    const stranger = await open().tryAcquire('a');
    expect(stranger).toBeUndefined();
    expect(lease.held).toBe(true);
  });

  it('passes a deadlock of the server on, at once', async () => {
    let calls = 0;
    const victim = open({}, () => ({
      claim(request) {
        calls++;
        return Promise.reject(new DeadlockError(request.key, 'the server chose this claim'));
      },
    }));
    await expect(settle(victim.acquire('a'))).rejects.toBeInstanceOf(DeadlockError);
    expect(calls).toBe(1);
  });
});

describe('upgrades', () => {
  it('of two readers: the second is told of the deadlock, and the first goes on when it lets go', async () => {
    const [one, two] = [open(), open()];
    const [first, second] = [await one.rw('a').read(), await two.rw('a').read()];
    const upgrade = first.upgrade();
    await runtime.advance(10);
    await expect(settle(second.upgrade())).rejects.toBeInstanceOf(DeadlockError);
    expect(second.held).toBe(true);
    await second.release();
    await settle(upgrade);
    expect([first.mode, first.fence > second.fence]).toEqual(['exclusive', true]);
  });

  it('end when the lease is released meanwhile, and leave nothing behind', async () => {
    const [one, two] = [open(), open()];
    const [first, second] = [await one.rw('a').read(), await two.rw('a').read()];
    const upgrade = first.upgrade().catch((error: unknown) => error);
    await runtime.advance(10);
    expect(await first.release()).toBe('released');
    expect(await settle(upgrade)).toBeInstanceOf(LockLostError);
    await second.release();
    expect(await two.tryAcquire('a')).toBeDefined();
  });
});

describe('reentrant locks', () => {
  it('are entered again inside, and given back by the last', async () => {
    const locks = open();
    const again = locks.reentrant();
    await again.using('a', async (_, outer) => {
      await again.using('a', async (_signal, inner) => {
        expect(inner.fence).toBe(outer.fence);
        await using third = await again.acquire('a');
        expect(third.owner).toBe(outer.owner);
      });
      expect(outer.held).toBe(true);
      expect(await locks.tryAcquire('a')).toBeUndefined();
    });
    await (await locks.acquire('a')).release();
  });

  it('are not entered from outside, nor by what outlives them', async () => {
    const again = open().reentrant();
    let late: Promise<unknown> = Promise.resolve();
    await again.using('a', async () => {
      late = sleep(runtime, 100).then(() => again.acquire('a'));
      await Promise.resolve();
    });
    const holder = await again.acquire('a');
    await runtime.advance(200);
    await holder.release();
    expect(await settle(late)).toMatchObject({ key: 'a', held: true });
  });
});

describe('elections', () => {
  it('are observed as they change, and end with the locks', async () => {
    const [one, two] = [open({ client: 'one' }), open({ client: 'two' })];
    const seen: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const leader of two.election('e', { observeEveryMs: 10 }).observe())
        seen.push(leader?.client);
    })();
    await runtime.advance(50);
    const election = one.election('e');
    await settle(election.campaign());
    await expect(election.campaign()).rejects.toBeInstanceOf(InvalidOptionError);
    await runtime.advance(50);
    await settle(election.resign());
    await runtime.advance(50);
    await settle(two.close());
    await watching;
    expect(seen).toEqual([undefined, 'one', undefined]);
  });

  it('let a candidate resign while it campaigns', async () => {
    const [one, two] = [open(), open()];
    await one.election('e').campaign();
    const election = two.election('e');
    const campaign = election.campaign().catch((error: unknown) => error);
    await runtime.advance(10);
    expect(await settle(election.resign())).toBe('none');
    expect(await campaign).toMatchObject({ code: 'LOCK_ABORTED' });
  });
});

describe('createLocks', () => {
  it('refuses what cannot be, by name', () => {
    const backend = memoryBackend({ runtime });
    for (const [options, name] of [
      [{ leaseMs: 0 }, 'leaseMs'],
      [{ leaseMs: 2 }, 'leaseMs'],
      [{ driftRatio: 2 }, 'driftRatio'],
      [{ renew: { everyMs: 0 } }, 'renew.everyMs'],
      [{ attempts: 0 }, 'attempts'],
      [{ client: 'x'.repeat(201) }, 'client'],
      [{ runtime: 3 as never }, 'runtime'],
    ] as const)
      expect(() => createLocks(backend, options)).toThrow(new RegExp(`INVALID_OPTION: ${name}`));
    expect(() => createLocks(undefined as never)).toThrow(/backend must be/);
    expect(() => createLocks({ ...backend, claim: 1 } as never)).toThrow(/backend.claim/);
  });

  it('refuses what the backend cannot do before anything is asked', async () => {
    const poor = open({}, (inner) => ({
      capabilities: {
        ...memoryCapabilities,
        modes: ['exclusive'],
        upgrade: false,
        downgrade: false,
        fifo: false,
        waiting: 'retry',
      },
      claim: () => {
        throw new Error(`${inner.name} was asked`);
      },
    }));
    expect(() => poor.rw('a')).toThrow(/LOCK_UNSUPPORTED.*read-write/);
    expect(() => poor.semaphore('a', 2)).toThrow(/LOCK_UNSUPPORTED.*semaphores/);
    await expect(poor.acquire('a', { fair: true })).rejects.toThrow(/LOCK_UNSUPPORTED.*fair/);
    expect(() => open().semaphore('a', 0)).toThrow(InvalidOptionError);
    await expect(open().semaphore('a', 2).acquire({ permits: 3 })).rejects.toThrow(/permits must be/);
  });

  it('tells what happens on its channels', async () => {
    const told: string[] = [];
    const stops = [
      lockEvents.acquired.subscribe(({ key, fence }) => told.push(`acquired ${key} ${String(fence)}`)),
      lockEvents.released.subscribe(({ key, result }) => told.push(`released ${key} ${result}`)),
      lockEvents.lost.subscribe(({ key, reason }) => told.push(`lost ${key} ${reason}`)),
    ];
    const locks = open({ renew: false });
    await (await locks.acquire('a')).release();
    const lease = await locks.acquire('b');
    await runtime.advance(3_000);
    await lease.release();
    for (const stop of stops) stop();
    expect(told).toEqual([
      'acquired a 1',
      'released a released',
      'acquired b 2',
      'lost b expired',
      'released b lost',
    ]);
  });
});
