import { lockConformance } from '@quorate/distributed-lock/conformance';
import { redlockBackend, redlockCapabilities } from '@quorate/distributed-lock/redlock';
import type { Instance } from '@quorate/testing';
import { isolated } from '@quorate/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { severalWorld } from './redis-worlds.js';

let servers: Instance[] = [];
beforeAll(async () => {
  servers = await Promise.all([1, 2, 3].map(() => isolated('redis')));
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});

lockConformance({
  name: 'locks on a majority of three Redis servers',
  capabilities: redlockCapabilities,
  setup: () =>
    Promise.resolve(
      severalWorld(
        () => servers.map(({ url }) => new Redis(url)),
        // A machine under load must not look like a server that is down.
        (clients) => redlockBackend(clients, { nodeTimeoutMs: 1_000 }),
      ),
    ),
  runner: { describe, it },
});
