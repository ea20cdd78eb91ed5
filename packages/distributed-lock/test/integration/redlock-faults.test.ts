import { createLocks, type Locks, type LocksOptions } from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory } from '@quorate/distributed-lock/conformance';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { redlockBackend, redlockCapabilities, type RedlockOptions } from '@quorate/distributed-lock/redlock';
import { type Runtime, systemRuntime } from '@quorate/runtime';
import { type Instance, isolated } from '@quorate/testing';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

let servers: Instance[] = [];
const clients = new Set<Redis>();
const made = new Set<Locks>();

beforeAll(async () => {
  servers = await Promise.all([1, 2, 3].map(() => isolated('redis')));
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});
afterEach(async () => {
  await Promise.all([...made].map((locks) => locks.close()));
  for (const one of clients) one.disconnect();
  made.clear();
  clients.clear();
});

function connect(): Redis[] {
  return servers.map(({ port }) => {
    const one = new Redis(port, '127.0.0.1', { retryStrategy: () => 20 });
    one.on('error', () => undefined);
    clients.add(one);
    return one;
  });
}

function locksOf(options: LocksOptions & RedlockOptions = {}, history?: LockHistory): Locks {
  const backend = redlockBackend(connect(), { nodeTimeoutMs: 1_000, ...options });
  const locks = createLocks(history?.backend(backend) ?? backend, options);
  made.add(locks);
  return locks;
}

const none = { changed: () => undefined, lost: () => undefined };
const call = { signal: new AbortController().signal, waitMs: 0, watch: none };
const request = (key: string, owner: string) =>
  ({ key, owner, mode: 'exclusive', permits: 1, total: 1, leaseMs: 2_000, wait: false }) as const;

it('a tied vote settles, and leaves nothing behind', async () => {
  // Each of three has one server, and none can have a majority.
  const votes = connect().map((client) => redisBackend(client));
  for (const [index, vote] of votes.entries())
    expect(await vote.claim(request('tied', `voter-${String(index)}`), call)).toMatchObject({
      state: 'granted',
    });
  const late = redlockBackend(connect(), { nodeTimeoutMs: 1_000 });
  expect(await late.claim(request('tied', 'late'), call)).toEqual({ state: 'busy' });
  expect(await votes[0]?.release({ key: 'tied', owner: 'voter-0' }, call)).toBe('released');
  // It gets one vote of three, and gives it back.
  expect(await late.claim(request('tied', 'late'), call)).toEqual({ state: 'busy' });
  expect(await votes[0]?.inspect?.('tied', call)).toEqual({ holders: [], waiting: 0 });
  expect(await votes[1]?.release({ key: 'tied', owner: 'voter-1' }, call)).toBe('released');
  expect(await late.claim(request('tied', 'late'), call)).toMatchObject({ state: 'granted' });
  await Promise.all([late, ...votes].map((backend) => backend.close()));
});

it('many who want one lock at once all get it, one at a time', async () => {
  const history = new LockHistory();
  const all = Array.from({ length: 8 }, () => locksOf({ backoff: { minMs: 5, maxMs: 100 } }, history));
  await Promise.all(
    all.map(async (locks) => {
      for (let round = 0; round < 4; round++) {
        await locks.using('contended', (_, lease) => {
          history.entered(lease);
          history.left(lease);
        });
      }
    }),
  );
  expect(checkLockHistory(history.events, redlockCapabilities)).toEqual([]);
  expect(history.events.filter(({ type }) => type === 'entered')).toHaveLength(32);
});

it('a lock whose lease is over when the answers are in is undone, never returned', async () => {
  let aheadMs = 0;
  const runtime: Runtime = { ...systemRuntime, monotonic: () => systemRuntime.monotonic() + aheadMs };
  const backend = redlockBackend(connect(), { nodeTimeoutMs: 60_000, runtime });
  const [first, ...slow] = servers;
  await backend.claim(request('warm', 'me'), call);
  for (const server of slow) await server.pause();
  const claim = backend.claim(request('slow', 'me'), call);
  const outcome = expect(claim).rejects.toThrow(/longer than the lease/);
  aheadMs = 2_001;
  for (const server of slow) await server.resume();
  await outcome;
  for (const client of connect()) {
    const node = redisBackend(client);
    expect(await node.inspect?.('slow', call)).toEqual({ holders: [], waiting: 0 });
    await node.close();
  }
  expect(first).toBeDefined();
  await backend.close();
});

it('a lock that is taken is busy, not an error, while a server is down and another is slow to say so', async () => {
  const [first, , third] = servers as [Instance, Instance, Instance];
  const locks = locksOf({ leaseMs: 30_000, nodeTimeoutMs: 60_000 });
  const backend = redlockBackend(connect(), { nodeTimeoutMs: 60_000 });
  const lease = await locks.acquire('taken');
  await first.kill();
  await third.pause();
  const claim = backend.claim(request('taken', 'late'), call);
  // The one that is down and the one that answers have been heard by now; the claim waits for the third.
  const [, live] = connect() as [Redis, Redis, Redis];
  await redisBackend(live).inspect?.('taken', call);
  await third.resume();
  expect(await claim).toEqual({ state: 'busy' });
  expect(await lease.release()).toBe('released');
  await backend.close();
  await first.restart();
});

it('one server of three may be down, frozen or empty; of two down it is told which', async () => {
  const [first, second, third] = servers as [Instance, Instance, Instance];
  const locks = locksOf({
    leaseMs: 3_000,
    attempts: 2,
    nodeTimeoutMs: 200,
    backoff: { minMs: 1, maxMs: 10 },
  });
  const lease = await locks.acquire('kept');
  await first.kill();
  expect(await lease.extend()).toBeGreaterThan(0);
  await (await locks.acquire('one down')).release();
  await first.restart();
  expect(await locks.tryAcquire('kept')).toBeUndefined();
  await second.pause();
  await (await locks.acquire('one frozen')).release();
  await third.kill();
  await expect(locks.acquire('two away')).rejects.toMatchObject({
    code: 'LOCK_BACKEND',
    message: expect.stringContaining(`127.0.0.1:${String(third.port)}`) as string,
  });
  await second.resume();
  await third.restart();
  const late = await locks.acquire('two away', { waitMs: 20_000 });
  expect(await late.release()).toBe('released');
});
