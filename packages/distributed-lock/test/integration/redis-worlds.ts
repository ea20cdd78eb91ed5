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
  let guard: C | undefined;
  const world = severalWorld(
    () => [connect()],
    ([client = connect()]) => backend(client),
  );
  return {
    ...world,
    async teardown() {
      guard?.disconnect();
      await world.teardown();
    },
    guarded: (key, fence) => guardedWrite((guard ??= connect()), key, fence),
  };
}

/** The same, where each backend has several of them. */
export function severalWorld<C extends RedisClient>(
  connect: () => readonly C[],
  backend: (clients: readonly C[]) => LockBackend,
): LockConformanceWorld {
  const made = new Map<LockBackend, readonly C[]>();
  const disconnect = (clients: readonly C[] = []): void => {
    for (const client of clients) client.disconnect();
  };
  return {
    runtime: systemRuntime,
    client() {
      const clients = connect();
      const one = backend(clients);
      made.set(one, clients);
      return one;
    },
    crash(one) {
      disconnect(made.get(one));
      return Promise.resolve();
    },
    teardown() {
      for (const clients of made.values()) disconnect(clients);
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
