// A client of etcd in a process of its own, at the leader: our backend, and the lock of etcd3 by itself.
import { createLocks } from '@quorate/distributed-lock';
import { etcdBackend } from '@quorate/distributed-lock/etcd';
import { Etcd3 } from 'etcd3';
import { LEASE_MS, serve } from './load.js';

const { port } = JSON.parse(process.argv[2] ?? '') as { readonly port: number };
const client = new Etcd3({ hosts: `http://127.0.0.1:${String(port)}` });
const locks = createLocks(etcdBackend({ client }), { leaseMs: LEASE_MS });
serve({
  async backend(key) {
    const lease = await locks.acquire(key);
    return () => lease.release();
  },
  async raw(key) {
    const lock = client.lock(key).ttl(LEASE_MS / 1_000);
    await lock.acquire();
    return () => lock.release();
  },
});
