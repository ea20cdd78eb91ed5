import { createLocks } from '@quorate/distributed-lock';
import { lockConformance } from '@quorate/distributed-lock/conformance';
import { redisBackend, redisCapabilities } from '@quorate/distributed-lock/redis';
import { type RedisCluster, startRedisCluster } from '@quorate/testing';
import { Cluster } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientsWorld } from './redis-worlds.js';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster(3);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

const connect = (): Cluster => new Cluster([...cluster.nodes]);

lockConformance({
  name: 'locks on a Redis Cluster',
  capabilities: redisCapabilities,
  setup: () => Promise.resolve(clientsWorld(connect, (client) => redisBackend(client))),
  runner: { describe, it },
});

describe('a Redis Cluster', () => {
  it('keeps locks on all its nodes, whatever is in their names', async () => {
    const client = connect();
    const locks = createLocks(redisBackend(client));
    const keys = Array.from(
      { length: 60 },
      (_, index) => `${['', '}', '{', '{}', '{a}'][index % 5] ?? ''}${String(index)}`,
    );
    const set = await locks.acquireAll(keys);
    const sizes = await Promise.all(client.nodes('master').map((node) => node.dbsize()));
    expect(sizes.length).toBe(3);
    for (const size of sizes) expect(size).toBeGreaterThan(0);
    expect(await set.release()).toBe('released');
    await locks.close();
    client.disconnect();
  });

  it('hands a lock over between clients that hear of it at different nodes', async () => {
    const clients = Array.from({ length: 6 }, connect);
    const all = clients.map((client) => createLocks(redisBackend(client)));
    const order: number[] = [];
    const [first, ...others] = all;
    if (first === undefined) throw new Error('unreachable');
    const lease = await first.acquire('shared by all');
    const waits: Promise<void>[] = [];
    for (const [index, locks] of others.entries()) {
      waits.push(
        locks.using('shared by all', () => {
          order.push(index);
        }),
      );
      await expect.poll(async () => (await first.inspect('shared by all')).waiting).toBe(index + 1);
    }
    await lease.release();
    await Promise.all(waits);
    expect(order).toEqual([0, 1, 2, 3, 4]);
    await Promise.all(all.map((locks) => locks.close()));
    for (const client of clients) client.disconnect();
  });
});
