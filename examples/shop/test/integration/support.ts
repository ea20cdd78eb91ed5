import { deadline, type LinkedSignal, sleep, systemRuntime } from '@quorate/runtime';
import { service } from '@quorate/testing';
import { type Databases, databasesOn } from '../../src/demo/databases.js';
import { type ServiceEvent, ShopProcesses } from '../../src/demo/processes.js';
import type { Order } from '../../src/services/orders.js';

/** A shop of its own on the shared server. */
export interface TestShop {
  readonly processes: ShopProcesses;
  readonly databases: Databases;
  readonly events: ServiceEvent[];
  stop(): Promise<void>;
}

export async function openShop(nodeFlags: readonly string[] = []): Promise<TestShop> {
  const databases = await databasesOn(await service('postgres'));
  const events: ServiceEvent[] = [];
  try {
    const processes = await ShopProcesses.start(databases.urls, (event) => events.push(event), nodeFlags);
    return {
      ...{ processes, databases, events },
      async stop() {
        await processes.stop();
        await databases[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await databases[Symbol.asyncDispose]();
    throw error;
  }
}

export interface Answer<T> {
  readonly status: number;
  readonly location: string | null;
  readonly body: T;
}

/** One request, whatever its status. */
export async function request<T>(
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const init =
    body === undefined
      ? {}
      : { method: 'POST', body: text, headers: { 'content-type': 'application/json', ...headers } };
  const response = await fetch(url, init);
  return {
    status: response.status,
    location: response.headers.get('location'),
    body: (await response.json()) as T,
  };
}

/** Asks again while the service is down. */
export async function insist<T>(ask: () => Promise<Answer<T>>): Promise<Answer<T>> {
  using limit: LinkedSignal = deadline(systemRuntime, 90_000);
  for (;;) {
    try {
      const answer = await ask();
      if (answer.status < 500) return answer;
    } catch {
      // It is being started again.
    }
    await sleep(systemRuntime, 50, { signal: limit.signal });
  }
}

/** Resolves with the order once it has ended. */
export async function ended(shop: TestShop, id: string): Promise<Order> {
  using limit: LinkedSignal = deadline(systemRuntime, 120_000, { what: `order ${id}` });
  for (;;) {
    limit.signal.throwIfAborted();
    const { body } = await insist<Order>(() =>
      request(`${shop.processes.addresses.http.order}/orders/${id}?wait=3000`),
    );
    if (body.state !== 'pending') return body;
  }
}
