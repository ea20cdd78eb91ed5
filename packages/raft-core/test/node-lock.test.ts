import {
  encodeLockCommand,
  keepLeases,
  type LockCommand,
  LockMachine,
  type LockQuery,
  type LockResult,
  type LockStatus,
} from '@quorate/replicated-log/lock';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from './node-cluster.js';

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

type LockCluster = Cluster<LockResult, LockQuery, LockStatus>;

async function startLocks(): Promise<LockCluster> {
  const c: LockCluster = await Cluster.start({ machine: () => new LockMachine() });
  closing.push(() => c.close());
  for (const id of c.members.keys()) keep(c, id);
  await c.elected();
  return c;
}

function keep(c: LockCluster, id: string): void {
  const { log, machine } = c.member(id);
  if (!(machine instanceof LockMachine)) throw new Error('no lock machine');
  keepLeases({ log, machine, runtime: c.runtime });
}

const LEASE_MS = 1_000;
const claim = (owner: string): LockCommand => ({
  type: 'claim',
  request: {
    key: 'k',
    owner,
    mode: 'exclusive',
    permits: 1,
    total: 1,
    leaseMs: LEASE_MS,
    wait: true,
  },
});
const run = (c: LockCluster, id: string, command: LockCommand): Promise<LockResult> =>
  c.settled(c.log(id).propose(encodeLockCommand(command)));
/** Who has the lock, as every node knows it. */
const holders = (c: LockCluster): (string | undefined)[] =>
  [...c.members.values()].map(({ machine }) => machine.query({ key: 'k' }).holders[0]?.owner);
const held = (c: LockCluster, owner: string) => (): boolean => holders(c).every((one) => one === owner);

describe('leases of a lock machine on raft', () => {
  it('are kept while they are renewed, and end when they are not', async () => {
    const c = await startLocks();
    expect(await run(c, 'a', claim('x'))).toMatchObject({ state: 'granted', fence: 1 });
    expect(await run(c, 'b', claim('y'))).toEqual({ state: 'waiting' });
    for (let renewals = 0; renewals < 5; renewals++) {
      await c.runtime.advance(LEASE_MS * 0.6);
      const claimOf = { key: 'k', owner: 'x' };
      expect(await run(c, 'c', { type: 'renew', claim: claimOf, leaseMs: LEASE_MS })).toMatchObject({
        state: 'held',
      });
      await run(c, 'b', claim('y'));
    }
    const renewedAtMs = c.runtime.monotonic();
    await c.runtime.runUntil(held(c, 'y'), 10_000);
    expect(c.runtime.monotonic() - renewedAtMs).toBeGreaterThanOrEqual(LEASE_MS * 0.9);
    expect(await run(c, 'a', { type: 'release', claim: { key: 'k', owner: 'x' } })).toEqual({
      state: 'lost',
    });
  });

  it('end though the leader that watched them dies', async () => {
    const c = await startLocks();
    await run(c, 'a', claim('x'));
    await c.runtime.advance(LEASE_MS * 0.9);
    await c.crash(await c.elected());
    await c.runtime.runUntil(() => holders(c).every((owner) => owner === undefined), 20_000);
  });

  it('begin anew for nodes that have all restarted, and end then', async () => {
    const c = await startLocks();
    await run(c, 'a', claim('x'));
    const ids = [...c.members.keys()];
    await c.runtime.advance(LEASE_MS * 0.9);
    for (const id of ids) await c.crash(id);
    for (const id of ids) {
      await c.up(id);
      keep(c, id);
    }
    await c.elected();
    await c.runtime.runUntil(held(c, 'x'), 10_000);
    const seenAtMs = c.runtime.monotonic();
    await c.runtime.runUntil(() => holders(c).every((owner) => owner === undefined), 20_000);
    expect(c.runtime.monotonic() - seenAtMs).toBeGreaterThanOrEqual(LEASE_MS * 0.9);
  });
});
