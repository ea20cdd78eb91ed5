// What an outbox costs: `npm run bench -w @quorate/outbox-and-event-sync`.
// The limit is a table from which rows are claimed with SKIP LOCKED and deleted in one statement per 500, without
// order, leases or fences. Peers are job queues on PostgreSQL. All on one private server that waits for the disk.
import { systemRuntime } from '@quorate/runtime';
import { migrate } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { isolated } from '@quorate/testing';
import { createOutbox, createRelay, outboxMigrations } from '@quorate/outbox-and-event-sync';
import { Logger, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import PgBoss from 'pg-boss';

const MESSAGES = 20_000;
const BATCH = 500;
const ROUNDS = 3;
const KEYS = 2_000;
const LATENCY_SAMPLES = 200;
const PAYLOAD = { orderId: 'b1946ac9-2c3e-4f3a-9d6a-0f6f0e0a7f11', amount: 12.5, note: 'x'.repeat(100) };

const server = await isolated('postgres', {
  settings: { fsync: 'on', full_page_writes: 'on', wal_level: 'replica', shared_buffers: '512MB' },
});
const pool = new pg.Pool({ connectionString: server.url, max: 16 });
// The server goes before the last of the pool's connections has said goodbye.
pool.on('error', () => {});
const db = pgDatabase(pool);
await migrate(db, { name: 'quorate_outbox', migrations: outboxMigrations });
const outbox = createOutbox();

const quiet = new Logger(() => () => {});
await runMigrations({ connectionString: server.url, logger: quiet });
const boss = new PgBoss({ connectionString: server.url });
boss.on('error', console.error);
await boss.start();
await boss.createQueue('bench');
await pool.query(
  'create table raw (seq bigint generated always as identity primary key, payload json not null)',
);

/** Calls back when it was called `count` times. */
function countdown(count: number): { readonly done: Promise<void>; hit(by?: number): void } {
  let left = count;
  let finish = (): void => {};
  const done = new Promise<void>((resolve) => (finish = resolve));
  return {
    done,
    hit(by = 1) {
      left -= by;
      if (left <= 0) finish();
    },
  };
}

interface Contender {
  readonly name: string;
  fill(): Promise<unknown>;
  /** Handles all messages; resolves when all were handled and nothing is left to be written. */
  drain(): Promise<unknown>;
}

const batches = <T>(make: (n: number) => T): T[][] =>
  Array.from({ length: MESSAGES / BATCH }, (_, batch) =>
    Array.from({ length: BATCH }, (__, n) => make(batch * BATCH + n)),
  );

async function fillOutbox(): Promise<void> {
  for (const messages of batches((n) => ({ topic: 'bench', key: `k${String(n % KEYS)}`, payload: PAYLOAD })))
    await db.transaction((tx) => outbox.publish(tx, messages));
}

async function drainOutbox(relays: number): Promise<void> {
  const left = countdown(MESSAGES);
  const running = Array.from({ length: relays }, () =>
    createRelay({
      db,
      publish: (messages) => {
        left.hit(messages.length);
        return Promise.resolve(messages.map(() => 'published' as const));
      },
    }),
  );
  await Promise.all(running.map((relay) => relay.start()));
  await left.done;
  await Promise.all(running.map((relay) => relay.close()));
}

const contenders: readonly Contender[] = [
  {
    name: 'limit: claim and delete, 500 in a statement',
    fill: () =>
      pool.query('insert into raw (payload) select $1::json from generate_series(1, $2::int)', [
        JSON.stringify(PAYLOAD),
        MESSAGES,
      ]),
    async drain() {
      for (let left = MESSAGES; left > 0;) {
        const { rows } = await pool.query(
          `with claimed as (select seq from raw order by seq limit ${String(BATCH)} for update skip locked)
           delete from raw using claimed where raw.seq = claimed.seq returning raw.seq, raw.payload`,
        );
        left -= rows.length;
      }
    },
  },
  { name: 'quorate, one relay', fill: fillOutbox, drain: () => drainOutbox(1) },
  { name: 'quorate, two relays in one process', fill: fillOutbox, drain: () => drainOutbox(2) },
  {
    name: 'graphile-worker 0.17, local queue of 500',
    fill: () =>
      pool.query(
        `select count(graphile_worker.add_job('bench', $1::json)) from generate_series(1, $2::int)`,
        [JSON.stringify(PAYLOAD), MESSAGES],
      ),
    async drain() {
      const left = countdown(MESSAGES);
      const runner = await run({
        preset: {
          worker: {
            connectionString: server.url,
            concurrentJobs: 24,
            maxPoolSize: 10,
            localQueue: { size: 500 },
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
          },
        },
        logger: quiet,
        noHandleSignals: true,
        taskList: { bench: () => left.hit() },
      });
      await left.done;
      await runner.stop();
    },
  },
  {
    name: 'pg-boss 10, batches of 500, every 0.5 s',
    async fill() {
      for (const jobs of batches(() => ({ name: 'bench', data: PAYLOAD }))) await boss.insert(jobs);
    },
    async drain() {
      const left = countdown(MESSAGES);
      await boss.work('bench', { batchSize: BATCH, pollingIntervalSeconds: 0.5 }, (jobs) => {
        left.hit(jobs.length);
        return Promise.resolve();
      });
      await left.done;
      await boss.offWork('bench');
    },
  },
];

interface Rate {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

async function measureDrain(contender: Contender): Promise<Rate> {
  await contender.fill();
  await pool.query('checkpoint');
  const cpu = process.cpuUsage();
  const from = systemRuntime.monotonic();
  await contender.drain();
  const seconds = (systemRuntime.monotonic() - from) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: MESSAGES / seconds, cpuMicros: (user + system) / MESSAGES };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
function percentile(values: readonly number[], part: number): string {
  return ([...values].sort((a, b) => a - b)[Math.floor(values.length * part)] ?? Number.NaN).toFixed(1);
}

const drained = new Map<string, Rate[]>(contenders.map(({ name }) => [name, []]));
for (let round = 0; round < ROUNDS; round++)
  for (const contender of contenders) drained.get(contender.name)?.push(await measureDrain(contender));

console.log(`Draining ${String(MESSAGES)} messages, median of ${String(ROUNDS)} interleaved rounds`);
const perSecondOf = (name: string | undefined): number =>
  median((drained.get(name ?? '') ?? []).map(({ perSecond }) => perSecond));
const limit = perSecondOf(contenders[0]?.name);
const graphile = perSecondOf(contenders[3]?.name);
console.table(
  contenders.map(({ name }) => ({
    name,
    'of the limit': (perSecondOf(name) / limit).toFixed(2),
    'of graphile-worker': (perSecondOf(name) / graphile).toFixed(1),
    'messages/s': Math.round(perSecondOf(name)),
    'client CPU µs/message': Math.round(median((drained.get(name) ?? []).map(({ cpuMicros }) => cpuMicros))),
  })),
);

/** Sends one message at a time, some milliseconds apart, and takes the time from its commit to its handler. */
async function measureLatency(
  send: (n: number) => Promise<unknown>,
  begin: (handled: (n: number) => void) => Promise<() => Promise<unknown>>,
): Promise<{ readonly p50: string; readonly p99: string }> {
  const committedAt: number[] = [];
  const latencies: number[] = [];
  const left = countdown(LATENCY_SAMPLES);
  const stop = await begin((n) => {
    const handledAt = systemRuntime.monotonic();
    // A handler may run before the client has heard of the commit.
    latencies.push(Math.max(0, handledAt - (committedAt[n] ?? handledAt)));
    left.hit();
  });
  for (let n = 0; n < LATENCY_SAMPLES; n++) {
    await send(n);
    committedAt[n] = systemRuntime.monotonic();
    await new Promise<void>((resolve) => {
      systemRuntime.setTimer(5 + systemRuntime.random() * 20, resolve, { keepAlive: true });
    });
  }
  await left.done;
  await stop();
  return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
}

const publishOne = (n: number): Promise<unknown> =>
  db.transaction((tx) => outbox.publish(tx, { topic: 'bench', key: 'k', payload: n }));
const latencies: Record<string, { readonly p50: string; readonly p99: string }> = {};
for (const hinted of [true, false]) {
  const relays = { wake: (): void => {} };
  latencies[hinted ? 'quorate, woken after the commit' : 'quorate, polling (100 ms at most)'] =
    await measureLatency(
      async (n) => {
        await publishOne(n);
        if (hinted) relays.wake();
      },
      async (handled) => {
        const relay = createRelay<{ bench: number }>({
          db,
          publish: { bench: ({ payload }) => handled(payload) },
        });
        await relay.start();
        relays.wake = () => relay.wake();
        return () => relay.close();
      },
    );
}
latencies['graphile-worker 0.17, local queue of 500'] = await measureLatency(
  (n) => pool.query(`select graphile_worker.add_job('latency', $1::json)`, [JSON.stringify({ n })]),
  async (handled) => {
    const runner = await run({
      preset: { worker: { connectionString: server.url, concurrentJobs: 24, localQueue: { size: 500 } } },
      logger: quiet,
      noHandleSignals: true,
      taskList: { latency: (payload) => handled((payload as { n: number }).n) },
    });
    return () => runner.stop();
  },
);
await boss.createQueue('latency');
latencies['pg-boss 10, every 0.5 s'] = await measureLatency(
  (n) => boss.send('latency', { n }),
  async (handled) => {
    await boss.work<{ n: number }>('latency', { batchSize: BATCH, pollingIntervalSeconds: 0.5 }, (jobs) => {
      for (const { data } of jobs) handled(data.n);
      return Promise.resolve();
    });
    return () => boss.offWork('latency');
  },
);
console.log(`From commit to handler, ${String(LATENCY_SAMPLES)} messages about 15 ms apart, milliseconds`);
console.table(latencies);

/** Transactions per second of `lanes` connections that each do `work` one after the other. */
async function measureRate(
  lanes: number,
  count: number,
  work: (n: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const from = systemRuntime.monotonic();
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (next < count) await work(next++);
    }),
  );
  return (count / (systemRuntime.monotonic() - from)) * 1_000;
}

const insertRaw = (n: number): Promise<unknown> =>
  db.transaction((tx) => tx.query('insert into raw (payload) values ($1)', [JSON.stringify({ n })]));
const publishKeyed = (n: number): Promise<unknown> =>
  db.transaction((tx) => outbox.publish(tx, { topic: 'bench', key: `k${String(n % KEYS)}`, payload: { n } }));
console.log('Publishing: transactions with one message each, against the same with a plain insert');
const rates: Record<string, object> = {};
for (const lanes of [1, 8]) {
  const raw = await measureRate(lanes, 2_000, insertRaw);
  const ours = await measureRate(lanes, 2_000, publishKeyed);
  rates[`${String(lanes)} connections`] = {
    'of the limit': (ours / raw).toFixed(2),
    'messages/s': Math.round(ours),
  };
}
console.table(rates);

await boss.stop();
await pool.end();
await server.stop();
