import { lockConformance } from '@quorate/distributed-lock/conformance';
import { redisCapabilities } from '@quorate/distributed-lock/redis';
import { service } from '@quorate/testing';
import { describe, it } from 'vitest';
import { redisWorld } from './redis-worlds.js';

lockConformance({
  name: 'locks on Redis',
  capabilities: redisCapabilities,
  setup: async () => redisWorld(await service('redis')),
  runner: { describe, it },
});
