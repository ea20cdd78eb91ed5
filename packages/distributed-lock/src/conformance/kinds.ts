import type { ClaimRequest, ConvertResult, LockBackend } from '@quorate/distributed-lock';
import { strict as assert } from 'node:assert';
import { type Check, type CheckContext, rejects } from './harness.js';

const shared: Check['applies'] = ({ modes }) => modes.includes('shared');

/** Read-write locks and semaphores. */
export const kindChecks: readonly Check[] = [
  {
    number: 22,
    name: 'readers share a key, a writer has it alone',
    applies: shared,
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const reader = (): ClaimRequest => check.request(key, { mode: 'shared' });
      const readers = [reader(), reader(), reader()] as const;
      await check.granted(one, readers[0]);
      await check.granted(two, readers[1]);
      await check.granted(two, readers[2]);
      assert.equal((await check.claim(one, check.request(key))).state, 'busy', 'a writer beside readers');
      for (const [index, request] of readers.entries()) await check.release(index === 0 ? one : two, request);
      const writer = check.request(key);
      await check.granted(one, writer);
      for (const request of [reader(), check.request(key)])
        assert.equal((await check.claim(two, request)).state, 'busy', `${request.mode} beside a writer`);
      await check.release(one, writer);
      await check.granted(two, reader());
    },
  },
  {
    number: 23,
    name: 'a writer waits for all readers, and readers wait for it',
    applies: shared,
    async run(check) {
      const locks = await check.locks();
      const other = await check.locks();
      const key = check.key();
      let readers = 0;
      let writers = 0;
      const read = async (): Promise<void> => {
        const lease = await other.rw(key).read();
        readers++;
        assert.equal(writers, 0, 'a reader beside a writer');
        await check.pause(2);
        readers--;
        await lease.release();
      };
      const write = async (): Promise<void> => {
        await locks.rw(key).writing.using(async () => {
          writers++;
          assert.deepEqual([readers, writers], [0, 1], 'a writer beside others');
          await check.pause(2);
          writers--;
        });
      };
      await check.within(
        Promise.all([read(), read(), write(), read(), write(), read(), read()]),
        'all to be done',
      );
    },
  },
  {
    number: 24,
    name: 'an upgrade waits for the other readers, has a new fence, and excludes a second one',
    applies: ({ upgrade }) => upgrade,
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const [first, second] = [
        check.request(key, { mode: 'shared' }),
        check.request(key, { mode: 'shared' }),
      ];
      const { fence } = await check.granted(one, first);
      await check.granted(two, second);
      const write = { ...first, mode: 'exclusive', wait: true } as const;
      assert.equal(
        (await convert(check, one, { ...write, wait: false })).state,
        'busy',
        'one that does not wait',
      );
      assert.equal(
        (await convert(check, one, check.request(key, { wait: true }))).state,
        'lost',
        'of who holds nothing',
      );
      if (check.queues) {
        assert.equal((await convert(check, one, write)).state, 'waiting');
        assert.equal(
          (await convert(check, two, { ...second, mode: 'exclusive', wait: true })).state,
          'deadlock',
        );
        assert.equal(
          (await check.claim(two, check.request(key, { mode: 'shared' }))).state,
          'busy',
          'a later reader',
        );
        assert.equal((await convert(check, one, { ...first, wait: false })).state, 'granted', 'giving it up');
        const passing = check.request(key, { mode: 'shared' });
        await check.granted(two, passing);
        await check.release(two, passing);
        assert.equal((await convert(check, one, write)).state, 'waiting');
      }
      assert.equal(await check.renew(one, first), 'held', 'who waits for an upgrade keeps the lock');
      await check.release(two, second);
      const upgraded = await convert(check, one, write);
      assert.ok(upgraded.state === 'granted', 'the last reader upgrades');
      if (check.capabilities.fencing !== 'none')
        assert.ok(Number(upgraded.fence) > Number(fence), 'the fence rises');
      assert.equal(
        (await check.claim(two, check.request(key, { mode: 'shared' }))).state,
        'busy',
        'a reader beside it',
      );
    },
  },
  {
    number: 25,
    name: 'upgrades and downgrades of leases: nobody writes in between, and a failed one leaves the lock as it was',
    applies: ({ upgrade, downgrade }) => upgrade && downgrade,
    async run(check) {
      const [one, two] = [await check.locks(), await check.locks()];
      const key = check.key();
      const reading = await one.rw(key).read();
      const other = await two.rw(key).read();
      await rejects(reading.upgrade({ waitMs: 0 }), 'LOCK_TIMEOUT');
      await rejects(reading.upgrade({ waitMs: 30 }), 'LOCK_TIMEOUT');
      assert.equal(reading.mode, 'shared');
      reading.assertHeld();
      const upgraded = reading.upgrade();
      await check.pause(check.leaseMs * 1.5);
      assert.equal(reading.mode, 'shared');
      await other.release();
      await check.within(upgraded, 'the upgrade');
      assert.equal(reading.mode, 'exclusive');
      assert.equal(await two.rw(key).reading.tryAcquire(), undefined);
      await reading.downgrade();
      const beside = await two.rw(key).read();
      assert.equal(await two.tryAcquire(key), undefined);
      assert.deepEqual([await reading.release(), await beside.release()], ['released', 'released']);
    },
  },
  {
    number: 26,
    name: 'permits are never overdrawn, and are all given out',
    applies: ({ modes }) => modes.includes('permits'),
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const take = (permits: number): ClaimRequest =>
        check.request(key, { mode: 'permits', permits, total: 3 });
      const double = take(2);
      await check.granted(one, double);
      assert.equal((await check.claim(two, take(2))).state, 'busy', '2 of 3 with 2 taken');
      await check.granted(two, take(1));
      assert.equal((await check.claim(one, take(1))).state, 'busy', '1 of 3 with 3 taken');
      await check.release(one, double);
      await check.granted(one, take(2));

      const contended = check.key();
      const clients = [await check.locks(), await check.locks(), await check.locks()];
      let taken = 0;
      let most = 0;
      const work = clients.flatMap((locks, index) =>
        [1, 2, 3].map(async (permits) => {
          for (let round = 0; round < 3; round++) {
            await locks.semaphore(contended, 4).using({ permits }, async () => {
              taken += permits;
              most = Math.max(most, taken);
              await check.pause(1 + index);
              taken -= permits;
            });
          }
        }),
      );
      await check.within(Promise.all(work), 'all to have had their permits');
      assert.ok(most <= 4, `${String(most)} of 4 permits were taken at once`);
      assert.ok(most > 1, 'permits are taken side by side');
    },
  },
];

function convert(check: CheckContext, backend: LockBackend, request: ClaimRequest): Promise<ConvertResult> {
  const watch = { changed: () => undefined, lost: () => undefined };
  return check.call('a conversion', async (signal) => {
    const result = await backend.convert?.(request, { signal, waitMs: 0, watch });
    assert.ok(result, 'convert goes with upgrade or downgrade');
    return result;
  });
}
