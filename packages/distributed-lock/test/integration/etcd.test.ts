import { createLocks, LockLostError, type Locks } from '@quorate/distributed-lock';
import { checkLockHistory, lockConformance, LockHistory } from '@quorate/distributed-lock/conformance';
import { etcdBackend, etcdCapabilities } from '@quorate/distributed-lock/etcd';
import { type Runtime, sleep, systemRuntime } from '@quorate/runtime';
import { isolated, service } from '@quorate/testing';
import { Etcd3 } from 'etcd3';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';

let worlds = 0;

lockConformance({
  name: 'locks in etcd',
  capabilities: etcdCapabilities,
  async setup() {
    const url = await service('etcd');
    const fences = new Map<string, number>();
    const clients: Etcd3[] = [];
    const prefix = `kit-${String(process.pid)}-${String(++worlds)}/`;
    return {
      runtime: systemRuntime,
      client() {
        const client = new Etcd3({ hosts: url });
        clients.push(client);
        return etcdBackend({ client, prefix });
      },
      crash: (client) => client.close(),
      guarded(key, fence) {
        const accepted = fence >= (fences.get(key) ?? 0);
        if (accepted) fences.set(key, fence);
        return Promise.resolve(accepted);
      },
      teardown() {
        for (const client of clients) client.close();
        return Promise.resolve();
      },
    };
  },
  runner: { describe, it },
  impossible: { restart: 'the server is shared; the tests below restart one of their own' },
  leaseMs: 2_000,
  limitMs: 30_000,
});

/** A port that leads to a server, until it is cut. */
async function severable(url: string) {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let cut = false;
  const server = createServer((near) => {
    if (cut) {
      near.destroy();
      return;
    }
    const far = connect(Number(port), hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    sever(): void {
      cut = true;
      for (const socket of sockets) socket.destroy();
    },
    restore(): void {
      cut = false;
    },
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('locks in an etcd that fails', () => {
  it('a restart after SIGKILL keeps what is held, the queue and the fences', async () => {
    await using server = await isolated('etcd');
    const client = new Etcd3({ hosts: server.url });
    const history = new LockHistory();
    const locks = [0, 1].map(() =>
      createLocks(history.backend(etcdBackend({ client })), { leaseMs: 6_000, attempts: 20 }),
    );
    const [one, two] = locks as [(typeof locks)[0], (typeof locks)[0]];
    const first = await one.acquire('k');
    history.entered(first);
    const next = two.acquire('k');
    await until(async () => (await one.inspect('k')).waiting === 1);
    await server.kill();
    await server.restart();
    await first.extend();
    expect((await one.inspect('k')).holders).toMatchObject([{ owner: first.owner, fence: first.fence }]);
    history.left(first);
    expect(await first.release()).toBe('released');
    const second = await next;
    expect(second.fence).toBeGreaterThan(first.fence);
    await second.release();
    expect(checkLockHistory(history.events, etcdCapabilities)).toEqual([]);
    await Promise.all(locks.map((each) => each.close()));
    client.close();
  });

  it('a lease that is revoked from outside is a lost lock, and the next one gets it', async () => {
    const client = new Etcd3({ hosts: await service('etcd') });
    const prefix = `revoked-${String(process.pid)}/`;
    const locks = createLocks(etcdBackend({ client, prefix }), { leaseMs: 3_000 });
    const lease = await locks.acquire('k');
    const next = locks.acquire('k');
    const [key] = await client.getAll().prefix(prefix).sort('Create', 'Ascend').keys();
    const { kvs } = await client.kv.range({ key: Buffer.from(key ?? '') });
    await client.leaseClient.leaseRevoke({ ID: kvs[0]?.lease ?? '' });
    const second = await next;
    await new Promise((resolve) => {
      if (lease.signal.aborted) resolve(undefined);
      else lease.signal.addEventListener('abort', resolve);
    });
    expect(lease.signal.reason).toBeInstanceOf(LockLostError);
    expect(await lease.release()).toBe('lost');
    expect(second.held).toBe(true);
    expect(second.fence).toBeGreaterThan(lease.fence);
    await locks.close();
    client.close();
  });

  it('a lock that is revoked is told of it at once, however far the next renewal is', async () => {
    const client = new Etcd3({ hosts: await service('etcd') });
    const prefix = `told-${String(process.pid)}/`;
    // The watch of what is held begins before it is lost, or after that, and then looks back.
    const early: Runtime = {
      now: () => systemRuntime.now(),
      monotonic: () => systemRuntime.monotonic(),
      random: () => systemRuntime.random(),
      randomBytes: (size) => systemRuntime.randomBytes(size),
      setTimer: (_, run, options) => systemRuntime.setTimer(0, run, options),
    };
    const [locks, watched] = [systemRuntime, early].map((runtime) =>
      createLocks(etcdBackend({ client, prefix, runtime }), { leaseMs: 600_000, renew: false }),
    ) as [Locks, Locks];
    for (const by of [locks, watched]) {
      for (const gone of ['revoked', 'deleted']) {
        const lease = await by.acquire('k');
        const aborted = once(lease.signal, 'abort');
        const [key = ''] = await client.getAll().prefix(prefix).keys();
        const { kvs } = await client.kv.range({ key: Buffer.from(key) });
        if (gone === 'deleted') await client.delete().key(key);
        else await client.leaseClient.leaseRevoke({ ID: kvs[0]?.lease ?? '' });
        await aborted;
        expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'session' });
        expect(lease.held).toBe(false);
        expect(await lease.release()).toBe('lost');
      }
    }
    // What gives up its lock itself hears nothing.
    const kept = await watched.acquire('k');
    expect(await kept.release()).toBe('released');
    expect(kept.signal.aborted).toBe(false);
    await locks.close();
    await watched.close();
    client.close();
  });

  it('a holder that is cut off loses the lock by its own clock, before the next one has it', async () => {
    const url = await service('etcd');
    const line = await severable(url);
    const [far, near] = [new Etcd3({ hosts: line.url }), new Etcd3({ hosts: url })];
    const prefix = `severed-${String(process.pid)}/`;
    const cutOff = createLocks(etcdBackend({ client: far, prefix }), { leaseMs: 2_000 });
    const others = createLocks(etcdBackend({ client: near, prefix }), { leaseMs: 2_000 });
    const lease = await cutOff.acquire('k');
    let lostAtMs = Number.NaN;
    lease.signal.addEventListener('abort', () => (lostAtMs = systemRuntime.monotonic()));
    line.sever();
    const next = await others.acquire('k');
    expect(lease.held).toBe(false);
    expect(lostAtMs).toBeLessThanOrEqual(systemRuntime.monotonic());
    expect(next.fence).toBeGreaterThan(lease.fence);
    line.restore();
    expect(await lease.release().catch(() => 'lost')).toBe('lost');
    expect((await others.inspect('k')).holders).toMatchObject([{ owner: next.owner }]);
    await others.close();
    await cutOff.close();
    far.close();
    near.close();
    await line.close();
  });

  it('refuses what is no client, and no prefix', () => {
    expect(() => etcdBackend({ client: undefined as never })).toThrow(/client must be an Etcd3/);
    const client = new Etcd3({ hosts: 'http://127.0.0.1:1' });
    expect(() => etcdBackend({ client, prefix: '' })).toThrow(/prefix must be a string/);
    client.close();
  });
});

async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await sleep(systemRuntime, 20);
}
