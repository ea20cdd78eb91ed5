import {
  createLocks,
  type Lease,
  type LockBackend,
  lockEvents,
  type Locks,
  type LocksOptions,
} from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory } from '@quorate/distributed-lock/conformance';
import { redisBackend, type RedisBackendOptions, redisCapabilities } from '@quorate/distributed-lock/redis';
import { type Runtime, systemRuntime } from '@quorate/runtime';
import { type Instance, isolated } from '@quorate/testing';
import { Redis } from 'ioredis';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { guardedWrite } from './redis-worlds.js';
import { SeveringProxy } from './severing-proxy.js';

const FIXTURE = fileURLToPath(new URL('redis-client.fixture.ts', import.meta.url));
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

let server: Instance;
let admin: Redis;
const clients = new Set<Redis>();
const made = new Set<Locks>();
const children = new Set<ChildProcess>();

beforeAll(async () => {
  server = await isolated('redis');
});
afterAll(async () => {
  await server.stop();
});
beforeEach(async () => {
  admin = client();
  await admin.flushall();
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all([...made].map((locks) => locks.close()));
  for (const one of clients) one.disconnect();
  made.clear();
  clients.clear();
});

function client(port = server.port): Redis {
  const one = new Redis(port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null });
  one.on('error', () => undefined);
  clients.add(one);
  return one;
}

function locksOf(
  options: LocksOptions & RedisBackendOptions = {},
  over = client(),
  history?: LockHistory,
): Locks {
  const backend: LockBackend = redisBackend(over, options);
  const locks = createLocks(history?.backend(backend) ?? backend, options);
  made.add(locks);
  return locks;
}

/** Starts a process that takes a lock; `granted` resolves with its fence. */
function processThatLocks(
  key: string,
  leaseMs: number,
): { child: ChildProcess; granted: Promise<{ fence: number }> } {
  const child = fork(FIXTURE, [server.url, key, String(leaseMs)], {
    execArgv: ['--conditions=@quorate/source', '--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  children.add(child);
  return { child, granted: message(child) };
}

async function message<T>(child: ChildProcess): Promise<T> {
  const [said] = (await once(child, 'message')) as [T];
  return said;
}

async function waiting(locks: Locks, key: string, count: number): Promise<void> {
  await expect
    .poll(async () => (await locks.inspect(key)).waiting, { timeout: 20_000, interval: 5 })
    .toBe(count);
}

describe('a lost reply', () => {
  it('does not block its own retry, and a release that was answered by nobody is no loss', async () => {
    await using proxy = await SeveringProxy.to(server.port);
    for (const resends of [true, false]) {
      const over = new Redis(proxy.port, '127.0.0.1', {
        autoResendUnfulfilledCommands: resends,
        maxRetriesPerRequest: resends ? null : 0,
        retryStrategy: () => 10,
      });
      over.on('error', () => undefined);
      clients.add(over);
      const key = `lost-${String(resends)}`;
      const locks = locksOf({ leaseMs: 10_000 }, over);
      await (await locks.acquire('warm')).release();
      let severed = proxy.sever(key);
      const lease = await locks.acquire(key);
      await severed;
      expect((await locks.inspect(key)).holders.map(({ fence }) => fence)).toEqual([lease.fence]);
      severed = proxy.sever(key);
      expect(await lease.release()).toBe('released');
      await severed;
      expect((await locks.inspect(key)).holders).toEqual([]);
    }
  });
});

describe('a server that loses its data', () => {
  it('is noticed: the lock is lost, release says so, and using masks nothing', async () => {
    const locks = locksOf({ leaseMs: 1_000 });
    const lease = await locks.acquire('flushed');
    const lost = once(lease.signal, 'abort');
    await admin.flushall();
    await lost;
    expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'gone' });
    expect(await lease.release()).toBe('lost');

    const mine = new Error('mine');
    const failing = locks.using('masked', async () => {
      await admin.flushall();
      throw mine;
    });
    await expect(failing).rejects.toBe(mine);
    await expect(locks.using('told', () => admin.flushall())).rejects.toMatchObject({ code: 'LOCK_LOST' });
  });

  it('does not begin its fences at 1 again, after FLUSHALL and after a restart', async () => {
    const locks = locksOf({ attempts: 100 });
    const fences: number[] = [];
    const take = async (): Promise<void> => {
      const lease = await locks.acquire('fenced');
      fences.push(lease.fence);
      await lease.release();
    };
    await take();
    await admin.flushall();
    await take();
    await server.kill();
    await server.restart();
    await take();
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    expect(fences[0]).toBeGreaterThan(Date.UTC(2020, 0) * 1000);
  });

  it('is no reason for a process to end: renewals fail, and the lock is lost in time', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => {
      unhandled.push(reason);
    };
    process.on('unhandledRejection', note);
    const failures: unknown[] = [];
    const failed = (event: unknown): void => {
      failures.push(event);
    };
    const unsubscribe = lockEvents.backendFailed.subscribe(failed);
    const over = new Redis(server.port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: 0 });
    over.on('error', () => undefined);
    clients.add(over);
    const locks = locksOf({ leaseMs: 600 }, over);
    const lease = await locks.acquire('renewed');
    const lost = once(lease.signal, 'abort');
    await server.kill();
    await lost;
    expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
    expect(failures.length).toBeGreaterThan(0);
    await server.restart();
    expect(await lease.release()).toBe('lost');
    process.off('unhandledRejection', note);
    unsubscribe();
    expect(unhandled).toEqual([]);
  });
});

