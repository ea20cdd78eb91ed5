import { createLocks, type Lease, type Locks } from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory } from '@quorate/distributed-lock/conformance';
import { memoryCapabilities, memoryLockSpace } from '@quorate/distributed-lock/memory';
import { sleep } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it } from 'vitest';
import { type Faults, lossy, pausable } from '../shim.js';

const SEEDS = Number(process.env['SEEDS'] ?? 300);
const FIRST = Number(process.env['SEED'] ?? 1);
const LEASE_MS = 300;

interface Outcome {
  readonly faults: readonly string[];
  readonly held: number;
  readonly lost: number;
  readonly refused: number;
}

interface Client {
  readonly locks: Locks;
  readonly clock: ReturnType<typeof pausable>;
  readonly faults: Faults;
  /** What its workers act under, and how to say so again. */
  readonly inside: Map<Lease, () => void>;
}

/** Clients on a bad network take a few locks in every way, are cut off and stopped, and write under their fences. */
async function run(seed: number): Promise<Outcome> {
  const runtime = createVirtualRuntime({ seed });
  const space = memoryLockSpace({ runtime });
  const history = new LockHistory();
  const keys = ['a', 'b'];
  const written = new Map<string, number>();
  const count = { held: 0, lost: 0, refused: 0 };
  const wild = seed % 3 !== 0;
  let stop = false;

  const work = async ({ locks, clock, inside }: Client, index: number): Promise<void> => {
    for (let round = 0; round < 6 && !stop; round++) {
      const key = keys[Math.floor(runtime.random() * keys.length)] ?? 'a';
      const waitMs = runtime.random() < 0.3 ? runtime.random() * 400 : 20_000;
      const kind = runtime.random();
      try {
        const lease =
          kind < 0.5
            ? await locks.acquire(key, { waitMs, fair: runtime.random() < 0.8 })
            : kind < 0.75
              ? await locks.rw(key).read({ waitMs })
              : await locks.semaphore(key, 3).acquire({ waitMs, permits: 1 + (index % 3) });
        count.held++;
        const enter = (): void => history.entered(lease, lease.mode === 'permits' ? 1 + (index % 3) : 1, 3);
        enter();
        inside.set(lease, enter);
        // The worker looks at its signal, as it is told to; from the abort on it does nothing.
        const left = new Promise<void>((resolve) => {
          const leave = (): void => {
            inside.delete(lease);
            history.left(lease);
            resolve();
          };
          if (lease.signal.aborted) leave();
          else lease.signal.addEventListener('abort', leave, { once: true });
        });
        const workMs = runtime.random() < 0.2 ? LEASE_MS * 2 : runtime.random() * 30;
        await Promise.race([left, sleep(clock, workMs)]);
        // Its last write may arrive long after: the guard decides.
        const { fence } = lease;
        runtime.setTimer(runtime.random() * LEASE_MS, () => {
          if (fence < (written.get(key) ?? 0)) {
            count.refused++;
            return;
          }
          written.set(key, fence);
          history.wrote(lease, fence);
        });
        inside.delete(lease);
        history.left(lease);
        if ((await lease.release().catch(() => 'lost')) === 'lost') count.lost++;
      } catch (error) {
        const { code } = error as { code?: string };
        if (!['LOCK_TIMEOUT', 'LOCK_BACKEND', 'LOCK_CLOSED'].includes(code ?? '')) throw error;
      }
    }
  };

  const clients = Array.from({ length: 4 }, (): Client => {
    const clock = pausable(runtime);
    const faults: Faults = {
      loss: wild ? 0.08 : 0,
      delayMs: wild ? 25 : 2,
      pushLoss: wild ? 0.2 : 0,
      cut: false,
    };
    const backend = history.backend(lossy(space.backend(), runtime, clock, faults));
    const locks = createLocks(backend, { runtime: clock, leaseMs: LEASE_MS });
    return { clock, faults, locks, inside: new Map<Lease, () => void>() };
  });
  const nemesis = (): void => {
    const victim = clients[Math.floor(runtime.random() * clients.length)];
    if (stop || !wild || victim === undefined) return;
    if (runtime.random() < 0.5) {
      const { clock, inside } = victim;
      const stoppedMs = runtime.random() * LEASE_MS * 3;
      clock.pause(stoppedMs);
      // Who stands still does nothing; when it wakes up it goes on with what it still holds.
      for (const lease of inside.keys()) history.left(lease);
      runtime.setTimer(stoppedMs, () => {
        if (!clock.paused) for (const [lease, enter] of inside) if (lease.held) enter();
      });
    } else {
      victim.faults.cut = true;
      runtime.setTimer(runtime.random() * LEASE_MS * 2, () => (victim.faults.cut = false));
    }
    runtime.setTimer(100 + runtime.random() * 500, nemesis);
  };
  nemesis();

  let done = false;
  const all = Promise.all(clients.map((client, index) => work(client, index))).finally(() => (done = true));
  all.catch(() => undefined);
  await runtime.runUntil(() => done, 600_000);
  await all;
  stop = true;
  for (const { faults } of clients) faults.cut = false;
  const closed = Promise.all(clients.map(({ locks }) => locks.close()));
  let shut = false;
  void closed.finally(() => (shut = true));
  await runtime.runUntil(() => shut, 60_000);
  await runtime.advance(LEASE_MS * 4);

  // A reply that was lost hides a grant, and a place, from the record of its client: order is judged without faults.
  const faults = checkLockHistory(history.events, {
    fencing: 'volatile',
    fifo: memoryCapabilities.fifo && !wild,
  });
  const observer = space.backend();
  for (const key of keys) {
    const { holders, waiting } = (await observer.inspect?.(key, {
      signal: new AbortController().signal,
    })) ?? {
      holders: [],
      waiting: 0,
    };
    if (holders.length + waiting > 0)
      faults.push(`${key}: ${String(holders.length)} holders and ${String(waiting)} waiting leaked`);
  }
  return { faults, ...count };
}

describe('locks on a bad network', () => {
  it(`hold what they promise, over ${String(SEEDS)} seeds`, async () => {
    const total = { held: 0, lost: 0, refused: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const outcome = await run(seed).catch((error: unknown) => ({
        faults: [String(error)],
        held: 0,
        lost: 0,
        refused: 0,
      }));
      expect(
        outcome.faults,
        `replay: SEED=${String(seed)} SEEDS=1 node node_modules/vitest/vitest.mjs run packages/distributed-lock/test/simulation`,
      ).toEqual([]);
      total.held += outcome.held;
      total.lost += outcome.lost;
      total.refused += outcome.refused;
    }
    // The faults did something, and most of the work was done in spite of them.
    if (SEEDS >= 100) {
      expect(total.lost).toBeGreaterThan(SEEDS / 4);
      expect(total.refused).toBeGreaterThan(SEEDS / 20);
      expect(total.held).toBeGreaterThan(SEEDS * 12);
    }
  });
});
