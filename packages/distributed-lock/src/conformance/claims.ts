import { createLocks, type LockBackend, type LockStatus } from '@quorate/distributed-lock';
import { strict as assert } from 'node:assert';
import { type Check, rejects } from './harness.js';

const byTime: Check['applies'] = ({ releasedOnCrash }) => releasedOnCrash === 'time';

/** What single calls of the contract do. */
export const claimChecks: readonly Check[] = [
  {
    number: 1,
    name: 'the client says what was declared, and has the methods that go with it',
    async run(check) {
      const backend = await check.client();
      assert.deepEqual(backend.capabilities, check.capabilities);
      const { upgrade, downgrade } = backend.capabilities;
      assert.equal(
        backend.convert !== undefined,
        upgrade || downgrade,
        'convert goes with upgrade or downgrade',
      );
      if (upgrade || downgrade)
        assert.ok(check.supports('exclusive', 'shared'), 'to convert needs both modes');
      createLocks(backend);
    },
  },
  {
    number: 2,
    name: 'a key that is held is busy for others, and that leaves nothing behind',
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      await check.granted(one, held);
      const other = check.request(key);
      for (const backend of [one, two])
        assert.deepEqual(await check.claim(backend, other), { state: 'busy' });
      await check.granted(two, check.request(check.key()));
      assert.equal(await check.release(one, held), 'released');
      await check.granted(two, check.request(key));
    },
  },
  {
    number: 3,
    name: 'claiming again as the same owner is the same claim',
    async run(check) {
      const backend = await check.client();
      const request = check.request(check.key());
      const first = await check.granted(backend, request);
      assert.deepEqual((await check.granted(backend, request)).fence, first.fence, 'the fence of one claim');
      assert.equal(await check.release(backend, request), 'released');
      assert.equal(
        await check.release(backend, request),
        'lost',
        'one release ends it, however often it was claimed',
      );
    },
  },
  {
    number: 4,
    name: 'a grant is valid for the lease, and no longer',
    async run(check) {
      const backend = await check.client();
      const grant = await check.granted(backend, check.request(check.key()));
      assert.ok(
        grant.validMs > 0 && grant.validMs <= check.leaseMs,
        `validMs of ${String(grant.validMs)} for a lease of ${String(check.leaseMs)}`,
      );
    },
  },
  {
    number: 5,
    name: 'fences rise with every grant of a key, or there are none at all',
    async run(check) {
      const clients = [await check.client(), await check.client()];
      const key = check.key();
      let last = Number.NEGATIVE_INFINITY;
      for (let round = 0; round < 6; round++) {
        const backend = clientOf(clients, round);
        const request = check.request(key);
        const { fence } = await check.granted(backend, request);
        if (check.capabilities.fencing === 'none') {
          assert.equal(fence, undefined);
        } else {
          assert.ok(Number.isSafeInteger(fence), `a fence is a safe integer, not ${String(fence)}`);
          assert.ok(Number(fence) > last, `fence ${String(fence)} after ${String(last)}`);
          last = Number(fence);
        }
        await check.release(backend, request);
      }
    },
  },
  {
    number: 6,
    name: 'a release by somebody else is lost, and frees nothing',
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      await check.granted(one, held);
      for (const backend of [one, two])
        assert.equal(await check.release(backend, check.request(key)), 'lost');
      assert.equal((await check.claim(two, check.request(key))).state, 'busy');
      assert.equal(await check.renew(one, held), 'held');
    },
  },
  {
    number: 7,
    name: 'a renewal brings nothing back, and makes nothing',
    async run(check) {
      const backend = await check.client();
      const key = check.key();
      assert.equal(await check.renew(backend, check.request(key)), 'lost', 'of what never was');
      const held = check.request(key);
      await check.granted(backend, held);
      assert.equal(await check.renew(backend, held), 'held');
      await check.release(backend, held);
      assert.equal(await check.renew(backend, held), 'lost', 'of what was released');
      await check.granted(backend, check.request(key));
      assert.equal(await check.renew(backend, held), 'lost', 'of what is somebody else’s');
    },
  },
  {
    number: 8,
    name: 'a lease that is not renewed ends, not before its time, and then it is lost',
    applies: byTime,
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      const before = check.runtime.monotonic();
      const first = await check.granted(one, held);
      const next = check.request(key);
      const second = await check.untilGranted(two, next);
      const tookMs = check.runtime.monotonic() - before;
      assert.ok(tookMs >= first.validMs * 0.98, `granted to the next after ${String(tookMs)} ms`);
      if (check.capabilities.fencing !== 'none')
        assert.ok(Number(second.fence) > Number(first.fence), 'the fence rises');
      assert.equal(await check.renew(one, held), 'lost');
      assert.equal(await check.release(one, held), 'lost');
      assert.equal(await check.renew(two, next), 'held', 'the loser’s calls do nothing to the holder');
    },
  },
  {
    number: 9,
    name: 'renewals keep a lease, and never shorten it',
    applies: byTime,
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const held = check.request(key);
      await check.granted(one, held);
      const end = check.runtime.monotonic() + 3 * check.leaseMs;
      while (check.runtime.monotonic() < end) {
        assert.equal(await check.renew(one, held), 'held');
        assert.equal((await check.claim(two, check.request(key))).state, 'busy');
        await check.pause(check.leaseMs / 5);
      }
      const longMs = Math.min(check.capabilities.leaseMs.max, check.leaseMs * 3);
      const from = check.runtime.monotonic();
      assert.equal(await check.renew(one, held, longMs), 'held');
      assert.equal(await check.renew(one, held), 'held');
      const next = check.request(key);
      await check.untilGranted(two, next);
      const tookMs = check.runtime.monotonic() - from;
      assert.ok(
        tookMs >= longMs * 0.98,
        `${String(longMs)} ms were promised, it ended after ${String(tookMs)} ms`,
      );
    },
  },
  {
    number: 10,
    name: 'a lock whose holder died is free again, with a higher fence',
    needs: 'crash',
    async run(check) {
      const [one, two] = [await check.client(), await check.client()];
      const key = check.key();
      const first = await check.granted(one, check.request(key));
      await check.world.crash?.(one);
      const second = await check.untilGranted(two, check.request(key));
      if (check.capabilities.fencing !== 'none')
        assert.ok(Number(second.fence) > Number(first.fence), 'the fence rises');
    },
  },
  {
    number: 11,
    name: 'fences rise over a restart of the server',
    needs: 'restart',
    applies: ({ fencing }) => fencing === 'durable',
    async run(check) {
      const backend = await check.client();
      const key = check.key();
      const held = check.request(key);
      const first = await check.granted(backend, held);
      await check.release(backend, held);
      await check.world.restart?.();
      const next = check.request(key);
      let second: number | undefined;
      await check.eventually(async () => {
        // A client may need a while, and some errors, until it is connected again.
        const result = await check.claim(backend, next).catch(() => undefined);
        if (result?.state === 'granted') second = result.fence;
        return result?.state === 'granted';
      }, 'a claim after the restart');
      assert.ok(Number(second) > Number(first.fence), `fence ${String(second)} after ${String(first.fence)}`);
    },
  },
  {
    number: 12,
    name: 'what is guarded refuses the fence of a former holder',
    needs: 'guarded',
    applies: ({ fencing }) => fencing !== 'none',
    async run(check) {
      const backend = await check.client();
      const key = check.key();
      const fences: number[] = [];
      for (let round = 0; round < 3; round++) {
        const request = check.request(key);
        fences.push(Number((await check.granted(backend, request)).fence));
        await check.release(backend, request);
      }
      const [first = 0, second = 0, third = 0] = fences;
      const write = (fence: number): Promise<boolean | undefined> =>
        check.call('a guarded write', async () => check.world.guarded?.(key, fence));
      assert.equal(await write(second), true, 'the first write');
      assert.equal(await write(second), true, 'another of the same holder');
      assert.equal(await write(first), false, 'one of a former holder');
      assert.equal(await write(third), true, 'one of the next holder');
      assert.equal(await write(second), false, 'one of the holder before it');
    },
  },
  {
    number: 13,
    name: 'keys of any characters are apart from each other, or refused by name',
    async run(check) {
      const backend = await check.client();
      const base = check.key();
      const most = check.capabilities.maxKeyBytes;
      const odd = [
        '{',
        '}',
        '{a}',
        '{b}',
        '\n',
        '\r\n',
        ' ',
        '\t',
        '\0',
        '%',
        '_',
        '*',
        '?',
        '\\',
        "'",
        '"',
        '/',
        'é',
        'e\u0301',
        '🔒',
        'A',
        'a',
      ];
      const longest = base.padEnd(most, 'x');
      const keys = [base, ...odd.map((end) => base + end), longest, `${longest.slice(0, -1)}y`];
      let held = 0;
      for (const key of keys.filter((one) => Buffer.byteLength(one) <= most)) {
        const request = check.request(key);
        try {
          await check.granted(backend, request);
          held++;
          assert.equal((await check.claim(backend, check.request(key))).state, 'busy', JSON.stringify(key));
        } catch (error) {
          const { code } = error as { code?: unknown };
          assert.equal(code, 'INVALID_OPTION', `${JSON.stringify(key)}: ${String(error)}`);
          assert.notEqual(key, base, 'an ordinary key');
        }
      }
      assert.ok(held > 2, 'most keys can be locked');
    },
  },
  {
    number: 14,
    name: 'impossible keys, leases and waits are refused before anything is asked',
    async run(check) {
      const inner = await check.client();
      let calls = 0;
      const locks = await check.locks({}, { ...counted(inner, () => calls++) });
      const { min, max } = check.capabilities.leaseMs;
      const bad: unknown[] = [
        '',
        'x'.repeat(check.capabilities.maxKeyBytes + 1),
        '\ud800',
        7,
        null,
        undefined,
      ];
      for (const key of bad) await rejects(locks.acquire(key as string), 'INVALID_OPTION');
      for (const leaseMs of [0, -1, Number.NaN, min - 1, max + 1, 1.5])
        await rejects(locks.acquire(check.key(), { leaseMs }), 'INVALID_OPTION');
      for (const waitMs of [-1, Number.NaN])
        await rejects(locks.acquire(check.key(), { waitMs }), 'INVALID_OPTION');
      if (!check.capabilities.fifo)
        await rejects(locks.acquire(check.key(), { fair: true }), 'LOCK_UNSUPPORTED');
      assert.equal(calls, 0, 'calls to the backend');
    },
  },
  {
    number: 15,
    name: 'inspect tells who holds a key, and how many wait',
    async run(check) {
      const backend = await check.client();
      if (backend.inspect === undefined) return;
      const status = (of: string): Promise<LockStatus | undefined> =>
        check.call('inspect', async (signal) => backend.inspect?.(of, { signal }));
      const key = check.key();
      assert.deepEqual(await status(key), { holders: [], waiting: 0 });
      const held = check.request(key);
      const { fence } = await check.granted(backend, held);
      assert.deepEqual((await status(key))?.holders, [
        { owner: held.owner, mode: 'exclusive', permits: 1, fence },
      ]);
      if (check.queues) {
        await check.claim(backend, check.request(key, { wait: true }));
        assert.equal((await status(key))?.waiting, 1);
      }
    },
  },
];

function clientOf(clients: readonly LockBackend[], index: number): LockBackend {
  const client = clients[index % clients.length];
  assert.ok(client);
  return client;
}

function counted(inner: LockBackend, called: () => void): LockBackend {
  return {
    name: inner.name,
    capabilities: inner.capabilities,
    claim(request, call) {
      called();
      return inner.claim(request, call);
    },
    renew: (claim, leaseMs, call) => inner.renew(claim, leaseMs, call),
    release: (claim, call) => inner.release(claim, call),
    close: () => inner.close(),
  };
}
