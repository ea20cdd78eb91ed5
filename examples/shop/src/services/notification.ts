import { createInbox, inboxMigrations } from '@quorate/outbox-and-event-sync';
import { migrate } from '@quorate/sql';
import { Type } from 'typebox';
import { formatCents } from '../catalogue.js';
import { answer } from '../lib/calls.js';
import { orderConfirmed } from '../lib/contracts.js';
import { runService } from '../lib/service.js';
import { sql } from '../sql.gen.js';

await runService('notification', 'What customers were told.', async ({ db, http, transport }) => {
  await migrate(db, {
    name: 'notification',
    migrations: [{ id: 1, name: 'notifications', sql: { postgres: sql['notification-schema'] } }],
  });
  await migrate(db, { name: 'quorate_inbox', migrations: inboxMigrations });
  const inbox = createInbox({ consumer: 'notification' });

  // The relay sends a message again until it has an answer. The inbox remembers the message in the transaction
  // that writes the notification: both are there or neither, and the second time nothing happens.
  answer(transport, orderConfirmed, async ({ messageId, order, email, total }) => {
    await db.transaction((tx) =>
      inbox.once(tx, messageId, async () => {
        const text = `Thank you! Your order ${order} over ${formatCents(total)} is on its way.`;
        await tx.query(sql['notification-insert'], [order, messageId, email, text]);
      }),
    );
    return {};
  });

  const Notification = Type.Object({
    order: Type.String(),
    recipient: Type.String(),
    text: Type.String(),
    sentAt: Type.String({ format: 'date-time' }),
  });
  http.get(
    '/notifications',
    {
      schema: {
        summary: 'The latest notifications',
        querystring: Type.Object({
          order: Type.Optional(Type.String({ maxLength: 255, description: 'Only those about this order' })),
          limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 50 }),
        }),
        response: { 200: Type.Array(Notification) },
      },
    },
    async ({ query: { order = null, limit } }) => {
      const { rows } = await db.query<{ order: string; recipient: string; text: string; sentAt: Date }>(
        sql['notification-list'],
        [order, limit],
      );
      return rows.map((row) => ({ ...row, sentAt: row.sentAt.toISOString() }));
    },
  );
});
