import type { LockBackend } from '@quorate/distributed-lock';
import type { LockConformanceWorld } from '@quorate/distributed-lock/conformance';
import { type RedisClient, redisBackend, type RedisBackendOptions } from '@quorate/distributed-lock/redis';
import { randomId, systemRuntime } from '@quorate/runtime';
import { Redis } from 'ioredis';

/** A write that Redis guards by itself: taken unless a higher fence was. */
const GUARDED = `
if tonumber(redis.call('GET', KEYS[1]) or '0') > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
return 1`;

/** Writes with a fence to what a lock protects, on a server. */
export async function guardedWrite(client: RedisClient, key: string, fence: number): Promise<boolean> {
  return (await client.eval(GUARDED, 1, `guarded:${key}`, String(fence))) === 1;
}

/** Clients of servers, each with connections of its own. */
export function clientsWorld<C extends RedisClient>(
  connect: () => C,
  backend: (client: C) => LockBackend,
): LockConformanceWorld {
  const clients = new Map<LockBackend, C>();
  let guard: C | undefined;
  return {
    runtime: systemRuntime,
    client() {
      const client = connect();
      const made = backend(client);
      clients.set(made, client);
      return made;
    },
    crash(made) {
      clients.get(made)?.disconnect();
      return Promise.resolve();
    },
    guarded: (key, fence) => guardedWrite((guard ??= connect()), key, fence),
    teardown() {
      for (const client of clients.values()) client.disconnect();
      guard?.disconnect();
      return Promise.resolve();
    },
  };
}

/** Clients of one server. */
export function redisWorld(url: string, options: RedisBackendOptions = {}): LockConformanceWorld {
  const prefix = `test:${randomId(systemRuntime)}:`;
  return clientsWorld(
    () => new Redis(url),
    (client) => redisBackend(client, { prefix, ...options }),
  );
}
