/**
 * Locks on Redis beside what people would use instead, and beside the limit: the two round trips that any lock of one
 * server costs, SET NX PX and a compare-and-delete by EVALSHA, without renewal, fence or queue. Between the two are the
 * scripts of `/redis` alone, by EVALSHA: what a fence and a queue cost whoever calls them.
 *
 * Acquire and release in sequence and on 64 keys at once; CPU of this process for one pair; and the hand-over of one
 * lock to 32 waiters that hold it for 5 ms each. One private server, one run, all subjects in each round; ratios are
 * medians of the ratios within a round. `--quick` for a look.
 */
import { createLocks } from '@quorate/distributed-lock';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { redlockBackend } from '@quorate/distributed-lock/redlock';
import { sleep, systemRuntime } from '@quorate/runtime';
import { isolated } from '@quorate/testing';
import { Redis } from 'ioredis';
import { createHash } from 'node:crypto';
import { Mutex } from 'redis-semaphore';
import Redlock4 from 'redlock4';
import Redlock5 from 'redlock5';
import { lockKeys, scripts } from '../src/redis/scripts.js';

/** One way to take a lock: what it returns gives it back. */
interface Subject {
  readonly name: string;
  acquire(key: string): Promise<() => Promise<unknown>>;
  /** A subject that can only try is not asked to wait. */
  readonly waits: boolean;
  close?(): Promise<void>;
}

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 9;
const SEQUENTIAL = quick ? 400 : 1_200;
const WIDE = 64;
const PAIRS_WIDE = quick ? 3_000 : 8_000;
const WAITERS = 32;
const HOLD_MS = 5;
const LEASE_MS = 30_000;
const DELETE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end`;

const servers = [await isolated('redis'), await isolated('redis'), await isolated('redis')] as const;
const [server] = servers;
const connections: Redis[] = [];
const connect = (to: { readonly port: number } = server): Redis => {
  const client = new Redis(to.port, '127.0.0.1');
  connections.push(client);
  return client;
};
const admin = connect();

function raw(): Subject {
  const client = connect();
  const digest = createHash('sha1').update(DELETE).digest('hex');
  let tokens = 0;
  return {
    name: 'raw: SET NX PX, EVALSHA',
    waits: false,
    async acquire(key) {
      const token = `token-${String(tokens++)}`;
      if ((await client.set(key, token, 'PX', LEASE_MS, 'NX')) !== 'OK') throw new Error(`${key} is taken`);
      return () => client.evalsha(digest, 1, key, token);
    },
  };
}

function scriptsAlone(): Subject {
  const client = connect();
  let owners = 0;
  return {
    name: 'the scripts of /redis alone',
    waits: false,
    async acquire(key) {
      const keys = lockKeys('alone:', key);
      const owner = `abcdefghijklmnopqrstuv-${String(owners++)}`;
      if (Number(await client.evalsha(scripts.claim.digest, 3, ...keys, owner, 'e', 1, 1, LEASE_MS, '')) <= 0)
        throw new Error(`${key} is taken`);
      return () => client.evalsha(scripts.release.digest, 3, ...keys, owner);
    },
  };
}

function own(): Subject {
  const locks = createLocks(redisBackend(connect()), { leaseMs: LEASE_MS });
  return {
    name: 'quorate /redis',
    waits: true,
    async acquire(key) {
      const lease = await locks.acquire(key);
      return () => lease.release();
    },
    close: () => locks.close(),
  };
}

function ownQuorum(): Subject {
  const locks = createLocks(redlockBackend(servers.map(connect)), { leaseMs: LEASE_MS });
  return {
    name: 'quorate /redlock, 3 servers',
    waits: true,
    async acquire(key) {
      const lease = await locks.acquire(key);
      return () => lease.release();
    },
    close: () => locks.close(),
  };
}

function semaphore(): Subject {
  const client = connect();
  return {
    name: 'redis-semaphore 5.8',
    waits: true,
    async acquire(key) {
      const mutex = new Mutex(client, key, { lockTimeout: LEASE_MS, acquireTimeout: 60_000 });
      await mutex.acquire();
      return () => mutex.release();
    },
  };
}

function redlock4(name: string, on: readonly { readonly port: number }[]): Subject {
  const redlock = new Redlock4(on.map(connect), { retryCount: 10_000 });
  return {
    name,
    waits: true,
    async acquire(key) {
      const lock = await redlock.lock(key, LEASE_MS);
      return () => lock.unlock();
    },
  };
}

function redlock5(): Subject {
  const redlock = new Redlock5([connect()], { retryCount: 10_000 });
  redlock.on('error', () => undefined);
  return {
    name: 'redlock 5 beta',
    waits: true,
    async acquire(key) {
      const lock = await redlock.acquire([key], LEASE_MS);
      return () => lock.release();
    },
  };
}

const subjects: readonly Subject[] = [
  raw(),
  scriptsAlone(),
  own(),
  semaphore(),
  redlock4('redlock 4.2', [server]),
  redlock5(),
  ownQuorum(),
  redlock4('redlock 4.2, 3 servers', servers),
];

interface Rate {
  readonly perSecond: number;
  readonly cpuUs: number;
}

/** Runs `total` pairs, `width` at a time, each worker on a key of its own. */
async function pairs(subject: Subject, total: number, width: number): Promise<Rate> {
  let left = total;
  const cpu = process.cpuUsage();
  const start = systemRuntime.monotonic();
  await Promise.all(
    Array.from({ length: width }, async (_, worker) => {
      const key = `${subject.name}-${String(worker)}`;
      while (left-- > 0) await (await subject.acquire(key))();
    }),
  );
  const tookMs = systemRuntime.monotonic() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: (total * 1_000) / tookMs, cpuUs: (user + system) / total };
}

interface HandOver {
  readonly totalMs: number;
  readonly meanGapMs: number;
  readonly maxGapMs: number;
  /** Pairs of waiters that were served in another order than they came. */
  readonly inversions: number;
  readonly commands: number;
}

/** Lets waiters queue behind a holder, one after the other, and then pass the lock from hand to hand. */
async function handOver(subject: Subject, round: number): Promise<HandOver> {
  const { name } = subject;
  const key = `${name}-hand-over-${String(round)}`;
  const release = await subject.acquire(key);
  const order: number[] = [];
  const gaps: number[] = [];
  let freeAtMs = 0;
  const waits = Array.from({ length: WAITERS }, async (_, place) => {
    await sleep(systemRuntime, place * 3);
    const give = await subject.acquire(key);
    const nowMs = systemRuntime.monotonic();
    gaps.push(nowMs - freeAtMs);
    order.push(place);
    await sleep(systemRuntime, HOLD_MS);
    freeAtMs = systemRuntime.monotonic();
    await give();
  });
  await sleep(systemRuntime, WAITERS * 3 + 50);
  await admin.config('RESETSTAT');
  const startMs = systemRuntime.monotonic();
  freeAtMs = startMs;
  await release();
  await Promise.all(waits);
  const totalMs = systemRuntime.monotonic() - startMs;
  const stats = await admin.info('commandstats');
  const commands = [...stats.matchAll(/^cmdstat_(evalsha|eval|set|get|del|subscribe):calls=(\d+)/gm)]
    // What a script calls is counted as well; what clients sent is its EVALSHA.
    .filter(
      ([, command = '']) => command.startsWith('eval') || (!name.startsWith('quorate') && command === 'set'),
    )
    .reduce((sum, [, , calls = '0']) => sum + Number(calls), 0);
  let inversions = 0;
  for (let a = 0; a < order.length; a++)
    for (let b = a + 1; b < order.length; b++) if ((order[a] ?? 0) > (order[b] ?? 0)) inversions++;
  return {
    totalMs,
    meanGapMs: gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length,
    maxGapMs: Math.max(...gaps),
    inversions: inversions / ((WAITERS * (WAITERS - 1)) / 2),
    commands,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

// The scripts of the limits must be known; the others send theirs by themselves.
for (const text of [DELETE, scripts.claim.text, scripts.release.text]) await admin.script('LOAD', text);
const rates = new Map(subjects.map(({ name }) => [name, { one: [] as Rate[], wide: [] as Rate[] }]));
for (let round = -1; round < ROUNDS; round++) {
  for (let index = 0; index < subjects.length; index++) {
    const subject = subjects[(index + round + 1) % subjects.length];
    if (subject === undefined) continue;
    const one = await pairs(subject, round < 0 ? 200 : SEQUENTIAL, 1);
    const wide = await pairs(subject, round < 0 ? 2_000 : PAIRS_WIDE, WIDE);
    if (round < 0) continue;
    rates.get(subject.name)?.one.push(one);
    rates.get(subject.name)?.wide.push(wide);
  }
}

console.log(`acquire + release; median of ${String(ROUNDS)} rounds, ratio to raw`);
const limit = rates.get(subjects[0]?.name ?? '');
for (const [name, own] of rates) {
  const against = (mine: readonly Rate[], others: readonly Rate[] = []): string =>
    median(mine.map(({ perSecond }, round) => perSecond / (others[round]?.perSecond ?? Number.NaN))).toFixed(
      2,
    );
  const [one, wide] = [own.one, own.wide].map((all) =>
    median(all.map(({ perSecond }) => perSecond)).toFixed(0),
  );
  const [cpuOne, cpuWide] = [own.one, own.wide].map((all) =>
    median(all.map(({ cpuUs }) => cpuUs)).toFixed(0),
  );
  console.log(
    `${name.padEnd(28)} sequential ${String(one).padStart(6)}/s ${against(own.one, limit?.one)} (${String(cpuOne)} µs CPU)   ` +
      `64 keys ${String(wide).padStart(6)}/s ${against(own.wide, limit?.wide)} (${String(cpuWide)} µs CPU)`,
  );
}

console.log(
  `\nhand-over to ${String(WAITERS)} waiters of ${String(HOLD_MS)} ms; ideal ${String(WAITERS * HOLD_MS)} ms`,
);
const passes = new Map(subjects.filter(({ waits }) => waits).map(({ name }) => [name, [] as HandOver[]]));
for (let round = 0; round < (quick ? 1 : 3); round++)
  for (const subject of subjects.filter(({ waits }) => waits))
    passes.get(subject.name)?.push(await handOver(subject, round));
for (const [name, all] of passes) {
  const of = (field: keyof HandOver, digits: number): string =>
    median(all.map((one) => one[field])).toFixed(digits);
  console.log(
    `${name.padEnd(28)} ${of('totalMs', 0).padStart(5)} ms   gap mean ${of('meanGapMs', 2)} ms, max ${of('maxGapMs', 2)} ms   ` +
      `inversions ${(median(all.map(({ inversions }) => inversions)) * 100).toFixed(0)} %   commands ${of('commands', 0)}`,
  );
}

for (const subject of subjects) await subject.close?.();
for (const connection of connections) connection.disconnect();
await Promise.all(servers.map((one) => one.stop()));
