import { createLocks, LockLostError } from '@quorate/distributed-lock';
import { lockConformance } from '@quorate/distributed-lock/conformance';
import { redisBackend, redisCapabilities } from '@quorate/distributed-lock/redis';
import { type RedisSentinel, startRedisSentinel } from '@quorate/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientsWorld } from './redis-worlds.js';

let sentinel: RedisSentinel;
beforeAll(async () => {
  sentinel = await startRedisSentinel();
});
afterAll(async () => {
  await sentinel[Symbol.asyncDispose]();
});

function connect(): Redis {
  const client = new Redis({
    sentinels: [...sentinel.sentinels],
    name: sentinel.name,
    sentinelRetryStrategy: () => 50,
  });
  client.on('error', () => undefined);
  return client;
}

lockConformance({
  name: 'locks on a Redis behind Sentinels, with WAIT',
  capabilities: redisCapabilities,
  setup: () =>
    Promise.resolve(
      clientsWorld(connect, (client) => redisBackend(client, { wait: { replicas: 1, timeoutMs: 1_000 } })),
    ),
  runner: { describe, it },
});

describe('a failover', () => {
  it('keeps a lock that a replica has confirmed, and its fence rises', async () => {
    const clients = [connect(), connect()] as const;
    const confirmed = createLocks(redisBackend(clients[0], { wait: { replicas: 1, timeoutMs: 1_000 } }), {
      leaseMs: 60_000,
      attempts: 100,
    });
    const plain = createLocks(redisBackend(clients[1]), { leaseMs: 60_000, attempts: 100 });
    const lease = await confirmed.acquire('survivor');
    await sentinel.master.kill();
    // The claim is repeated until the Sentinels have made the replica the master; and there the lock is.
    expect(await plain.tryAcquire('survivor')).toBeUndefined();
    expect(lease.held).toBe(true);
    // No replica is left that could confirm.
    await expect(confirmed.acquire('another', { waitMs: 3_000 })).rejects.toMatchObject({
      code: expect.stringMatching(/LOCK_TIMEOUT|LOCK_BACKEND/) as string,
    });
    // What it had without confirmation is given back.
    await plain.acquire('another', { waitMs: 10_000 });
    expect(await lease.release()).toBe('released');
    const next = await plain.acquire('survivor');
    expect(next.fence).toBeGreaterThan(lease.fence);
    expect(lease.signal.reason).not.toBeInstanceOf(LockLostError);
    await Promise.all([plain.close(), confirmed.close()]);
    for (const client of clients) client.disconnect();
  });
});
