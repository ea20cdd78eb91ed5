import { createOutbox, createRelay, outboxMigrations } from '@quorate/outbox-and-event-sync';
import { randomId, systemRuntime } from '@quorate/runtime';
import { migrate } from '@quorate/sql';
import { createCoordinator, defineTcc, tccSagaMigrations } from '@quorate/tcc-saga';
import { Type } from 'typebox';
import { ask } from '../lib/calls.js';
import { inventoryBranch, orderConfirmed, paymentBranch } from '../lib/contracts.js';
import { HttpProblem, Problem } from '../lib/http.js';
import { OPERATION_TIMEOUT_MS, ORDER_DEADLINE_MS } from '../lib/limits.js';
import { runService } from '../lib/service.js';
import { viaTransport } from '../lib/tcc-participant.js';
import { sql } from '../sql.gen.js';
import {
  cancelReason,
  endOrder,
  findOrder,
  fingerprint,
  insertOrder,
  listOrders,
  NewOrder,
  Order,
  OrderState,
  priceOf,
} from './orders.js';

/** What a checkout knows of its order. */
interface Checkout extends NewOrder {
  readonly total: number;
}

/** The events that this service publishes, by topic. */
// eslint-disable-next-line @typescript-eslint/consistent-type-definitions -- an interface is not a record of topics
type Topics = {
  'order.confirmed': { readonly order: string; readonly email: string; readonly total: number };
};

await runService('order', 'Takes orders, and sees each of them through or undone.', async (service) => {
  const { db, http, transport } = service;
  await migrate(db, {
    name: 'order',
    migrations: [{ id: 1, name: 'orders', sql: { postgres: sql['order-schema'] } }],
  });
  await migrate(db, { name: 'quorate_tcc', migrations: tccSagaMigrations });
  await migrate(db, { name: 'quorate_outbox', migrations: outboxMigrations });
  const outbox = createOutbox<Topics>();

  // One order is one TCC transaction: reserve the goods and freeze the money, then make both final or undo both.
  const checkout = defineTcc<Checkout>({
    name: 'checkout',
    version: 1,
    deadlineMs: ORDER_DEADLINE_MS,
    timeoutMs: OPERATION_TIMEOUT_MS,
    retry: { minMs: 100, maxMs: 1_000 },
    branches: {
      inventory: viaTransport(transport, 'inventory', inventoryBranch, ({ lines }: Checkout) => ({ lines })),
      payment: viaTransport(transport, 'payment', paymentBranch, ({ account, total }: Checkout) => ({
        account,
        amount: total,
      })),
    },
    // Both hooks run in the transaction that ends the saga. So the order's state, its event and the end of the
    // saga are one commit: there is no moment at which only some of them are true.
    async onConfirmed(tx, { id, input: { email, total } }) {
      await endOrder(tx, id, 'confirmed', null);
      await outbox.publish(tx, { topic: 'order.confirmed', key: id, payload: { order: id, email, total } });
    },
    async onCancelled(tx, { id, reason, errors }) {
      await endOrder(tx, id, 'cancelled', cancelReason(reason, errors));
    },
  });
  const coordinator = createCoordinator({
    db,
    definitions: [checkout],
    leaseMs: 3_000,
    pollMs: 200,
    concurrency: 64,
  });
  service.onClose(() => coordinator.close({ drainMs: 2_000 }));

  const notify = ask(transport, 'notification', orderConfirmed);
  const relay = createRelay<Topics>({
    db,
    leaseMs: 3_000,
    pollMs: 200,
    // The other end is a service of ours: however long it is down it comes back, and is told within a second.
    backoff: { maxMs: 1_000 },
    maxAttempts: Number.POSITIVE_INFINITY,
    publish: {
      'order.confirmed': ({ id, payload }, signal) =>
        notify({ messageId: id, ...payload }, { timeoutMs: OPERATION_TIMEOUT_MS, signal }),
    },
  });
  service.onClose(() => relay.close());

  /** The order once it has ended, or as it is after `waitMs`. */
  async function settled(order: Order, waitMs: number): Promise<Order> {
    if (waitMs === 0 || order.state !== 'pending') return order;
    await coordinator.wait(order.id, { timeoutMs: waitMs }).catch(() => undefined);
    return (await findOrder(db, order))?.order ?? order;
  }

  const Wait = Type.Object({
    wait: Type.Integer({
      minimum: 0,
      maximum: 30_000,
      default: 0,
      description: 'Milliseconds to wait for the end',
    }),
  });
  http.post(
    '/orders',
    {
      schema: {
        summary: 'Place an order',
        description:
          'The same idempotency key places one order, however often it is sent. Answers 202 while the order is ' +
          'pending and 201 when it ended within `wait`.',
        headers: Type.Object({ 'idempotency-key': Type.String({ minLength: 1, maxLength: 255 }) }),
        querystring: Wait,
        body: NewOrder,
        response: { 201: Order, 202: Order, 400: Problem, 422: Problem },
      },
    },
    async ({ body, headers, query }, reply) => {
      const total = priceOf(body.lines);
      const idempotencyKey = headers['idempotency-key'];
      const id = `order-${randomId(systemRuntime).slice(0, 16)}`;
      // The order and the begin of its checkout are one commit: no crash leaves one without the other.
      const isNew = await db.transaction(async (tx) => {
        if (!(await insertOrder(tx, id, idempotencyKey, body, total))) return false;
        await coordinator.begin(checkout, { id, input: { ...body, total }, tx });
        return true;
      });
      const found = await findOrder(db, { idempotencyKey });
      if (found === undefined) throw new Error(`order ${id} was stored and is gone`);
      if (!isNew && found.requestHash !== fingerprint(body)) {
        const message = 'This idempotency key was used for a different order: choose a new one.';
        throw new HttpProblem(422, 'IDEMPOTENCY_KEY_REUSED', message);
      }
      const order = await settled(found.order, query.wait);
      return reply
        .code(order.state === 'pending' ? 202 : 201)
        .header('location', `/orders/${order.id}`)
        .send(order);
    },
  );

  http.get(
    '/orders/:id',
    {
      schema: {
        summary: 'One order',
        params: Type.Object({ id: Type.String({ maxLength: 255 }) }),
        querystring: Wait,
        response: { 200: Order, 400: Problem, 404: Problem },
      },
    },
    async ({ params: { id }, query }) => {
      const found = await findOrder(db, { id });
      if (found === undefined) throw new HttpProblem(404, 'NOT_FOUND', `There is no order ${id}.`);
      return settled(found.order, query.wait);
    },
  );

  http.get(
    '/orders',
    {
      schema: {
        summary: 'The latest orders',
        querystring: Type.Object({
          state: Type.Optional(OrderState),
          limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50 }),
        }),
        response: { 200: Type.Array(Order), 400: Problem },
      },
    },
    ({ query: { state, limit } }) => listOrders(db, state, limit),
  );

  coordinator.start();
  await relay.start();
});
