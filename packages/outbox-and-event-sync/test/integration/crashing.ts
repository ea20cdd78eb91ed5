// A process of the crash test: `relay` or `producer`, which kills itself at a random point when it is told to.
import { seededRandom, systemRuntime } from '@quorate/runtime';
import { pgDatabase } from '@quorate/sql/pg';
import pg from 'pg';
import {
  createInbox,
  createOutbox,
  createRelay,
  relayErrors,
  relaySettled,
} from '@quorate/outbox-and-event-sync';

const [role = '', url = '', seedText = '', crashes = ''] = process.argv.slice(2);
const random = seededRandom(Number(seedText));
const pool = new pg.Pool({ connectionString: url, max: 8 });
const db = pgDatabase(pool);

/** How many points are passed before the one at which this process dies. */
let pointsLeft = crashes === 'crash' ? Math.floor(random() * 150) : Number.POSITIVE_INFINITY;
function crashPoint(): void {
  if (pointsLeft-- <= 0) process.kill(process.pid, 'SIGKILL');
}

// Nothing of a test may outlive it.
process.on('disconnect', () => process.exit(0));

if (role === 'producer') {
  const outbox = createOutbox();
  const produce = async (): Promise<void> => {
    const key = `k${String(Math.floor(random() * 12))}`;
    await db
      .transaction(async (tx) => {
        const { rows } = await tx.query<{ n: number }>(
          `insert into produced (key, n) values ($1, 1)
           on conflict (key) do update set n = produced.n + 1 returning n`,
          [key],
        );
        const n = rows[0]?.n ?? 0;
        crashPoint();
        await outbox.publish(tx, { topic: 'crash', key, payload: n, id: `${key}-${String(n)}` });
        crashPoint();
        if (random() < 0.1) throw new Error('rolled back');
      })
      .catch((error: unknown) => {
        if (!(error instanceof Error) || error.message !== 'rolled back') throw error;
      });
    crashPoint();
  };
  const lanes = Array.from({ length: 4 }, async () => {
    for (let left = 150; left > 0; left--) await produce();
  });
  await Promise.all(lanes);
  await pool.end();
  process.disconnect();
} else {
  const inbox = createInbox({ consumer: 'crash-test' });
  relaySettled.subscribe(() => {
    crashPoint();
    process.send?.('settled');
  });
  relayErrors.subscribe(({ during, error }) => {
    console.error(during, error);
  });
  const relay = createRelay({
    db,
    leaseMs: 500,
    batchSize: 20,
    maxInFlight: 60,
    pollMs: 20,
    backoff: { minMs: 1, maxMs: 50 },
    publish: {
      crash: async ({ id, key, payload }) => {
        crashPoint();
        await pool.query('insert into deliveries (id) values ($1)', [id]);
        await db.transaction((tx) =>
          inbox.once(tx, id, async () => {
            await tx.query('insert into effects (key, n) values ($1, $2)', [key, payload]);
            crashPoint();
          }),
        );
        crashPoint();
        if (random() < 0.05) throw new Error(`refused at ${String(systemRuntime.monotonic())}`);
      },
    },
  });
  await relay.start();
  process.send?.('started');
}
