export { isolated, service } from './api.js';
export { compiled } from './compiled.js';
export type { ServiceName } from './descriptor.js';
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.js';
export { type FreshDatabase, freshDatabase } from './fresh-database.js';
export type { Instance, InstanceOptions } from './instance.js';
export {
  type RedisCluster,
  type RedisSentinel,
  startRedisCluster,
  startRedisSentinel,
} from './redis-topologies.js';
export { ServiceUnavailableError } from './source.js';