describe('clocks of clients', () => {
  it('do not matter: a semaphore is never overfilled, nor a lease too long', async () => {
    const history = new LockHistory();
    const skewed = (hours: number): Runtime => ({
      ...systemRuntime,
      now: () => systemRuntime.now() + hours * 3_600_000,
      monotonic: () => systemRuntime.monotonic() + hours * 3_600_000,
    });
    const all = [-5, -1, 0, 1, 5, 1_000].map((hours) =>
      locksOf({ leaseMs: 5_000, runtime: skewed(hours) }, client(), history),
    );
    await Promise.all(
      all.flatMap((locks) =>
        [1, 2].map(async (permits) => {
          for (let round = 0; round < 10; round++) {
            await locks.semaphore('skewed', 3).using({ permits }, async (_, lease) => {
              history.entered(lease, permits, 3);
              await admin.ping();
              history.left(lease);
            });
          }
        }),
      ),
    );
    expect(checkLockHistory(history.events, redisCapabilities)).toEqual([]);
    expect(history.events.filter(({ type }) => type === 'entered')).toHaveLength(120);
  });
});

describe('processes', () => {
  it('that are killed as holder and as waiter block nobody, and keep their order', async () => {
    const locks = locksOf({ leaseMs: 30_000 });
    const holder = processThatLocks('killed', 1_500);
    const { fence } = await holder.granted;
    const dead = processThatLocks('killed', 1_500);
    await waiting(locks, 'killed', 1);
    const alive = locks.acquire('killed');
    await waiting(locks, 'killed', 2);
    dead.child.kill('SIGKILL');
    holder.child.kill('SIGKILL');
    const lease = await alive;
    expect(lease.fence).toBeGreaterThan(fence);
    expect(await locks.inspect('killed')).toMatchObject({ holders: [{ owner: lease.owner }], waiting: 0 });
  });

  it('that stand still beyond their lease see it when they go on, and what is guarded refuses them', async () => {
    const locks = locksOf();
    const { child, granted } = processThatLocks('frozen', 800);
    const { fence } = await granted;
    expect(await guardedWrite(admin, 'frozen', fence)).toBe(true);
    child.kill('SIGSTOP');
    const lease = await locks.acquire('frozen');
    expect(lease.fence).toBeGreaterThan(fence);
    expect(await guardedWrite(admin, 'frozen', lease.fence)).toBe(true);
    const said = message(child);
    child.send('write');
    child.kill('SIGCONT');
    expect(await said).toEqual({ held: false, wrote: false, aborted: true, released: 'lost' });
    expect(lease.held).toBe(true);
  });
});

describe('a server that is frozen and cut off', () => {
  it('never has two holders, and in the end everybody was served', { timeout: 60_000 }, async () => {
    const history = new LockHistory();
    const brief = locksOf({ leaseMs: 500 });
    const crowd = new Crowd(history, async (lease) => {
      const act = (): void => {
        // As somebody who asks before each step whether it is still protected.
        if (lease.held) history.wrote(lease, lease.fence);
      };
      act();
      await guardedWrite(admin, 'faults', lease.fence);
      act();
    });
    await crowd.turns(20);
    for (let round = 0; round < 3; round++) {
      const witness = await brief.acquire('witness');
      const lost = once(witness.signal, 'abort');
      await server.pause();
      await lost;
      await server.resume();
      await crowd.turns(20);
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await crowd.turns(20);
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await crowd.turns(20);
    }
    await crowd.end();
    // What a connection lost is asked again, and may be behind what was not.
    expect(checkLockHistory(history.events, { ...redisCapabilities, fifo: false })).toEqual([]);
  });
});

