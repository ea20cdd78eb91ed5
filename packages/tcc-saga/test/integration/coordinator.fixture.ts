// A process with a coordinator. It begins the order that it is given, if any, runs until it is told to end, and
// kills itself with SIGKILL at the point that it is given, if any.
import { pgDatabase } from '@quorate/sql/pg';
import { createCoordinator, tccSagaEvents } from '@quorate/tcc-saga';
import { Pool } from 'pg';
import { type Order, orderTcc } from './shop.fixture.js';

/** What the process is told in its first argument, as JSON. */
export interface Task {
  readonly url: string;
  /** The name of the definition: coordinators of different ones leave each other alone. */
  readonly definition: string;
  readonly deadlineMs: number;
  readonly order?: Order;
  /** Such as `deciding` or `invoking money confirm`. */
  readonly dieAt?: string;
  /** At the how-manieth passing. */
  readonly dieAfter?: number;
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
const pool = new Pool({ connectionString: task.url });
const db = pgDatabase(pool);
const definition = orderTcc(db, task.definition, task.deadlineMs);
const coordinator = createCoordinator({
  db,
  definitions: [definition],
  leaseMs: 1000,
  pollMs: 50,
  concurrency: 8,
});

let left = task.dieAfter ?? 1;
tccSagaEvents.step.subscribe((step) => {
  if (task.dieAt === undefined) return;
  const point = [step.point, step.branch, step.op].filter((part) => part !== undefined).join(' ');
  if ((task.dieAt === 'any' || task.dieAt === point) && --left === 0) process.kill(process.pid, 'SIGKILL');
});

coordinator.start();
const { order } = task;
if (order !== undefined) {
  await db.transaction(async (tx) => {
    await tx.query("insert into shop_order values ($1, 'pending')", [order.id]);
    await coordinator.begin(definition, { id: order.id, input: order, tx });
  });
  coordinator.wake();
}
process.on('disconnect', () => {
  void coordinator.close().then(() => pool.end());
});
