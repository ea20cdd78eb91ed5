import { integerOption } from '@quorate/runtime';

/**
 * How long an order may stay undecided: then it is cancelled, and what was reserved is given back. The environment may
 * give more, where a service may take longer to be back after its death.
 */
export const ORDER_DEADLINE_MS = integerOption(
  'SHOP_ORDER_DEADLINE_MS',
  Number(process.env['SHOP_ORDER_DEADLINE_MS'] ?? 8_000),
  { min: 1 },
);

/** How long one operation of a branch may take before its outcome counts as unknown. */
export const OPERATION_TIMEOUT_MS = 1_500;
