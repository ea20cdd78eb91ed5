import { strict as assert } from 'node:assert';
import type { Entry } from '../contract.js';
import { append, bytes, type Check, dataOf, entries, install, meta, refuses, text } from './harness.js';

/** What a storage does with batches. */
export const writeChecks: readonly Check[] = [
  {
    name: 'is empty at first: no state, no entries, no snapshot',
    async run(context) {
      const { state, first, last, snapshot } = await context.open().load();
      assert.deepEqual(
        { state: state.length, first, last, snapshot },
        { state: 0, first: 1, last: 0, snapshot: undefined },
      );
    },
  },
  {
    name: 'refuses everything before load, a second load, and everything after close',
    async run(context) {
      const log = context.open();
      await refuses(log.write({ entries: entries(1, 1) }, { sync: true }), 'STORAGE_NOT_LOADED');
      await log.load();
      await refuses(log.load(), 'STORAGE_LOADED');
      await Promise.all([log.close(), log.close()]);
      await refuses(log.read(1, 2, 1), 'STORAGE_CLOSED');
    },
  },
  {
    name: 'gives entries back as they were written, each kind, with and without an id, also empty ones',
    async run(context) {
      const log = await context.loaded();
      const written: Entry[] = [
        { index: 1, term: 1, kind: 'noop', data: new Uint8Array(0) },
        { index: 2, term: 1, kind: 'command', data: bytes('größe'), id: 'proposal ä 1' },
        { index: 3, term: 7, kind: 'config', data: new Uint8Array(1000).fill(255), id: 'x'.repeat(255) },
        { index: 4, term: 2 ** 47, kind: 'command', data: bytes('late') },
      ];
      await append(log, written);
      assert.deepEqual(plain(await log.read(1, 5, 1e6)), plain(written));
      const again = await context.reopened(log);
      assert.deepEqual(plain(await again.read(1, 5, 1e6)), plain(written));
    },
  },
  {
    name: 'keeps entries and state over a reopening',
    async run(context) {
      const log = await context.loaded();
      await log.write({ state: bytes('term 1'), entries: entries(1, 3) }, { sync: true });
      await log.write({ state: bytes('term 2'), entries: [] }, { sync: true });
      await log.write({ entries: entries(4, 1) }, { sync: true });
      await log.close();
      const again = context.open();
      const { state, first, last } = await again.load();
      assert.deepEqual([text(state), first, last], ['term 2', 1, 4]);
      assert.deepEqual(await dataOf(again, 1, 5), ['data 1', 'data 2', 'data 3', 'data 4']);
    },
  },
  {
    name: 'takes calls that overlap in the order in which they are made',
    async run(context) {
      const log = await context.loaded();
      const writes = Array.from({ length: 100 }, (_, index) =>
        log.write({ state: bytes(String(index)), entries: entries(index + 1, 1) }, { sync: index % 3 > 0 }),
      );
      await Promise.all(writes);
      await log.close();
      const { state, last } = await context.open().load();
      assert.deepEqual([text(state), last], ['99', 100]);
    },
  },
  {
    name: 'shows a read what was written before it was called',
    async run(context) {
      const log = await context.loaded();
      const write = log.write({ entries: entries(1, 3) }, { sync: true });
      assert.deepEqual(await dataOf(log, 1, 4), ['data 1', 'data 2', 'data 3']);
      await write;
    },
  },
  {
    name: 'reads as much as fits into maxBytes, and at least one entry',
    async run(context) {
      const log = await context.loaded();
      const sized = [10, 20, 30_000, 10].map((size, index): Entry => {
        return { index: index + 1, term: 1, kind: 'command', data: new Uint8Array(size) };
      });
      await append(log, sized);
      const count = async (from: number, maxBytes: number): Promise<number> =>
        (await log.read(from, 5, maxBytes)).length;
      assert.deepEqual(
        [
          await count(1, 0),
          await count(1, 29),
          await count(1, 30),
          await count(3, 1),
          await count(1, 30_040),
        ],
        [1, 1, 2, 1, 4],
      );
      assert.deepEqual(await log.read(5, 9, 100), []);
      assert.equal((await log.read(4, 900, 100)).length, 1);
    },
  },
  {
    name: 'replaces a suffix, by truncateFrom or by entries that begin before the end',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 5));
      await log.write({ truncateFrom: 4, entries: [] }, { sync: true });
      assert.equal((await log.read(1, 9, 1e6)).length, 3);
      await append(log, entries(2, 3, 2, 'new'));
      assert.deepEqual(await dataOf(log, 1, 9), ['data 1', 'new 2', 'new 3', 'new 4']);
      const again = await context.reopened(log);
      assert.deepEqual(await dataOf(again, 1, 9), ['data 1', 'new 2', 'new 3', 'new 4']);
      await again.write({ truncateFrom: 1, entries: [] }, { sync: true });
      await again.close();
      const { first, last } = await context.open().load();
      assert.deepEqual([first, last], [1, 0]);
    },
  },
  {
    name: 'refuses a batch with a gap, a falling term, a foreign kind or no bytes, and stays well',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 2, 5));
      const [valid] = entries(3, 1, 5);
      const bad: unknown[] = [
        { entries: entries(4, 1, 5) },
        { entries: [...entries(3, 1, 5), ...entries(5, 1, 5)] },
        { entries: entries(3, 1, 4) },
        { entries: entries(0, 1, 5) },
        { truncateFrom: 0, entries: [] },
        { entries: [{ ...valid, kind: 'other' }] },
        { entries: [{ ...valid, data: 'text' }] },
        { entries: [{ ...valid, id: 'x'.repeat(256) }] },
        { entries: [], state: 'text' },
      ];
      for (const batch of bad)
        await refuses(log.write(batch as { entries: [] }, { sync: true }), 'INVALID_BATCH');
      await append(log, entries(3, 1, 5));
      assert.deepEqual(await dataOf(log, 1, 9), ['data 1', 'data 2', 'data 3']);
    },
  },
  {
    name: 'refuses reads that make no sense',
    async run(context) {
      const log = await context.loaded();
      await refuses(log.read(0, 2, 10), 'INVALID_OPTION');
      await refuses(log.read(1, 2, -1), 'INVALID_OPTION');
    },
  },
  {
    name: 'is open once at a time',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 1));
      const second = context.open();
      await refuses(second.load(), 'STORAGE_LOCKED');
      await second.close();
      await append(log, entries(2, 1));
      const again = await context.reopened(log);
      assert.equal((await again.read(1, 9, 1e6)).length, 2);
    },
  },
  {
    name: 'keeps what was synced through a crash, and of the rest a prefix',
    crashes: true,
    async run(context) {
      const log = await context.loaded();
      await log.write({ state: bytes('a'), entries: entries(1, 5) }, { sync: true });
      for (let index = 6; index <= 20; index++)
        await log.write({ entries: entries(index, 1) }, { sync: false });
      const again = await context.crashed();
      const data = await dataOf(again, 1, 30);
      assert.ok(data.length >= 5);
      assert.deepEqual(
        data,
        entries(1, data.length).map((entry) => text(entry.data)),
      );
      await append(again, entries(data.length + 1, 1, 2, 'next'));
      const third = await context.crashed();
      assert.deepEqual((await dataOf(third, 1, 30)).at(-1), `next ${String(data.length + 1)}`);
    },
  },
  {
    name: 'makes with one sync all durable that was written before it',
    crashes: true,
    async run(context) {
      const log = await context.loaded();
      await log.write({ entries: entries(1, 5) }, { sync: false });
      await log.write({ entries: entries(2, 2, 2, 'other') }, { sync: false });
      await log.write({ state: bytes('s'), entries: [] }, { sync: true });
      assert.deepEqual(await dataOf(await context.crashed(), 1, 9), ['data 1', 'other 2', 'other 3']);
    },
  },
  {
    name: 'refuses to read what was compacted, and to compact what no snapshot covers',
    async run(context) {
      const log = await context.loaded();
      await append(log, ...Array.from({ length: 50 }, (_, index) => entries(index * 10 + 1, 10)));
      await refuses(log.compact(10), 'INVALID_OPTION');
      await install(log, meta(400), 'up to 400');
      await refuses(log.compact(401), 'INVALID_OPTION');
      await log.compact(300);
      const again = await context.reopened(log);
      // How much is removed is up to the storage, within bounds.
      const first = await firstOf(again);
      assert.ok(first >= 1 && first <= 301, `first is ${String(first)}`);
      assert.equal((await dataOf(again, 301, 501)).length, 200);
      if (first > 1) await refuses(again.read(first - 1, 501, 100), 'COMPACTED');
    },
  },
];

async function firstOf(log: {
  read(from: number, to: number, maxBytes: number): Promise<unknown>;
}): Promise<number> {
  return log.read(1, 2, 1).then(
    () => 1,
    (error: unknown) => (error as { readonly first: number }).first,
  );
}

/** Entries with their data as plain arrays, so that a Buffer equals a Uint8Array. */
function plain(list: readonly Entry[]): unknown[] {
  return list.map((entry) => ({ ...entry, data: [...entry.data] }));
}
