import { strict as assert } from 'node:assert';
import {
  append,
  bytes,
  type Check,
  collect,
  dataOf,
  entries,
  install,
  meta,
  refuses,
  snapshotOf,
  text,
} from './harness.js';

/** What a storage does with snapshots. */
export const snapshotChecks: readonly Check[] = [
  {
    name: 'takes a snapshot in without effect until it is installed, and gives it back whole',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 5));
      const parts = Array.from({ length: 40 }, (_, index) => bytes(`${String(index)};`.repeat(5000)));
      const whole = text(Buffer.concat(parts));
      const staged = await log.stageSnapshot(meta(3), parts);
      assert.equal(staged.sizeBytes, Buffer.concat(parts).length);
      assert.equal(await snapshotOf(log), undefined);
      assert.equal(await collect(staged.chunks()), whole);
      await staged.install();
      await refuses(staged.install(), 'SNAPSHOT_GONE');
      const again = await context.reopened(log);
      const stored = await again.openSnapshot();
      assert.deepEqual(
        [stored?.meta.index, stored?.meta.term, text(stored?.meta.membership ?? bytes(''))],
        [3, 1, 'members'],
      );
      assert.equal(stored && (await collect(stored.chunks())), whole);
      assert.equal(stored && (await collect(stored.chunks())), whole);
    },
  },
  {
    name: 'keeps the log behind a snapshot of an entry that it holds',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 5));
      await install(log, meta(3), 'three');
      assert.deepEqual(await dataOf(log, 4, 9), ['data 4', 'data 5']);
      await log.close();
      const again = context.open();
      const { last, snapshot } = await again.load();
      assert.deepEqual([last, snapshot?.index], [5, 3]);
      assert.deepEqual(await dataOf(again, 4, 9), ['data 4', 'data 5']);
    },
  },
  ...[
    { what: 'that is longer than the log', of: meta(9, 2) },
    { what: 'of another term than the entry at its index', of: meta(3, 2) },
  ].map(({ what, of }): Check => ({
    name: `discards the log for a snapshot ${what}, keeps the state, and goes on after it`,
    async run(context) {
      const log = await context.loaded();
      await log.write({ state: bytes('vote'), entries: entries(1, 5) }, { sync: true });
      await install(log, of, 'foreign');
      await refuses(log.read(of.index, of.index + 1, 1), 'COMPACTED');
      await append(log, entries(of.index + 1, 2, 2));
      await log.close();
      const again = context.open();
      const { state, first, last } = await again.load();
      assert.deepEqual([text(state), first, last], ['vote', of.index + 1, of.index + 2]);
      assert.equal(await snapshotOf(again), 'foreign');
    },
  })),
  {
    name: 'installs in order with the writes around it',
    async run(context) {
      const log = await context.loaded();
      const staged = await log.stageSnapshot(meta(10, 3), [bytes('ten')]);
      await Promise.all([
        log.write({ entries: entries(1, 5) }, { sync: false }),
        staged.install(),
        log.write({ entries: entries(11, 2, 3) }, { sync: true }),
      ]);
      const again = await context.reopened(log);
      assert.deepEqual(await dataOf(again, 11, 20), ['data 11', 'data 12']);
    },
  },
  {
    name: 'says where the log stands when a snapshot is all there is',
    async run(context) {
      const log = await context.loaded();
      await install(log, meta(7, 3), 'seven');
      await log.close();
      const { first, last } = await context.open().load();
      assert.deepEqual([first, last], [8, 7]);
    },
  },
  {
    name: 'refuses a snapshot that is not newer than the one in force, and the removal of what one covers',
    async run(context) {
      const log = await context.loaded();
      await append(log, entries(1, 9));
      await install(log, meta(5), 'five');
      const older = await log.stageSnapshot(meta(5), [bytes('again')]);
      await refuses(older.install(), 'SNAPSHOT_OUTDATED');
      await refuses(log.write({ truncateFrom: 5, entries: [] }, { sync: true }), 'INVALID_BATCH');
      await install(log, meta(8), 'eight');
      assert.equal(await snapshotOf(log), 'eight');
    },
  },
  {
    name: 'removes what was staged when it is discarded, when its source fails and when its signal aborts',
    async run(context) {
      const log = await context.loaded();
      const discarded = await log.stageSnapshot(meta(1), [bytes('x')]);
      await discarded.discard();
      await discarded.discard();
      await refuses(discarded.install(), 'SNAPSHOT_GONE');
      await assert.rejects(log.stageSnapshot(meta(1), failing()), /the source failed/);
      const controller = new AbortController();
      const stuck = log.stageSnapshot(meta(1), silent(), { signal: controller.signal });
      controller.abort(new Error('given up'));
      await assert.rejects(stuck, /given up/);
      await install(log, meta(2), 'two');
      assert.equal(await snapshotOf(await context.reopened(log)), 'two');
    },
  },
  {
    name: 'lets a snapshot be read to its end while a newer one is installed',
    async run(context) {
      const log = await context.loaded();
      const old = Array.from({ length: 20 }, (_, index) => bytes(`${String(index)},`.repeat(20_000)));
      await (await log.stageSnapshot(meta(1), old)).install();
      const iterator = (await log.openSnapshot())?.chunks()[Symbol.asyncIterator]();
      const parts: Uint8Array[] = [];
      for (let next = await iterator?.next(); next?.done === false; next = await iterator?.next()) {
        if (parts.push(next.value) === 1) await install(log, meta(2), 'newer');
      }
      assert.ok(Buffer.concat(parts).equals(Buffer.concat(old)));
      assert.equal(await snapshotOf(log), 'newer');
    },
  },
  {
    name: 'keeps an installed snapshot through a crash, with the writes before it, and forgets a staged one',
    crashes: true,
    async run(context) {
      const log = await context.loaded();
      await log.write({ state: bytes('state'), entries: entries(1, 9) }, { sync: false });
      await install(log, meta(5), 'five');
      await log.stageSnapshot(meta(7), [bytes('seven')]);
      const again = await context.crashed();
      assert.equal(await snapshotOf(again), 'five');
      assert.deepEqual(await dataOf(again, 6, 20), ['data 6', 'data 7', 'data 8', 'data 9']);
      await install(again, meta(7), 'another seven');
      assert.equal(await snapshotOf(await context.crashed()), 'another seven');
    },
  },
];

async function* failing(): AsyncGenerator<Uint8Array> {
  yield bytes('a part');
  await Promise.resolve();
  throw new Error('the source failed');
}

async function* silent(): AsyncGenerator<Uint8Array> {
  yield bytes('a part');
  await new Promise<void>(() => undefined);
}
