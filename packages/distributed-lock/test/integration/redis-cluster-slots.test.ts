import { createLocks, type Locks } from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory } from '@quorate/distributed-lock/conformance';
import { redisBackend, redisCapabilities } from '@quorate/distributed-lock/redis';
import { type RedisCluster, startRedisCluster } from '@quorate/testing';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guardedWrite } from './redis-worlds.js';

interface Master {
  readonly id: string;
  readonly port: number;
  readonly admin: Redis;
}

let cluster: RedisCluster;
let masters: Master[] = [];
beforeAll(async () => {
  cluster = await startRedisCluster(3);
  masters = await Promise.all(
    cluster.masters.map(async ({ port }) => {
      const admin = new Redis(port, '127.0.0.1');
      return { id: String(await admin.call('CLUSTER', 'MYID')), port, admin };
    }),
  );
});
afterAll(async () => {
  for (const { admin } of masters) admin.disconnect();
  await cluster[Symbol.asyncDispose]();
});

const connect = (): Cluster => new Cluster([...cluster.nodes]);

/** Who has the slot of a key, by its own account. */
async function masterOf(slot: number): Promise<Master> {
  for (const master of masters) {
    const ranges = (await master.admin.call('CLUSTER', 'SLOTS')) as [
      number,
      number,
      [string, number, string],
    ][];
    const range = ranges.find(([from, to]) => from <= slot && slot <= to);
    if (range?.[2][2] === master.id) return master;
  }
  throw new Error(`nobody has slot ${String(slot)}`);
}

/** Moves a slot with all its keys, one after the other, as `redis-cli --cluster reshard` does. Resolves with the new master. */
async function moveSlot(slot: number): Promise<Master> {
  const from = await masterOf(slot);
  const to = masters[(masters.indexOf(from) + 1) % masters.length];
  if (to === undefined) throw new Error('unreachable: there are three');
  await to.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  for (;;) {
    const [key] = (await from.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 1)) as string[];
    if (key === undefined) break;
    await from.admin.call('MIGRATE', '127.0.0.1', to.port, key, 0, 5_000);
  }
  await to.admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  for (const { admin } of masters) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  return to;
}

describe('a slot that moves to another node', () => {
  it('takes its locks, their queue and their fence along', async () => {
    const clients = Array.from({ length: 4 }, connect);
    const all = clients.map((client) => createLocks(redisBackend(client)));
    const [first, ...others] = all;
    const [anyone] = masters;
    if (first === undefined || anyone === undefined) throw new Error('unreachable');
    const slot = Number(await anyone.admin.call('CLUSTER', 'KEYSLOT', 'moving'));
    const lease = await first.acquire('moving');
    const order: number[] = [];
    const fences: number[] = [];
    const waits: Promise<void>[] = [];
    for (const [index, locks] of others.entries()) {
      waits.push(
        locks.using('moving', async (_, held) => {
          order.push(index);
          fences.push(held.fence);
          // Its own holder moves it once more.
          if (index === 1) await moveSlot(slot);
        }),
      );
      await expect.poll(async () => (await first.inspect('moving')).waiting).toBe(index + 1);
    }
    const from = await masterOf(slot);
    const to = await moveSlot(slot);
    expect(to).not.toBe(from);
    expect(await from.admin.dbsize()).toBe(0);
    expect(await lease.extend()).toBeGreaterThan(0);
    expect(await first.inspect('moving')).toMatchObject({ holders: [{ owner: lease.owner }], waiting: 3 });
    expect(await first.tryAcquire('moving')).toBeUndefined();
    expect(await lease.release()).toBe('released');
    await Promise.all(waits);
    expect(order).toEqual([0, 1, 2]);
    expect([lease.fence, ...fences].toSorted((one, other) => one - other)).toEqual([lease.fence, ...fences]);
    await Promise.all(all.map((locks) => locks.close()));
    for (const client of clients) client.disconnect();
  });

  it(
    'never makes two holders of its locks, while it moves round and round under load',
    { timeout: 60_000 },
    async () => {
      const history = new LockHistory();
      const clients = Array.from({ length: 5 }, connect);
      const guard = connect();
      const [anyone] = masters;
      if (anyone === undefined) throw new Error('unreachable');
      const slot = Number(await anyone.admin.call('CLUSTER', 'KEYSLOT', 'busy'));
      const all = clients.map((client): Locks =>
        createLocks(history.backend(redisBackend(client)), { leaseMs: 5_000, attempts: 1_000 }),
      );
      let turns = 0;
      let stop = false;
      const work = all.map(async (locks) => {
        while (!stop) {
          await locks.using('busy', async (_, lease) => {
            history.entered(lease);
            expect(await guardedWrite(guard, 'elsewhere', lease.fence)).toBe(true);
            history.wrote(lease, lease.fence);
            history.left(lease);
            turns++;
          });
        }
      });
      const turn = async (count: number): Promise<void> => {
        const from = turns;
        await expect.poll(() => turns, { timeout: 20_000, interval: 5 }).toBeGreaterThan(from + count);
      };
      for (let round = 0; round < 6; round++) {
        await turn(20);
        await moveSlot(slot);
      }
      await turn(20);
      stop = true;
      await Promise.all(work);
      expect(checkLockHistory(history.events, redisCapabilities)).toEqual([]);
      await Promise.all(all.map((locks) => locks.close()));
      for (const client of [...clients, guard]) client.disconnect();
    },
  );
});
