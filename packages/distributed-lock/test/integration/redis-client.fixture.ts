// A process that takes one lock and keeps it until it is killed, or told to write and release: the tests freeze and kill it.
import { createLocks } from '@quorate/distributed-lock';
import { redisBackend } from '@quorate/distributed-lock/redis';
import { Redis } from 'ioredis';
import { guardedWrite } from './redis-worlds.js';

const [url = '', key = '', leaseMs = ''] = process.argv.slice(2);
const client = new Redis(url);
const locks = createLocks(redisBackend(client), { leaseMs: Number(leaseMs) });

// Nothing of a test may outlive it.
process.on('disconnect', () => process.exit(0));
const lease = await locks.acquire(key);
process.on('message', () => {
  void (async () => {
    const { held } = lease;
    const wrote = await guardedWrite(client, key, lease.fence);
    process.send?.({ held, wrote, aborted: lease.signal.aborted, released: await lease.release() });
  })();
});
process.send?.({ fence: lease.fence });
