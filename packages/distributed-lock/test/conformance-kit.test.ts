import { type LockBackend, type LockCapabilities } from '@quorate/distributed-lock';
import { lockConformance, type LockConformanceWorld } from '@quorate/distributed-lock/conformance';
import { memoryCapabilities, memoryLockSpace } from '@quorate/distributed-lock/memory';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it } from 'vitest';
import { virtualMemoryWorld } from './worlds.js';

/** Runs one check of the kit, and returns what it failed with. */
async function check(
  number: number,
  setup: () => LockConformanceWorld,
  capabilities: LockCapabilities = memoryCapabilities,
): Promise<unknown> {
  const runs = new Map<number, () => Promise<void>>();
  lockConformance({
    name: 'spoilt',
    capabilities,
    setup: () => Promise.resolve(setup()),
    runner: { describe: (_, define) => define(), it: (name, run) => runs.set(Number.parseInt(name), run) },
  });
  const run = runs.get(number);
  if (run === undefined) throw new Error(`there is no check ${String(number)}`);
  return run().then(
    () => undefined,
    (error: unknown) => error,
  );
}

type Defect = readonly [number, string, (inner: LockBackend) => Partial<LockBackend>];

const constantFence = (inner: LockBackend): Partial<LockBackend> => ({
  async claim(request, call) {
    const result = await inner.claim(request, {
      ...call,
      watch: { ...call.watch, changed: () => call.watch.changed() },
    });
    return result.state === 'granted' ? { ...result, fence: 1 } : result;
  },
});
const releasesNothing: Partial<LockBackend> = { release: () => Promise.resolve('released') };
const renewsNothing: Partial<LockBackend> = {
  renew: (_, leaseMs) => Promise.resolve({ state: 'held', validMs: leaseMs }),
};
const sharesAll = (inner: LockBackend): Partial<LockBackend> => ({
  claim: (request, call) => inner.claim({ ...request, mode: 'shared' }, call),
});
const freshOwners = (inner: LockBackend): Partial<LockBackend> => {
  let claims = 0;
  return {
    claim: (request, call) =>
      inner.claim({ ...request, owner: `${request.owner}/${String(++claims)}` }, call),
  };
};
/** Forgets the release of what it did not see granted. */
const keepsWaiters = (inner: LockBackend): Partial<LockBackend> => {
  const granted = new Set<string>();
  return {
    async claim(request, call) {
      const result = await inner.claim(request, call);
      if (result.state === 'granted') granted.add(request.owner);
      return result;
    },
    release: (claim, call) =>
      granted.has(claim.owner) ? inner.release(claim, call) : Promise.resolve('released'),
  };
};

