import { sleep, systemRuntime } from '@quorate/runtime';
import { Redis } from 'ioredis';
import { isolated } from './api.js';
import type { Instance } from './instance.js';

const SLOTS = 16_384;
const LIMIT_MS = 30_000;
const PROBE_INTERVAL_MS = 20;

/** A Redis Cluster of private masters, without replicas. */
export interface RedisCluster extends AsyncDisposable {
  readonly masters: readonly Instance[];
  /** To begin with, for a cluster client. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
}

/** A private master with a replica, and Sentinels that watch them. */
export interface RedisSentinel extends AsyncDisposable {
  readonly master: Instance;
  readonly replica: Instance;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  /** The name of the master at the Sentinels. */
  readonly name: string;
}

/** Starts a cluster of masters that share the slots evenly. */
export async function startRedisCluster(masters = 3): Promise<RedisCluster> {
  const settings = { 'cluster-enabled': 'yes', 'cluster-node-timeout': '2000' };
  const instances = await several(masters, settings);
  return orStopped(instances, async () => {
    await Promise.all(
      instances.map((instance, index) =>
        withClient(instance.port, async (client) => {
          const from = Math.floor((SLOTS * index) / masters);
          const to = Math.floor((SLOTS * (index + 1)) / masters) - 1;
          await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
          await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
        }),
      ),
    );
    const [first] = instances;
    for (const instance of instances.slice(1)) {
      await withClient(instance.port, async (client) => {
        const bus = await client.config('GET', 'cluster-port');
        const own = await withClient(first?.port ?? 0, (other) => other.config('GET', 'cluster-port'));
        if (!Array.isArray(bus) || !Array.isArray(own)) throw new Error('CONFIG GET must answer with a list');
        await client.call('CLUSTER', 'MEET', '127.0.0.1', first?.port ?? 0, String(own[1]));
      });
    }
    for (const { port } of instances) {
      await eventually(port, async (client) => {
        const info = String(await client.call('CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${String(masters)}`);
      });
    }
    return {
      masters: instances,
      nodes: instances.map(({ port }) => ({ host: '127.0.0.1', port })),
      [Symbol.asyncDispose]: () => stopAll(instances),
    };
  });
}

/** Starts a master, its replica, and three Sentinels, which fail over within about a second. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const name = 'main';
  const [master, replica] = await several(2, {});
  if (master === undefined || replica === undefined) throw new Error('unreachable: two were started');
  const sentinels = await several(3, { sentinel: 'yes' });
  const all = [master, replica, ...sentinels];
  return orStopped(all, async () => {
    await withClient(replica.port, (client) => client.replicaof('127.0.0.1', master.port));
    await eventually(replica.port, async (client) =>
      (await client.info('replication')).includes('master_link_status:up'),
    );
    for (const { port } of sentinels) {
      await withClient(port, async (client) => {
        await client.call('SENTINEL', 'MONITOR', name, '127.0.0.1', master.port, 2);
        await client.call('SENTINEL', 'SET', name, 'down-after-milliseconds', 500);
        await client.call('SENTINEL', 'SET', name, 'failover-timeout', 3_000);
      });
    }
    for (const { port } of sentinels) {
      await eventually(port, async (client) => {
        const fields = (await client.call('SENTINEL', 'MASTER', name)) as string[];
        const value = (field: string): string | undefined => fields[fields.indexOf(field) + 1];
        return value('num-slaves') === '1' && value('num-other-sentinels') === '2';
      });
    }
    return {
      master,
      replica,
      name,
      sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
      [Symbol.asyncDispose]: () => stopAll(all),
    };
  });
}

function several(count: number, settings: Readonly<Record<string, string>>): Promise<Instance[]> {
  return Promise.all(Array.from({ length: count }, () => isolated('redis', { settings })));
}

async function stopAll(instances: readonly Instance[]): Promise<void> {
  await Promise.all(instances.map((instance) => instance.stop()));
}

async function orStopped<T>(instances: readonly Instance[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await stopAll(instances);
    throw error;
  }
}

async function withClient<T>(port: number, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => null });
  client.on('error', () => undefined);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

async function eventually(port: number, holds: (client: Redis) => Promise<boolean>): Promise<void> {
  await withClient(port, async (client) => {
    const due = systemRuntime.monotonic() + LIMIT_MS;
    while (!(await holds(client))) {
      if (systemRuntime.monotonic() > due) throw new Error(`Redis at port ${String(port)} did not get ready`);
      await sleep(systemRuntime, PROBE_INTERVAL_MS);
    }
  });
}
