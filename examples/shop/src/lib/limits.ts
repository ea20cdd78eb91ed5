/** How long an order may stay undecided: then it is cancelled, and what was reserved is given back. */
export const ORDER_DEADLINE_MS = 8_000;

/** How long one operation of a branch may take before its outcome counts as unknown. */
export const OPERATION_TIMEOUT_MS = 1_500;
