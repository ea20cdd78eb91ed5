// One node of the cache, as a process of its own: started by the coordinator, told its settings over IPC.
import { once } from 'node:events';
import { createRing, inRange } from '@quorate/hash-ring';
import { retry, systemRuntime } from '@quorate/runtime';
import { createTransport, type NodeId } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { type Addresses, answer, call, type Entry, PAGE_ENTRIES, type Settings } from './protocol.js';

const [settings] = (await once(process, 'message')) as [Settings];
const { self, clusterId, secret } = settings;
const link = createTcpLink({ self, clusterId, listen: { port: 0 }, auth: { secret } });
const transport = createTransport(link);
const entries = new Map<string, Entry>();
/** Tokens do not depend on the members, so any ring knows them. */
const tokens = createRing();

function store(incoming: readonly Entry[]): void {
  for (const entry of incoming) {
    if ((entries.get(entry.key)?.version ?? -1) < entry.version) entries.set(entry.key, entry);
  }
}

answer(transport, 'put', (ask) => {
  store(ask.entries);
  return null;
});
answer(transport, 'get', ({ key }) => entries.get(key) ?? null);
answer(transport, 'page', ({ start, end, after }) => {
  const keys = [...entries.keys()]
    .filter((key) => key > after && inRange({ start, end }, tokens.token(key)))
    .sort();
  const page = keys.slice(0, PAGE_ENTRIES).flatMap((key) => entries.get(key) ?? []);
  return { entries: page, more: keys.length > page.length };
});
answer(transport, 'release', ({ start, end }) => {
  for (const key of entries.keys()) if (inRange({ start, end }, tokens.token(key))) entries.delete(key);
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
  for (let after = '', more = true; more;) {
    const page = await call(transport, source, 'page', { start, end, after });
    store(page.entries);
    count += page.entries.length;
    after = page.entries.at(-1)?.key ?? '';
    more = page.more;
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
