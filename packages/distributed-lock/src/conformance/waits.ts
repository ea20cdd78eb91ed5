import { strict as assert } from 'node:assert';
import { type Check, type CheckContext, rejects } from './harness.js';

const queue: Check['applies'] = ({ waiting }) => waiting === 'push' || waiting === 'poll';

/** Waiting, and giving it up. */
export const waitChecks: readonly Check[] = [
  {
    number: 16,
    name: 'claims that wait are granted in the order in which they came',
    applies: ({ fifo }) => fifo,
    async run(check) {
      const clients = [await check.client(), await check.client(), await check.client()];
      const key = check.key();
      const [first] = clients;
      assert.ok(first);
      const held = check.request(key);
      await check.granted(first, held);
      const order: number[] = [];
      const waits: Promise<void>[] = [];
      for (let place = 0; place < 6; place++) {
        const backend = clients[place % clients.length] ?? first;
        const request = check.request(key, { wait: true });
        let entered = false;
        waits.push(
          (async () => {
            for (;;) {
              // Waiting claims keep their places, and the holder its lock.
              const { state } = await check.claim(backend, request);
              entered = true;
              if (state === 'granted') break;
              await check.pause(5);
              if (place === 0) await check.renew(first, held);
            }
            order.push(place);
            assert.equal(await check.release(backend, request), 'released');
          })(),
        );
        if (check.queues) await check.eventually(() => entered, 'a claim to take its place');
        else await check.pause(check.settleMs);
      }
      assert.equal(await check.release(first, held), 'released');
      await check.within(Promise.all(waits), 'all who wait to be granted the lock');
      assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
    },
  },
  {
    number: 17,
    name: 'a claim that waits is told that it was granted, without asking',
    applies: ({ waiting }) => waiting === 'push',
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      await check.granted(one, held);
      const waiting = check.request(key, { wait: true });
      const told = new Promise<void>((resolve) => {
        void check
          .claim(two, waiting, { changed: () => resolve(), lost: () => undefined })
          .then(() => check.release(one, held));
      });
      await check.within(told, 'watch.changed after the release');
      await check.granted(two, waiting);
    },
  },
  {
    number: 18,
    name: 'a place in the queue is kept by asking, given up by a release, and ends when nobody asks',
    applies: queue,
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      await check.granted(one, held);
      const given = check.request(key, { wait: true });
      const dead = check.request(key, { wait: true });
      for (const request of [given, dead]) assert.equal((await check.claim(two, request)).state, 'waiting');
      assert.equal(await check.release(two, given), 'released', 'the place of one who gives up');
      assert.equal(await check.release(two, given), 'lost', 'it had no place any more');
      const alive = check.request(key, { wait: true });
      const end = check.runtime.monotonic() + 2 * check.leaseMs;
      while (check.runtime.monotonic() < end) {
        assert.equal(await check.renew(one, held), 'held');
        assert.equal((await check.claim(two, alive)).state, 'waiting');
        await check.pause(check.leaseMs / 5);
      }
      await check.release(one, held);
      await check.granted(two, alive);
      assert.equal(await check.renew(two, dead), 'lost', 'of one who stopped asking');
    },
  },
  {
    number: 19,
    name: 'a claim that does not wait overtakes nobody',
    applies: (capabilities) => queue(capabilities) && capabilities.modes.includes('shared'),
    async run(check) {
      const backend = await check.client();
      const key = check.key();
      await check.granted(backend, check.request(key, { mode: 'shared' }));
      assert.equal((await check.claim(backend, check.request(key, { wait: true }))).state, 'waiting');
      assert.equal((await check.claim(backend, check.request(key, { mode: 'shared' }))).state, 'busy');
      const behind = check.request(key, { mode: 'shared', wait: true });
      assert.equal((await check.claim(backend, behind)).state, 'waiting');
    },
  },
  {
    number: 20,
    name: 'waits end in time or with their signal, and leave no place behind',
    async run(check) {
      const long = { leaseMs: check.longLeaseMs };
      const [one, two, three] = [await check.locks(long), await check.locks(long), await check.locks(long)];
      const key = check.key();
      const lease = await one.acquire(key);
      assert.equal(await two.tryAcquire(key), undefined);
      await rejects(two.acquire(key, { waitMs: 0 }), 'LOCK_TIMEOUT');
      await rejects(two.acquire(key, { waitMs: 50 }), 'LOCK_TIMEOUT');
      const reason = new Error('not any more');
      const gone = await rejects(two.acquire(key, { signal: AbortSignal.abort(reason) }), 'LOCK_ABORTED');
      assert.equal(gone.cause, reason);
      const controller = new AbortController();
      const waits = [two, two, three].map((locks) =>
        rejects(locks.acquire(key, { signal: controller.signal }), 'LOCK_ABORTED'),
      );
      await check.pause(check.settleMs);
      controller.abort(reason);
      for (const error of await check.within(Promise.all(waits), 'aborted waits to end'))
        assert.equal(error.cause, reason);
      // Whatever was left in the queue would be granted the lock now, and keep it for a long lease.
      await settled(check, key, one);
      assert.equal(await lease.release(), 'released');
      const next = await check.within(three.acquire(key), 'the lock to be free');
      await next.release();
    },
  },
  {
    number: 21,
    name: 'an abort just when the lock is granted leaks nothing',
    async run(check) {
      const long = { leaseMs: check.longLeaseMs };
      const [one, two] = [await check.locks(long), await check.locks(long)];
      const key = check.key();
      for (let round = 0; round < 8; round++) {
        const lease = await one.acquire(key);
        const controller = new AbortController();
        const wait = two.acquire(key, { signal: controller.signal }).then(
          (granted) => granted.release(),
          () => 'aborted',
        );
        await check.pause(round * 2);
        const released = lease.release();
        if (round % 2 === 0) await released;
        controller.abort();
        await check.within(Promise.all([released, wait]), 'both to be done');
      }
      const last = await check.within(one.acquire(key), 'the lock to be free');
      assert.equal(await last.release(), 'released');
    },
  },
];

/** Waits until nobody is in the queue, where the backend tells; else for the cleaning up to have got through. */
async function settled(
  check: CheckContext,
  key: string,
  locks: Awaited<ReturnType<CheckContext['locks']>>,
): Promise<void> {
  await check.pause(check.settleMs);
  const backend = await check.client();
  if (backend.inspect === undefined) return;
  await check.eventually(async () => (await locks.inspect(key)).waiting === 0, 'the queue to be empty');
}
