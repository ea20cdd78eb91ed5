import { redisBackend } from '@quorate/distributed-lock/redis';
import { redlockBackend } from '@quorate/distributed-lock/redlock';
import { InvalidOptionError } from '@quorate/runtime';
import { Cluster, Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';

const lazy = (port: number): Redis => new Redis({ port, lazyConnect: true });
const clients = [7_001, 7_002, 7_003, 7_004].map(lazy);
const [one, two, three, four] = clients as [Redis, Redis, Redis, Redis];
const cluster = new Cluster([{ port: 7_001 }], { lazyConnect: true });

describe('a backend on Redis refuses by name', () => {
  it.each([
    ['nothing', undefined, /client/],
    ['an address', 'redis://localhost', /redis:\/\/localhost/],
    ['a pipeline', one.pipeline(), /pipeline/],
    ['a client of another package', { isOpen: true, evalSha: () => undefined }, /node-redis/],
    ['any object', new Map(), /client/],
    ['an object without a prototype', Object.create(null), /client/],
  ])('%s', (_, value, message) => {
    expect(() => redisBackend(value as Redis)).toThrow(InvalidOptionError);
    expect(() => redisBackend(value as Redis)).toThrow(message);
    expect(() => redlockBackend([one, two, value as Redis])).toThrow(InvalidOptionError);
  });

  it('impossible options', () => {
    for (const prefix of ['{a}', 'a}', 'a\n']) {
      expect(() => redisBackend(one, { prefix })).toThrow(/prefix/);
      expect(() => redlockBackend([one, two, three], { prefix })).toThrow(/prefix/);
    }
    expect(() => redisBackend(one, { wait: { replicas: 0, timeoutMs: 1 } })).toThrow(/wait.replicas/);
    expect(() => redisBackend(one, { wait: { replicas: 1, timeoutMs: 0 } })).toThrow(/wait.timeoutMs/);
  });

  it('what is no odd number of independent servers', () => {
    for (const list of [[], [one], [one, two], clients, undefined as unknown as Redis[]])
      expect(() => redlockBackend(list)).toThrow(/odd number/);
    expect(() => redlockBackend([one, two, lazy(7_001)])).toThrow(/localhost:7001|127.0.0.1:7001/);
    expect(() => redlockBackend([one, two, cluster as unknown as Redis])).toThrow(/Cluster/);
    expect(() => redlockBackend([one, two, four], { nodeTimeoutMs: 0 })).toThrow(/nodeTimeoutMs/);
  });
});
