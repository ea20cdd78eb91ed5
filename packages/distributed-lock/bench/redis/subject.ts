// One way to take a lock, in a process of its own: what one library leaves behind, in the heap and in compiled code that
// others share with it, must not be another's cost. Started by ../redis.ts, which tells it what to do.
import { createLocks, type LockBackend } from '@quorate/distributed-lock';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { redlockBackend } from '@quorate/distributed-lock/redlock';
import { sleep, systemRuntime } from '@quorate/runtime';
import { Redis } from 'ioredis';
import { createHash } from 'node:crypto';
import { Mutex } from 'redis-semaphore';
import Redlock4 from 'redlock4';
import Redlock5 from 'redlock5';
import { lockKey, scripts } from '../../src/redis/scripts.js';

/** What the parent asks for. */
export type Command =
  | { readonly do: 'describe' }
  | { readonly do: 'pairs'; readonly total: number; readonly width: number }
  | { readonly do: 'hand over'; readonly round: number; readonly waiters: number; readonly holdMs: number };

/** Who it is, and whether it can be asked to wait. */
export interface Described {
  readonly name: string;
  readonly waits: boolean;
}

/** One way to take a lock: what it returns gives it back. */
interface Subject {
  readonly name: string;
  acquire(key: string): Promise<() => Promise<unknown>>;
  /** A subject that can only try is not asked to wait. */
  readonly waits: boolean;
}

const LEASE_MS = 30_000;
const DELETE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end`;

const { id, ports } = JSON.parse(process.argv[2] ?? '') as {
  readonly id: string;
  readonly ports: readonly number[];
};
const connect = (port = ports[0]): Redis => new Redis(port ?? 0, '127.0.0.1');
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
      const name = lockKey('alone:', key);
      const owner = `abcdefghijklmnopqrstuv-${String(owners++)}`;
      if (Number(await client.evalsha(scripts.claim.digest, 1, name, owner, LEASE_MS, 'none')) <= 0)
        throw new Error(`${key} is taken`);
      return () => client.evalsha(scripts.release.digest, 1, name, owner);
    },
  };
}

function own(name: string, backend: LockBackend): Subject {
  const locks = createLocks(backend, { leaseMs: LEASE_MS });
  return {
    name,
    waits: true,
    async acquire(key) {
      const lease = await locks.acquire(key);
      return () => lease.release();
    },
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

function redlock4(name: string, on: readonly number[]): Subject {
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

const subjects: Readonly<Record<string, () => Subject>> = {
  raw,
  scripts: scriptsAlone,
  own: () => own('quorate /redis', redisBackend(connect())),
  semaphore,
  redlock4: () => redlock4('redlock 4.2', ports.slice(0, 1)),
  redlock5,
  ownQuorum: () => own('quorate /redlock, 3 servers', redlockBackend(ports.map(connect))),
  redlock4Quorum: () => redlock4('redlock 4.2, 3 servers', ports),
};

/** What one round came to. */
export interface Rate {
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

/** What one hand-over came to. */
export interface HandOver {
  readonly totalMs: number;
  readonly meanGapMs: number;
  readonly maxGapMs: number;
  /** Pairs of waiters that were served in another order than they came. */
  readonly inversions: number;
  readonly commands: number;
}

/** Lets waiters queue behind a holder, one after the other, and then pass the lock from hand to hand. */
async function handOver(
  subject: Subject,
  { round, waiters, holdMs }: Extract<Command, { do: 'hand over' }>,
): Promise<HandOver> {
  const { name } = subject;
  const key = `${name}-hand-over-${String(round)}`;
  const release = await subject.acquire(key);
  const order: number[] = [];
  const gaps: number[] = [];
  let freeAtMs = 0;
  const waits = Array.from({ length: waiters }, async (_, place) => {
    await sleep(systemRuntime, place * 3);
    const give = await subject.acquire(key);
    const nowMs = systemRuntime.monotonic();
    gaps.push(nowMs - freeAtMs);
    order.push(place);
    await sleep(systemRuntime, holdMs);
    freeAtMs = systemRuntime.monotonic();
    await give();
  });
  await sleep(systemRuntime, waiters * 3 + 50);
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
    inversions: inversions / ((waiters * (waiters - 1)) / 2),
    commands,
  };
}

const make = subjects[id];
if (make === undefined) throw new Error(`there is no subject ${id}`);
// The scripts of the limits must be known; the others send theirs by themselves.
for (const text of [DELETE, scripts.claim.text, scripts.release.text]) await admin.script('LOAD', text);
const subject = make();

async function run(command: Command): Promise<Described | Rate | HandOver> {
  switch (command.do) {
    case 'describe':
      return { name: subject.name, waits: subject.waits };
    case 'pairs':
      return pairs(subject, command.total, command.width);
    case 'hand over':
      return handOver(subject, command);
  }
}

process.on('message', (command: Command) => {
  void run(command).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit(0));