describe('a server that is restarted without its data', () => {
  it(
    'grants what others still hold, with fences that refuse them, and serves everybody',
    {
      timeout: 60_000,
    },
    async () => {
      // What is protected: it remembers the highest fence, and does not lose it with the server.
      let highest = 0;
      const refused: number[] = [];
      const losses: number[] = [];
      const crowd = new Crowd(new LockHistory(), async (lease) => {
        const write = (): void => {
          if (lease.fence >= highest) highest = lease.fence;
          else refused.push(lease.fence);
        };
        write();
        await guardedWrite(admin, 'faults', lease.fence);
        write();
      });
      for (let round = 0; round < 5; round++) {
        await crowd.turns(20);
        await server.kill();
        // Fences are the microseconds of the same clock: those below this one are of grants that are forgotten.
        losses.push(systemRuntime.now() * 1_000);
        await server.restart();
      }
      await crowd.turns(20);
      await crowd.end();
      for (const fence of refused)
        expect(losses.some((lossUs) => fence < lossUs && lossUs < highest)).toBe(true);
      // Nobody is refused for long: only who held it when the data was lost.
      expect(refused.length).toBeLessThanOrEqual(2 * losses.length);
    },
  );
});

/** Five clients that take one lock again and again, whatever happens to the server. */
class Crowd {
  #turns = 0;
  #over = false;
  readonly #work: Promise<unknown>;

  constructor(history: LockHistory, turn: (lease: Lease) => Promise<void>) {
    const all = Array.from({ length: 5 }, () =>
      locksOf({ leaseMs: 1_000, attempts: 1_000 }, client(), history),
    );
    this.#work = Promise.all(
      all.map(async (locks) => {
        while (!this.#over) {
          await locks
            .using('faults', async (_, lease) => {
              await turn(lease);
              this.#turns++;
            })
            .catch((error: unknown) => {
              expect(error).toMatchObject({ code: 'LOCK_LOST' });
            });
        }
      }),
    );
  }

  /** Waits until so many more turns were taken. */
  async turns(count: number): Promise<void> {
    const from = this.#turns;
    await expect.poll(() => this.#turns, { timeout: 30_000, interval: 5 }).toBeGreaterThan(from + count);
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#work;
  }
}

describe('the queue', () => {
  it('serves 32 waiters of several processes’ worth of clients in their order, each at once', async () => {
    const history = new LockHistory();
    const all = Array.from({ length: 8 }, () => locksOf({}, client(), history));
    const [first] = all;
    if (first === undefined) throw new Error('unreachable');
    const lease = await first.acquire('fifo');
    const order: number[] = [];
    const waits: Promise<void>[] = [];
    for (let place = 0; place < 32; place++) {
      const locks = all[place % all.length] ?? first;
      waits.push(
        locks.using('fifo', () => {
          order.push(place);
        }),
      );
      await waiting(first, 'fifo', place + 1);
    }
    await lease.release();
    await Promise.all(waits);
    expect(order).toEqual(Array.from({ length: 32 }, (_, place) => place));
    expect(checkLockHistory(history.events, redisCapabilities)).toEqual([]);
  });

  it('keeps the order of arrival while connections are killed, in line and at each hand-over', async () => {
    const history = new LockHistory();
    const all = Array.from({ length: 6 }, () => locksOf({ attempts: 1_000 }, client(), history));
    const [first] = all;
    if (first === undefined) throw new Error('unreachable');
    const sever = async (): Promise<void> => {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    };
    const lease = await first.acquire('severed');
    const order: number[] = [];
    const waits: Promise<void>[] = [];
    for (let place = 0; place < 18; place++) {
      const locks = all[place % all.length] ?? first;
      waits.push(
        locks.using('severed', async () => {
          order.push(place);
          await sever();
        }),
      );
      await waiting(first, 'severed', place + 1);
      if (place % 6 === 5) await sever();
    }
    await lease.release();
    await Promise.all(waits);
    expect(order).toEqual(Array.from({ length: 18 }, (_, place) => place));
    expect(checkLockHistory(history.events, redisCapabilities)).toEqual([]);
  });

  it('tells on one connection per client, however many backends and waiters', async () => {
    const over = client();
    const [one, two, holder] = [locksOf({}, over), locksOf({}, over), locksOf()];
    const keys = ['a', 'b', 'c'];
    const held = await holder.acquireAll(keys);
    const waits = keys.flatMap((key) => [one, two].map((locks) => locks.using(key, () => key)));
    for (const key of keys) await waiting(holder, key, 2);
    const subscribers = async (): Promise<number> =>
      String(await admin.call('CLIENT', 'LIST', 'TYPE', 'pubsub'))
        .split('\n')
        .filter(Boolean).length;
    await expect.poll(subscribers).toBe(1);
    await held.release();
    await Promise.all(waits);
    await one.close();
    expect(await subscribers()).toBe(1);
    await two.close();
    await expect.poll(subscribers).toBe(0);
  });
});

