import type { NodeId, Transport } from '@quorate/transport';

/** A cached value. The greater version wins, so that a copy that arrives late does no harm. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

/** What can be asked of a node, and what it answers. */
export interface Calls {
  /** Stores entries, unless a greater version is there. */
  put: { ask: { entries: readonly Entry[] }; answer: null };
  get: { ask: { key: string }; answer: Entry | null };
  /** Entries whose tokens lie in a range, by ascending token, and the token at which to ask for more. */
  page: {
    ask: { start: number; end: number };
    answer: { entries: readonly Entry[]; next: number | null };
  };
  /** Tells the node to fetch a range from the first of `from` that answers. */
  fetch: { ask: { start: number; end: number; from: readonly NodeId[] }; answer: { entries: number } };
  /** Tells the node to forget a range. */
  release: { ask: { start: number; end: number }; answer: null };
}

/** From the coordinator to a node process, over its IPC channel. */
export interface Settings {
  readonly self: NodeId;
  readonly clusterId: string;
  readonly secret: string;
}

/** Where the nodes listen, as they become known. */
export type Addresses = Readonly<Record<NodeId, string>>;

export const PAGE_ENTRIES = 200;
const TIMEOUT_MS = 5_000;

/** All that a node has of a range, page by page. */
export async function* entriesOf(
  transport: Transport,
  node: NodeId,
  { start, end }: { readonly start: number; readonly end: number },
): AsyncGenerator<readonly Entry[]> {
  for (let from: number | null = start; from !== null;) {
    const { entries, next }: Calls['page']['answer'] = await call(transport, node, 'page', {
      start: from,
      end,
    });
    yield entries;
    from = next;
  }
}

/** Asks a node, with the answer's type. */
export async function call<C extends keyof Calls>(
  transport: Transport,
  to: NodeId,
  channel: C,
  ask: Calls[C]['ask'],
): Promise<Calls[C]['answer']> {
  const body = await transport.request(to, channel, encode(ask), { timeoutMs: TIMEOUT_MS });
  return decode(body) as Calls[C]['answer'];
}

/** Answers what {@link call} asks. */
export function answer<C extends keyof Calls>(
  transport: Transport,
  channel: C,
  handle: (ask: Calls[C]['ask']) => Calls[C]['answer'] | Promise<Calls[C]['answer']>,
): void {
  transport.respond(channel, async ({ body }) => encode(await handle(decode(body) as Calls[C]['ask'])));
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode(body: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(body));
}
