import { sleep, systemRuntime } from '@quorate/runtime';
import { migrate } from '@quorate/sql';
import { pgDatabase } from '@quorate/sql/pg';
import { barrierMigrations, createCoordinator, tccSagaEvents, tccSagaMigrations } from '@quorate/tcc-saga';
import { isolated } from '@quorate/testing';
import { expect, it } from 'vitest';
import { auditShop, type Order, orderTcc, shopTables } from './shop.fixture.js';
import { testPool } from './support.js';

it('goes on where it was after the database was killed and came back', async () => {
  await using server = await isolated('postgres', { settings: { fsync: 'on' } });
  const pool = testPool(server.url);
  const db = pgDatabase(pool);
  await migrate(db, { name: 'quorate_tcc_saga', migrations: tccSagaMigrations });
  await migrate(db, { name: 'quorate_barrier', migrations: barrierMigrations });
  for (const statement of shopTables) await db.query(statement);
  const definition = orderTcc(db, 'order', 60_000);
  const coordinator = createCoordinator({ db, definitions: [definition], pollMs: 50, leaseMs: 2000 });
  coordinator.start();
  const troubles = new Set<string>();
  const leave = tccSagaEvents.error.subscribe((event) => {
    troubles.add(event.during);
  });

  const orders = Array.from({ length: 60 }, (_, n): Order => {
    const kind = n % 5 === 0 ? 'refused' : 'good';
    return { id: `order ${String(n)}`, quantity: 1, price: 1, kind };
  });
  /** As a client would: again with the same id, until it is known to have begun. */
  const place = async (order: Order): Promise<void> => {
    for (;;) {
      try {
        await db.transaction(async (tx) => {
          const { created } = await coordinator.begin(definition, { id: order.id, input: order, tx });
          if (created) await tx.query("insert into shop_order values ($1, 'pending')", [order.id]);
        });
        return;
      } catch {
        await sleep(systemRuntime, 20);
      }
    }
  };
  let ended = 0;
  const half = new Promise<void>((resolve) => {
    const unsubscribe = tccSagaEvents.step.subscribe((step) => {
      if (step.point !== 'ended' || ++ended < 20) return;
      unsubscribe();
      resolve();
    });
  });
  const placed = Promise.all(orders.map(place));
  await half;
  await server.kill();
  await server.restart();
  await placed;
  await Promise.all(orders.map(({ id }) => coordinator.wait(id)));
  await coordinator.close();
  leave();

  expect(troubles.size, 'the outage was noticed').toBeGreaterThan(0);
  expect(await auditShop(db)).toEqual([]);
  expect((await db.query('select 1 from shop_order')).rowCount).toBe(orders.length);
  await pool.end();
});
