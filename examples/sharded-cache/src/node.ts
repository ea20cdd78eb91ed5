// One node of the cache, as a process of its own: started by the coordinator, told its settings over IPC.
import { once } from 'node:events';
import { createRing, inRange, type TokenRange } from '@quorate/hash-ring';
import { retry, systemRuntime } from '@quorate/runtime';
import { createTransport, type NodeId } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { type Addresses, answer, entriesOf, type Entry, PAGE_ENTRIES, type Settings } from './protocol.js';

const [settings] = (await once(process, 'message')) as [Settings];
const { self, clusterId, secret } = settings;
const link = createTcpLink({ self, clusterId, listen: { port: 0 }, auth: { secret } });
const transport = createTransport(link);
const entries = new Map<string, Entry>();
/** Tokens do not depend on the members, so any ring knows them. */
const tokens = createRing();
/** The keys by ascending token; undefined when keys came or went since. */
let index: { readonly token: number; readonly key: string }[] | undefined;

function store(incoming: readonly Entry[]): void {
  for (const entry of incoming) {
    const version = entries.get(entry.key)?.version;
    if (version === undefined) index = undefined;
    if (version === undefined || version < entry.version) entries.set(entry.key, entry);
  }
}

/** The keys of a range, by ascending token. */
function keysOf(range: TokenRange): { readonly token: number; readonly key: string }[] {
  index ??= Array.from(entries.keys(), (key) => ({ token: tokens.token(key), key })).sort(
    (a, b) => a.token - b.token,
  );
  return index.filter(({ token }) => inRange(range, token));
}

answer(transport, 'put', (ask) => {
  store(ask.entries);
  return null;
});
answer(transport, 'get', ({ key }) => entries.get(key) ?? null);
answer(transport, 'page', (range) => {
  const keys = keysOf(range);
  // Keys of one token go together, however many they are: the next page begins with another token.
  const last = keys[PAGE_ENTRIES - 1]?.token ?? range.end;
  const next = keys.find(({ token }) => token > last)?.token ?? null;
  const page = keys.filter(({ token }) => token <= last);
  return { entries: page.flatMap(({ key }) => entries.get(key) ?? []), next };
});
answer(transport, 'release', (range) => {
  for (const { key } of keysOf(range)) entries.delete(key);
  index = undefined;
  return null;
});
// A node that has just joined may not be connected to every source yet.
answer(transport, 'fetch', async ({ start, end, from }) => ({
  entries: await retry(systemRuntime, (attempt) =>
    fetchRange(from[(attempt - 1) % from.length] ?? '', start, end),
  ),
}));

async function fetchRange(source: NodeId, start: number, end: number): Promise<number> {
  let count = 0;
  for await (const page of entriesOf(transport, source, { start, end })) {
    store(page);
    count += page.length;
  }
  return count;
}

process.on('message', (addresses: Addresses) => {
  link.setPeers(addresses);
});
process.on('disconnect', () => {
  void transport.close().then(() => process.exit(0));
});
await transport.start();
const address = link.address();
process.send?.(`${address?.host ?? ''}:${String(address?.port)}`);
