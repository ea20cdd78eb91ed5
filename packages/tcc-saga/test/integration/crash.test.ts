import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { seededRandom } from '@quorate/runtime';
import { compiled } from '@quorate/testing';
import { type Coordinator, createCoordinator } from '@quorate/tcc-saga';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Task } from './coordinator.fixture.js';
import { auditShop, type Order, type OrderKind, orderTcc, shopTables } from './shop.fixture.js';
import { sagaDatabase, type TestDatabase } from './support.js';

let program: string;
let database: TestDatabase;
let children: ChildProcess[];

beforeEach(async () => {
  children = [];
  program = await compiled(join(import.meta.dirname, 'coordinator.fixture.ts'));
  database = await sagaDatabase();
  for (const statement of shopTables) await database.db.query(statement);
});

afterEach(async () => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  await database.drop();
});

function spawn(task: Omit<Task, 'url'>): ChildProcess {
  const child = fork(program, [JSON.stringify({ url: database.url, ...task })], {
    execArgv: ['--enable-source-maps'],
  });
  children.push(child);
  return child;
}

async function deathOf(child: ChildProcess): Promise<string | null> {
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return signal;
}

/** Waits until every order's saga has ended. */
async function waitForAll(coordinator: Coordinator): Promise<void> {
  const { rows } = await database.db.query<{ id: string }>('select id from shop_order');
  await Promise.all(rows.map(({ id }) => coordinator.wait(id)));
}

/** Every point that a saga passes, and an order that passes it. */
const points: readonly (readonly [point: string, kind: OrderKind])[] = [
  ...(['begun', 'claimed', 'deciding', 'decided', 'ending', 'hooked', 'ended'] as const).flatMap((point) => [
    [point, 'good'] as const,
    [point, 'refused'] as const,
  ]),
  ['pausing', 'unknown'],
  ['paused', 'unknown'],
  ...['stock', 'money'].flatMap((branch) => [
    [`invoking ${branch} try`, 'good'] as const,
    [`returned ${branch} try`, 'good'] as const,
    [`invoking ${branch} confirm`, 'good'] as const,
    [`returned ${branch} confirm`, 'good'] as const,
    [`invoking ${branch} cancel`, 'refused'] as const,
    [`returned ${branch} cancel`, 'refused'] as const,
  ]),
];

it('survives SIGKILL at every named point', async () => {
  // Long enough that only what must be cancelled is.
  const deadlineOf = (kind: OrderKind): number => (kind === 'unknown' ? 10_000 : 600_000);
  const definitions = points.map(([, kind], n) =>
    orderTcc(database.db, `order ${String(n)}`, deadlineOf(kind)),
  );
  const queue = points.map(([dieAt, kind], n): Omit<Task, 'url'> => {
    const order: Order = { id: `${dieAt}, ${kind}`, quantity: n + 1, price: 10 * (n + 1), kind };
    return { definition: `order ${String(n)}`, deadlineMs: deadlineOf(kind), dieAt, order };
  });
  const kill = async (): Promise<void> => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      expect(await deathOf(spawn(task)), `dies at ${String(task.dieAt)}`).toBe('SIGKILL');
    }
  };
  await Promise.all([kill(), kill(), kill()]);
  const survivor = createCoordinator({ db: database.db, definitions, pollMs: 50 });
  survivor.start();
  await waitForAll(survivor);
  await survivor.close();

  expect(await auditShop(database.db)).toEqual([]);
  const { rows } = await database.db.query<{ id: string; status: string }>(
    'select id, status from shop_order',
  );
  const ended = Object.fromEntries(rows.map(({ id, status }) => [id, status]));
  expect(Object.keys(ended)).toHaveLength(points.length - 2);
  // A death between the insert and the commit leaves nothing, not even the order.
  expect(ended['begun, good']).toBeUndefined();
  for (const [point, kind] of points) {
    if (point === 'begun') continue;
    expect(ended[`${point}, ${kind}`], point).toBe(kind === 'good' ? 'confirmed' : 'cancelled');
  }
}, 240_000);

it('loses and doubles nothing while two coordinators are killed again and again', async () => {
  const random = seededRandom(20_260_101);
  const kinds: readonly OrderKind[] = ['good', 'shaky', 'good', 'refused', 'good', 'unknown'];
  const definition = orderTcc(database.db, 'order', 4000);
  const beginner = createCoordinator({ db: database.db, definitions: [definition], pollMs: 50 });
  let storming = true;
  const storm = async (): Promise<number> => {
    let deaths = 0;
    for (; storming; deaths++) {
      const dieAfter = 50 + Math.floor(random() * 400);
      await deathOf(spawn({ definition: 'order', deadlineMs: 4000, dieAt: 'any', dieAfter }));
    }
    return deaths;
  };
  const storms = [storm(), storm()];
  for (let n = 0; n < 150; n++) {
    const id = `order ${String(n)}`;
    const order: Order = {
      id,
      quantity: 1 + (n % 3),
      price: 1 + (n % 7),
      kind: kinds[n % kinds.length] ?? 'good',
    };
    await database.db.transaction(async (tx) => {
      await tx.query("insert into shop_order values ($1, 'pending')", [id]);
      await beginner.begin(definition, { id, input: order, tx });
    });
  }
  // Until the killing has got everything done that it can.
  await waitForAll(beginner);
  storming = false;
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  const deaths = await Promise.all(storms);
  await beginner.close();

  expect(await auditShop(database.db)).toEqual([]);
  expect(deaths.reduce((sum, one) => sum + one)).toBeGreaterThan(4);
}, 240_000);
