import { backoff, deadline, sleep, systemRuntime } from '@quorate/runtime';
import type { Order } from '../services/orders.js';
import type { Addresses } from './processes.js';
import type { Plan, PlannedOrder } from './plan.js';

const REQUEST_TIMEOUT_MS = 10_000;
const LONG_POLL_MS = 3_000;
const CONCURRENCY = 24;

/** A planned order and what became of it. */
export interface PlacedOrder {
  readonly planned: PlannedOrder;
  readonly order: Order;
}

export interface DriveEvents {
  placed(planned: PlannedOrder): void;
  ended(placed: PlacedOrder): void;
}

/** An answer that means that the demo itself asked for nonsense. */
class UnexpectedAnswer extends Error {}

/** Pays money in and receives goods, by the services' HTTP APIs. */
export async function stockUp(plan: Plan, { http }: Addresses, signal: AbortSignal): Promise<void> {
  const { deposits, receipts } = plan;
  await inParallel(deposits, 8, (body) => post(`${http.payment}/accounts/deposit`, body, {}, signal));
  await inParallel(receipts, 8, (body) => post(`${http.inventory}/stock`, body, {}, signal));
}

/**
 * Places all orders, spread evenly over `spreadMs`, and follows each to its end. A client has to expect that the
 * service dies while it asks: it asks again with the same idempotency key.
 */
export async function placeOrders(
  orders: readonly PlannedOrder[],
  { http }: Addresses,
  spreadMs: number,
  events: DriveEvents,
  signal: AbortSignal,
): Promise<PlacedOrder[]> {
  const startedAt = systemRuntime.monotonic();
  return inParallel(orders, CONCURRENCY, async (planned, index) => {
    const startAt = startedAt + (spreadMs * index) / orders.length;
    await sleep(systemRuntime, startAt - systemRuntime.monotonic(), { signal });
    const place = (): Promise<Order> =>
      post<Order>(
        `${http.order}/orders`,
        planned.body,
        { 'idempotency-key': planned.idempotencyKey },
        signal,
      );
    const [placed, again = placed] = await Promise.all(planned.twice ? [place(), place()] : [place()]);
    if (placed.id !== again.id) {
      throw new UnexpectedAnswer(
        `The key ${planned.idempotencyKey} made two orders: ${placed.id} and ${again.id}.`,
      );
    }
    events.placed(planned);
    let order = placed;
    while (order.state === 'pending') {
      order = await ask<Order>(`${http.order}/orders/${placed.id}?wait=${String(LONG_POLL_MS)}`, {}, signal);
    }
    const ended = { planned, order };
    events.ended(ended);
    return ended;
  });
}

function post<T>(
  url: string,
  body: object,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<T> {
  const init = {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  };
  return ask<T>(url, init, signal);
}

/** Asks until there is an answer. A service that is down, or busy dying, is no reason to give up. */
async function ask<T>(url: string, init: RequestInit, signal: AbortSignal): Promise<T> {
  const delays = backoff(systemRuntime, { minMs: 50, maxMs: 1_000 });
  for (;;) {
    const limit = deadline(systemRuntime, REQUEST_TIMEOUT_MS, { signal, what: url });
    try {
      const response = await fetch(url, { ...init, signal: limit.signal });
      const text = await response.text();
      if (response.ok) return JSON.parse(text) as T;
      if (response.status < 500)
        throw new UnexpectedAnswer(`${url} answered ${String(response.status)}: ${text}`);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof UnexpectedAnswer) throw error;
    } finally {
      limit[Symbol.dispose]();
    }
    await sleep(systemRuntime, delays.nextMs(), { signal });
  }
}

/** Like `Promise.all` over `items`, with at most `limit` under way; no more are begun after a failure. */
async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item, index);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}