/** For each check, a way to break a backend that it finds. */
const defects: readonly Defect[] = [
  [1, 'says that it is durable', (b) => ({ capabilities: { ...b.capabilities, fencing: 'durable' } })],
  [
    2,
    'leaves a place behind',
    (b) => ({
      async claim(request, call) {
        const result = await b.claim({ ...request, wait: true }, call);
        return result.state === 'waiting' && !request.wait ? { state: 'busy' } : result;
      },
    }),
  ],
  [3, 'takes a retry for somebody else', freshOwners],
  [
    4,
    'promises more than the lease',
    (b) => ({
      async claim(request, call) {
        const result = await b.claim(request, call);
        return result.state === 'granted' ? { ...result, validMs: request.leaseMs * 2 } : result;
      },
    }),
  ],
  [5, 'has a fence that begins again', constantFence],
  [
    6,
    'lets everybody release',
    (b) => {
      let last: string | undefined;
      return {
        async claim(request, call) {
          const result = await b.claim(request, call);
          if (result.state === 'granted') last = request.owner;
          return result;
        },
        release: (claim, call) => b.release({ ...claim, owner: last ?? claim.owner }, call),
      };
    },
  ],
  [7, 'brings lost locks back', () => renewsNothing],
  [8, 'ends leases early', (b) => ({ claim: (request, call) => early(b, request, call) })],
  [9, 'renews nothing', () => renewsNothing],
  [10, 'has a fence that does not rise after a crash', constantFence],
  [
    13,
    'cuts keys at braces',
    (b) => ({ claim: (r, call) => b.claim({ ...r, key: r.key.replace(/\{.*/, '{') }, call) }),
  ],
  [15, 'sees nobody', () => ({ inspect: () => Promise.resolve({ holders: [], waiting: 0 }) })],
  [
    16,
    'has no order',
    (b) => {
      let asked = 0;
      return {
        async claim(request, call) {
          if (request.wait && ++asked % 3 !== 0) return { state: 'waiting' };
          const result = await b.claim({ ...request, wait: false }, call);
          return request.wait && result.state === 'busy' ? { state: 'waiting' } : result;
        },
      };
    },
  ],
  [
    17,
    'tells nobody',
    (b) => ({
      claim: (request, call) =>
        b.claim(request, { ...call, watch: { changed: () => undefined, lost: () => undefined } }),
    }),
  ],
  [
    18,
    'keeps the places of the dead',
    (b) => ({
      claim: (request, call) =>
        b.claim({ ...request, leaseMs: request.leaseMs * (request.wait ? 50 : 1) }, call),
    }),
  ],
  [
    19,
    'lets readers pass waiting writers',
    (b) => ({
      async claim(request, call) {
        const result = await b.claim(request, call);
        if (result.state !== 'busy' || request.mode !== 'shared') return result;
        return { state: 'granted', fence: 99, validMs: request.leaseMs };
      },
    }),
  ],
  [20, 'keeps the places of those who gave up', keepsWaiters],
  [21, 'keeps what was granted to those who gave up', keepsWaiters],
  [22, 'has no readers', (b) => ({ claim: (r, call) => b.claim({ ...r, mode: 'exclusive' }, call) })],
  [23, 'has no writers', sharesAll],
  [
    24,
    'upgrades without a new fence',
    (b) => ({
      async convert(request, call) {
        const result = (await b.convert?.(request, call)) ?? { state: 'lost' };
        return result.state === 'granted' ? { ...result, fence: 1 } : result;
      },
    }),
  ],
  [
    25,
    'loses the lock when an upgrade is given up',
    (b) => ({
      async convert(request, call) {
        const result = (await b.convert?.(request, call)) ?? { state: 'lost' };
        if (result.state === 'busy') await b.release(request, call);
        return result;
      },
    }),
  ],
  [
    26,
    'counts claims instead of permits',
    (b) => ({ claim: (r, call) => b.claim({ ...r, permits: 1 }, call) }),
  ],
  [27, 'lets two in', sharesAll],
  [28, 'forgets that it was renewed', () => renewsNothing],
  [29, 'blocks the retry of a lost reply', freshOwners],
  [30, 'does not say that a lock is lost', () => renewsNothing],
  [31, 'does not undo', () => releasesNothing],
  [32, 'keeps what a closed client had', () => releasesNothing],
  [33, 'has no terms', constantFence],
];

function early(
  inner: LockBackend,
  request: Parameters<LockBackend['claim']>[0],
  call: Parameters<LockBackend['claim']>[1],
): ReturnType<LockBackend['claim']> {
  return inner
    .claim({ ...request, leaseMs: request.leaseMs / 2 }, call)
    .then((result) => (result.state === 'granted' ? { ...result, validMs: request.leaseMs } : result));
}

describe('the conformance kit finds a backend that', () => {
  for (const [number, defect, spoil] of defects) {
    it(`${defect} (check ${String(number)})`, async () => {
      const failure = await check(number, () =>
        virtualMemoryWorld((inner) => ({ ...inner, ...spoil(inner) })),
      );
      expect(failure).toBeInstanceOf(Error);
    });
  }

  it('forgets its fences when it is restarted (check 11)', async () => {
    const runtime = createVirtualRuntime();
    const capabilities: LockCapabilities = { ...memoryCapabilities, fencing: 'durable' };
    const failure = await check(
      11,
      () => {
        let space = memoryLockSpace({ runtime });
        const client = (): LockBackend => ({
          ...space.backend(),
          capabilities,
          claim: (request, call) => space.backend().claim(request, call),
        });
        return {
          runtime,
          client,
          restart() {
            space = memoryLockSpace({ runtime });
            return Promise.resolve();
          },
          teardown: () => Promise.resolve(),
        };
      },
      capabilities,
    );
    expect(String(failure)).toMatch(/fence 1 after 1/);
  });

  it('guards nothing (check 12)', async () => {
    const failure = await check(12, () => ({
      ...virtualMemoryWorld(),
      guarded: () => Promise.resolve(true),
    }));
    expect(String(failure)).toMatch(/former holder/);
  });

  it('takes longer keys than it says (check 14)', async () => {
    const failure = await check(14, () => virtualMemoryWorld(), { ...memoryCapabilities, maxKeyBytes: 100 });
    expect(String(failure)).toMatch(/must reject with INVALID_OPTION/);
  });
});

describe('the conformance kit', () => {
  const names = (options: Partial<Parameters<typeof lockConformance>[0]>): string[] => {
    const found: string[] = [];
    lockConformance({
      name: 'listed',
      capabilities: memoryCapabilities,
      setup: () => Promise.reject(new Error('not run')),
      runner: { describe: (_, define) => define(), it: (name) => found.push(name) },
      ...options,
    });
    return found;
  };

  it('has 33 checks, each of which some defect fails, and names those that it leaves out', () => {
    const durable = names({ capabilities: { ...memoryCapabilities, fencing: 'durable' } });
    expect(durable.slice(0, -1).map((name) => Number.parseInt(name))).toEqual(
      [...Array(33).keys()].map((n) => n + 1),
    );
    const found = new Set([...defects.map(([number]) => number), 11, 12, 14]);
    expect(found.size).toBe(33);
    expect(names({ impossible: { crash: 'no processes' } }).at(-1)).toBe(
      'left out: 10 (no processes), 11 (not promised)',
    );
    expect(() => names({ impossible: { crsh: 'x' } as never })).toThrow(/impossible/);
  });

  it('fails when a world neither offers a hook nor declares it impossible, and when it does both', async () => {
    for (const [impossible, world] of [
      [{}, { ...virtualMemoryWorld(), crash: undefined }],
      [{ crash: 'not so' }, virtualMemoryWorld()],
    ] as const) {
      const runs: (() => Promise<void>)[] = [];
      lockConformance({
        name: 'hooks',
        capabilities: memoryCapabilities,
        setup: () => Promise.resolve(world as LockConformanceWorld),
        impossible,
        runner: { describe: (_, define) => define(), it: (_, run) => runs.push(run) },
      });
      await expect(runs.at(-1)?.()).rejects.toThrow(/crash/);
    }
  });
});
