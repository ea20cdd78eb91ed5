// Preloaded into a service: kills it with SIGKILL at a moment that the test names. It looks at what the service
// sends to its database and at the points that the saga publishes, and changes neither.
import { createRequire } from 'node:module';
import { tccSagaEvents } from '@quorate/tcc-saga';
import type { ClientBase } from 'pg';

/** The moment: around a statement, around the COMMIT of the transaction that it is in, or at a point of the saga. */
export type Moment =
  | {
      readonly at: 'before' | 'after' | 'before commit' | 'after commit';
      /** What the statement's text contains. */
      readonly statement: string;
      /** One of the statement's values. */
      readonly value?: string;
    }
  | { readonly at: 'point'; readonly point: string; readonly op?: string };

let armed: Moment | undefined;

process.on('message', (message) => {
  armed = (message as { crashAt?: Moment }).crashAt;
  process.send?.({ type: 'armed' });
});

tccSagaEvents.step.subscribe(({ point, op }) => {
  if (armed?.at === 'point' && armed.point === point && (armed.op ?? op) === op) die();
});

type Query = (this: ClientBase, ...args: unknown[]) => unknown;
const { Client } = createRequire(import.meta.url)('pg') as { Client: { prototype: { query: Query } } };
const inside = new WeakSet<ClientBase>();
const { query } = Client.prototype;

Client.prototype.query = function (...args) {
  if (armed === undefined || armed.at === 'point') return query.apply(this, args);
  const config = args[0] as string | { text: string; values?: unknown[] };
  const text = typeof config === 'string' ? config : config.text;
  const values = [...((typeof config === 'string' ? (args[1] as unknown[]) : config.values) ?? [])].flat();
  const matches =
    text.includes(armed.statement) && (armed.value === undefined || values.includes(armed.value));
  const commits = /^commit\b/i.test(text) && inside.has(this);
  if ((matches && armed.at === 'before') || (commits && armed.at === 'before commit')) die();
  if (matches) inside.add(this);
  const result = query.apply(this, args);
  if ((matches && armed.at === 'after') || (commits && armed.at === 'after commit')) {
    (result as Promise<unknown>).then(die, () => undefined);
  }
  return result;
};

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is delivered before anything else runs.
  for (;;);
}
