import { setMaxListeners } from 'node:events';
import { abortable, deadline, DeadlineError, linkSignals, sleep, systemRuntime } from '@quorate/runtime';
import { pgConnection } from '@quorate/sql/pg';
import pg from 'pg';
import { SERVICES } from '../lib/names.js';
import { sql } from '../sql.gen.js';
import type { DemoOptions } from './args.js';
import { audit, type Check, readFacts } from './audit.js';
import { startChaos } from './chaos.js';
import { type Databases, databasesOn, eachService, embeddedDatabases } from './databases.js';
import { type PlacedOrder, placeOrders, stockUp } from './drive.js';
import { makePlan } from './plan.js';
import { ShopProcesses } from './processes.js';
import { Progress, seconds } from './progress.js';
import { auditTable, playground, summary } from './report.js';
import { type Output, pad } from './terminal.js';

/** How long everything may take to end once the last order was placed: then the audit shows what hangs. */
const END_WITHIN_MS = 60_000;
const PER_ORDER_MS = 100;
const DRAW_EVERY_MS = 120;
const LOOK_EVERY_MS = 100;

/**
 * Runs the demo to its end and returns the exit code: 0 when the audit passed, 1 when it did not. Rejects with the
 * reason of `signal` when that aborts; then too, nothing is left running.
 */
export async function runDemo(
  options: DemoOptions,
  output: Output,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<number> {
  const startedAt = systemRuntime.monotonic();
  const elapsed = (): number => systemRuntime.monotonic() - startedAt;
  const progress = new Progress(output, env, options.orders, elapsed);
  const { paint } = progress;
  const every = options.killEvery > 0 ? `a SIGKILL every ${String(options.killEvery)} s` : 'nobody is killed';
  progress.say(
    paint('bold', `The shop: ${String(options.orders)} orders, ${every}, seed ${String(options.seed)}`),
  );
  progress.say('');

  const databases = await (options.postgres === undefined
    ? embeddedDatabases()
    : databasesOn(options.postgres));
  let passed = false;
  // Aborts on Ctrl-C, and when a service ends that nobody killed.
  const running = linkSignals(signal);
  try {
    signal.throwIfAborted();
    progress.say(
      `  ${pad('databases', 13)} ${databases.description} ${paint('dim', `(${seconds(elapsed())})`)}`,
    );
    progress.say(`  ${pad('services', 13)} ${paint('dim', 'are starting ...')}`);
    await using shop = await ShopProcesses.start(databases.urls, (event) => {
      progress.service(event);
      if (event.type !== 'crashed') return;
      running.abort(new Error(`The ${event.service} service crashed. It printed:\n${event.log}`));
    });
    for (const name of SERVICES) {
      const address = shop.addresses.http[name];
      progress.say(`  ${pad(name, 13)} ${address}  ${paint('dim', `${address}/docs`)}`);
    }
    progress.say('');

    const ticker = startTicker(progress);
    let checks: readonly Check[];
    try {
      checks = await drive(options, shop, databases, progress, running.signal);
    } finally {
      ticker.cancel();
      progress.finish();
    }
    passed = checks.every(({ problems }) => problems.length === 0);
    for (const line of [...summary(options, progress, elapsed()), ...auditTable(checks, paint)])
      progress.say(line);
    progress.say('');
    progress.say(
      passed
        ? paint(
            'green',
            'The audit passed: no money and no goods were lost, and every customer was told once.',
          )
        : paint('red', 'The audit failed.'),
    );
    if (options.keep) {
      for (const line of playground(shop.addresses, databases)) progress.say(line);
      await abortable(new Promise<never>(() => {}), signal).catch(() => {});
    }
    return passed ? 0 : 1;
  } finally {
    // Whatever still asks a service for something gives up.
    running.abort(new Error('The demo is over'));
    // On a server of the user's own, what broke can be looked at afterwards.
    if (passed || options.postgres === undefined || signal.aborted) await databases[Symbol.asyncDispose]();
    else progress.say(`Kept for you to look at: ${databases.description}`);
  }
}

/** Stocks up, places the orders while services are killed, waits until everything has ended, and audits. */
async function drive(
  { orders, killEvery, seed }: DemoOptions,
  shop: ShopProcesses,
  databases: Databases,
  progress: Progress,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const plan = makePlan(orders, seed);
  const killEveryMs = killEvery * 1_000;
  // Orders keep coming while each service is killed once.
  const spreadMs = killEveryMs * SERVICES.length;
  const endWithinMs = END_WITHIN_MS + orders * PER_ORDER_MS;
  using limit = deadline(systemRuntime, spreadMs + endWithinMs, { signal, what: 'the demo' });
  // Every order under way listens.
  setMaxListeners(0, signal, limit.signal);
  await stockUp(plan, shop.addresses, signal);
  const ended: PlacedOrder[] = [];
  const overdue: string[] = [];
  try {
    const chaos = startChaos(shop, killEveryMs, seed, limit.signal);
    await placeOrders(
      plan.orders,
      shop.addresses,
      spreadMs,
      {
        placed: () => progress.placed++,
        ended(order) {
          ended.push(order);
          progress.ended(order);
        },
      },
      limit.signal,
    );
    progress.phase = 'waiting for the last services to come back';
    await chaos.finish();
    progress.phase = 'waiting for the last notifications';
    await allSent(databases, limit.signal);
  } catch (error) {
    if (!(error instanceof DeadlineError) || signal.aborted) throw error;
    overdue.push(
      `${String(orders - ended.length)} orders or their events took longer than ${seconds(endWithinMs)}`,
    );
  }
  progress.phase = 'auditing';
  const inTime: Check = {
    name: 'Everything ended in time',
    figures: `${String(ended.length)} of ${String(orders)} orders`,
    problems: overdue,
  };
  // What clients were told is known once they all were told something.
  const told = overdue.length > 0 ? [] : ended;
  const promised = told.map(({ planned: { idempotencyKey, kind }, order: { id, state } }) => ({
    idempotencyKey,
    kind,
    id,
    state,
  }));
  return [inTime, ...(await auditDatabases(databases, promised))];
}

/** Resolves when no event waits to be sent. */
async function allSent(databases: Databases, signal: AbortSignal): Promise<void> {
  await withClient(databases.urls.order, async (client) => {
    while (
      (await client.query(sql['audit-outbox'])).rows.some((row: { state: string }) => row.state === 'waiting')
    ) {
      await sleep(systemRuntime, LOOK_EVERY_MS, { signal });
    }
  });
}

/** Reads the four databases and audits what they say. */
export async function auditDatabases(
  { urls }: Pick<Databases, 'urls'>,
  promised: Parameters<typeof audit>[1] = [],
): Promise<readonly Check[]> {
  const clients = eachService((name) => new pg.Client({ connectionString: urls[name] }));
  try {
    await Promise.all(SERVICES.map((name) => clients[name].connect()));
    return audit(await readFacts(eachService((name) => pgConnection(clients[name]))), promised);
  } finally {
    await Promise.allSettled(SERVICES.map((name) => clients[name].end()));
  }
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function startTicker(progress: Progress): { cancel(): void } {
  let timer = systemRuntime.setTimer(0, tick);
  function tick(): void {
    progress.tick();
    timer = systemRuntime.setTimer(DRAW_EVERY_MS, tick);
  }
  return { cancel: () => timer.cancel() };
}
