import { type Static, Type } from 'typebox';
import { defineCall } from './calls.js';
import { remoteBranch } from './tcc-participant.js';

/** What the services ask of each other. Both sides check every message against these shapes. */

const identifier = { minLength: 1, maxLength: 255 };

export const OrderLine = Type.Object(
  { sku: Type.String(identifier), quantity: Type.Integer({ minimum: 1, maximum: 1_000 }) },
  { additionalProperties: false },
);

/** Try: promise the lines to the order. Confirm: ship them. Cancel: promise them to somebody else. */
export const inventoryBranch = remoteBranch(
  'inventory',
  Type.Object({ lines: Type.Array(OrderLine, { minItems: 1, maxItems: 20 }) }),
);

/** Try: freeze the amount (in cents). Confirm: take it. Cancel: give it back. */
export const paymentBranch = remoteBranch(
  'payment',
  Type.Object({
    account: Type.String(identifier),
    amount: Type.Integer({ minimum: 1 }),
  }),
);

const OrderConfirmed = Type.Object({
  messageId: Type.String(identifier),
  order: Type.String(identifier),
  email: Type.String(identifier),
  total: Type.Integer(),
});

/** The event that an order was confirmed. Answered once what it led to is committed. */
export const orderConfirmed = defineCall<Static<typeof OrderConfirmed>, object>(
  'event.order-confirmed',
  OrderConfirmed,
  Type.Object({}),
);
