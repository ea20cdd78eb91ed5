import type { LockBackend, Locks } from '@quorate/distributed-lock';
import { strict as assert } from 'node:assert';
import { type Check, type CheckContext, rejects } from './harness.js';
import { checkLockHistory, LockHistory } from './history.js';

/** The backend under `createLocks`. */
export const lockChecks: readonly Check[] = [
  {
    number: 27,
    name: 'under contention one holds the lock at a time, and the history shows no fault',
    async run(check) {
      const history = new LockHistory();
      const key = check.key();
      const clients: Locks[] = [];
      for (let index = 0; index < 4; index++)
        clients.push(
          await check.locks({ leaseMs: check.longLeaseMs }, history.backend(await check.client())),
        );
      const work = clients.flatMap((locks) =>
        [0, 1].map(async () => {
          for (let round = 0; round < 5; round++) {
            await locks.using(key, async (_, lease) => {
              history.entered(lease);
              if (check.capabilities.fencing !== 'none') history.wrote(lease, lease.fence);
              await check.pause(1);
              history.left(lease);
            });
          }
        }),
      );
      await check.within(Promise.all(work), 'all to have had the lock');
      assert.deepEqual(checkLockHistory(history.events, check.capabilities), []);
      assert.equal(history.events.filter(({ type }) => type === 'entered').length, 40);
    },
  },
  {
    number: 28,
    name: 'a lease is held for many times its length',
    async run(check) {
      const [one, two] = [await check.locks(), await check.locks()];
      const key = check.key();
      const lease = await one.acquire(key);
      const end = check.runtime.monotonic() + 4 * check.leaseMs;
      while (check.runtime.monotonic() < end) {
        assert.ok(lease.held && !lease.signal.aborted, 'it is held');
        assert.ok(lease.remainingMs() <= check.leaseMs, 'no longer than its lease');
        assert.equal(await two.tryAcquire(key), undefined);
        await check.pause(check.leaseMs / 4);
      }
      assert.equal(await lease.release(), 'released');
      assert.equal(await lease.release(), 'released', 'a release is one, however often it is called');
      assert.equal(lease.held, false);
    },
  },
  {
    number: 29,
    name: 'a lost reply does not block its own retry, and a lost release is not taken for a loss',
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const forgetful = losing(one);
      const locks = await check.locks({ leaseMs: check.longLeaseMs }, forgetful);
      const lease = await check.within(locks.acquire(key), 'a lock whose first reply was lost');
      assert.ok((await lease.extend()) > 0);
      assert.equal((await check.claim(two, check.request(key))).state, 'busy');
      assert.equal(await lease.release(), 'released');
      await check.granted(two, check.request(key));
    },
  },
  {
    number: 30,
    name: 'a loss is noticed, told by release, and masks nothing',
    async run(check) {
      const backend = await check.client();
      const locks = await check.locks({}, backend);
      const take = async (locked: string, owner: string): Promise<void> => {
        assert.equal(await check.release(backend, { key: locked, owner }), 'released');
      };
      const key = check.key();
      const lease = await locks.acquire(key);
      const lost = new Promise<unknown>((resolve) => {
        lease.signal.addEventListener('abort', () => resolve(lease.signal.reason), { once: true });
      });
      await take(key, lease.owner);
      const reason = await check.within(lost, 'the signal of a lost lock');
      assert.equal((reason as { code?: unknown }).code, 'LOCK_LOST');
      assert.throws(() => lease.assertHeld(), { code: 'LOCK_LOST' });
      assert.equal(await lease.release(), 'lost');

      const mine = new Error('mine');
      const thrown = await locks
        .using(check.key(), async (_, held) => {
          await take(held.key, held.owner);
          throw mine;
        })
        .catch((error: unknown) => error);
      assert.equal(thrown, mine, 'what the work threw');
      await rejects(
        locks.using(check.key(), (_, held) => take(held.key, held.owner)),
        'LOCK_LOST',
      );
    },
  },
  {
    number: 31,
    name: 'several locks are taken all or none, by all in one order',
    async run(check) {
      const long = { leaseMs: check.longLeaseMs };
      const [one, two] = [await check.locks(long), await check.locks(long)];
      const keys = [check.key(), check.key(), check.key()] as const;
      const set = await one.acquireAll([keys[2], keys[0], keys[0], keys[1]]);
      assert.deepEqual([...set.leases.keys()], [...keys].sort());
      assert.equal(await set.release(), 'released');

      const blocker = await two.acquire(keys[2]);
      await rejects(one.acquireAll(keys, { waitMs: 30 }), 'LOCK_TIMEOUT');
      for (const key of keys.slice(0, 2)) {
        const free = await check.within(two.acquire(key), 'the others to be given back');
        await free.release();
      }
      await blocker.release();
      const both = [one, two].flatMap((locks, index) =>
        [0, 1, 2].map(async () => {
          const held = await locks.acquireAll(index === 0 ? keys : [...keys].reverse());
          await check.pause(1);
          assert.equal(await held.release(), 'released');
        }),
      );
      await check.within(Promise.all(both), 'nobody to wait for each other');
    },
  },
  {
    number: 32,
    name: 'close ends waits, aborts and releases what is held, and can be called twice',
    async run(check) {
      const long = { leaseMs: check.longLeaseMs };
      const [one, two] = [await check.locks(long), await check.locks(long)];
      const [held, waited] = [check.key(), check.key()];
      const lease = await one.acquire(held);
      const blocker = await two.acquire(waited);
      const waiting = rejects(one.acquire(waited), 'LOCK_CLOSED');
      await check.pause(check.settleMs);
      await check.within(Promise.all([one.close(), one.close()]), 'close');
      await check.within(waiting, 'the wait to end');
      assert.equal((lease.signal.reason as { code?: unknown }).code, 'LOCK_CLOSED');
      assert.equal(lease.held, false);
      await rejects(one.acquire(check.key()), 'LOCK_CLOSED');
      await blocker.release();
      for (const key of [held, waited]) assert.ok(await two.tryAcquire(key), 'a closed client holds nothing');
    },
  },
  {
    number: 33,
    name: 'one leads at a time, the next follows with a higher term, and all can see it',
    async run(check) {
      const [one, two] = [await check.locks({ client: 'one' }), await check.locks({ client: 'two' })];
      const key = check.key();
      const [first, second] = [one.election(key), two.election(key)];
      const term = await first.campaign();
      const next = second.campaign();
      if ((await check.client()).inspect !== undefined) await seen(check, two, key);
      assert.equal(second.leadership, undefined);
      assert.equal(await first.resign(), 'released');
      const lead = await check.within(next, 'the next to lead');
      if (check.capabilities.fencing !== 'none') assert.ok(lead.fence > term.fence, 'the term rises');
      assert.equal(await first.resign(), 'none');
      await second.resign();
    },
  },
];

async function seen(check: CheckContext, locks: Locks, key: string): Promise<void> {
  const end = new AbortController();
  for await (const leader of locks.election(key).observe({ signal: end.signal })) {
    assert.equal(leader?.client, 'one');
    end.abort();
  }
  await check.pause(0);
}

/** A backend that loses its first reply to a claim and to a release. */
function losing(inner: LockBackend): LockBackend {
  const left = new Set(['claim', 'release']);
  const lose = async <T>(method: string, call: Promise<T>): Promise<T> => {
    const result = await call;
    if (left.delete(method)) throw new Error('the connection was reset');
    return result;
  };
  return {
    name: inner.name,
    capabilities: inner.capabilities,
    claim: (request, call) => lose('claim', inner.claim(request, call)),
    ...(inner.convert === undefined ? {} : { convert: inner.convert.bind(inner) }),
    renew: (claim, leaseMs, call) => inner.renew(claim, leaseMs, call),
    release: (claim, call) => lose('release', inner.release(claim, call)),
    close: () => inner.close(),
  };
}