describe('calls of one turn', () => {
  it('leave in few writes, also on the connection after one that was lost', async () => {
    const over = client();
    const locks = locksOf({}, over);
    const keys = Array.from({ length: 64 }, (_, at) => `gathered-${String(at)}`);
    const takeAll = async (): Promise<number> => {
      const writes = [vi.spyOn(over.stream, '_write'), vi.spyOn(over.stream, '_writev' as '_write')];
      const leases = await Promise.all(keys.map((key) => locks.acquire(key)));
      await Promise.all(leases.map((lease) => lease.release()));
      return writes.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    };
    // The first call loads the scripts; it is not gathered.
    await (await locks.acquire('first')).release();
    expect(await takeAll()).toBeLessThanOrEqual(2 * (64 / 16 + 1));
    over.stream.destroy();
    await (await locks.acquire('first')).release();
    expect(await takeAll()).toBeLessThanOrEqual(2 * (64 / 16 + 1));
  });
});

describe('keys', () => {
  it('all end by themselves, and after a release only the fence is left, for a day or two', async () => {
    const locks = locksOf({ leaseMs: 5_000 });
    const odd = ['plain', '{', '}', '{}', '{a}b}', 'a\nb', '\0', '%7B'];
    const leases: Lease[] = [];
    const ends = new AbortController();
    const waits: Promise<unknown>[] = [];
    for (const key of odd) {
      leases.push(await locks.acquire(key));
      waits.push(locks.acquire(key, { signal: ends.signal }).catch(() => undefined));
      await waiting(locks, key, 1);
    }
    const ttls = async (): Promise<number[]> =>
      Promise.all((await admin.keys('*')).map((key) => admin.pttl(key)));
    expect(await ttls()).toHaveLength(odd.length);
    for (const ttl of await ttls()) expect(ttl).toBeGreaterThan(0);
    ends.abort();
    await Promise.all(waits);
    for (const key of odd) await waiting(locks, key, 0);
    for (const lease of leases) expect(await lease.release()).toBe('released');
    const left = await ttls();
    expect(left).toHaveLength(odd.length);
    for (const ttl of left) {
      expect(ttl).toBeGreaterThan(DAY_MS - 60_000);
      expect(ttl).toBeLessThanOrEqual(2 * DAY_MS + HOUR_MS);
    }
    for (const key of await admin.keys('*')) expect(await admin.hkeys(key)).toEqual(['s']);
  });
});

describe('what is no Redis to write to', () => {
  it('is refused by name, and nothing is acquired', async () => {
    await using replica = await isolated('redis');
    const reading = client(replica.port);
    await reading.replicaof('127.0.0.1', server.port);
    const locks = locksOf({ backoff: { minMs: 1, maxMs: 5 } }, reading);
    await expect(locks.acquire('read-only')).rejects.toMatchObject({
      code: 'LOCK_BACKEND',
      message: expect.stringContaining('READONLY') as string,
    });
    await expect(locks.tryAcquire('read-only')).rejects.toMatchObject({ code: 'LOCK_BACKEND' });

    const closing = client();
    const over = locksOf({}, closing);
    closing.disconnect();
    await once(closing, 'end');
    await expect(over.acquire('closed')).rejects.toMatchObject({
      code: 'LOCK_BACKEND',
      message: expect.stringContaining('status is end') as string,
    });
    expect(() => redisBackend(closing)).toThrow(/client.*closed/);

    // Of RESP 3 a connection that has subscribed to something takes commands all the same.
    const hearing = new Redis(server.port, '127.0.0.1', { protocol: 2 });
    clients.add(hearing);
    await hearing.subscribe('something');
    expect(() => redisBackend(hearing)).toThrow(/subscriber mode/);
    expect(await admin.keys('quorate:*')).toEqual([]);
  });
});
