import { LockBackendError } from '@quorate/distributed-lock';
import { describeValue, InvalidOptionError } from '@quorate/runtime';
import type { Redis } from 'ioredis';
import type { RedisClient } from './scripts.js';

/** What is looked at to tell what a value is. */
interface Looks {
  readonly status?: unknown;
  readonly mode?: string;
  readonly isPipeline?: unknown;
  readonly isCluster?: unknown;
  readonly isOpen?: unknown;
  readonly evalsha?: unknown;
  readonly duplicate?: unknown;
}

/** Checks that a value is a client that locks can be kept with. */
export function clientOption(option: string, value: unknown, cluster: boolean): RedisClient {
  const wanted = cluster ? 'a Redis or Cluster of ioredis' : 'a Redis of ioredis';
  const refuse = (what: string): never => {
    throw new InvalidOptionError(option, what, wanted);
  };
  if (typeof value !== 'object' || value === null) throw new InvalidOptionError(option, value, wanted);
  const client = value as Looks;
  if (client.isPipeline === true) refuse('a pipeline, whose commands are sent later');
  if (typeof client.evalsha !== 'function' || typeof client.duplicate !== 'function') {
    refuse(typeof client.isOpen === 'boolean' ? 'a client of node-redis' : describeValue(value));
  }
  if (client.isCluster === true && !cluster)
    refuse('a Cluster, which is one system: its nodes do not fail independently');
  if (client.mode !== undefined && client.mode !== 'normal')
    refuse(`a client in ${client.mode} mode, which takes no commands`);
  if (client.status === 'end') refuse('a closed client, of status end');
  return value as RedisClient;
}

/** Throws at once for a client that never connects again, so that nothing is retried. */
export function assertOpen(client: RedisClient, key: string): void {
  if (client.status === 'end')
    throw new LockBackendError(
      key,
      `the client of ${addressOf(client)} was closed, its status is end; nothing was sent`,
    );
}

/** Where a client connects to, for messages: no user, no password. */
export function addressOf(client: RedisClient): string {
  if ('nodes' in client) return 'a cluster';
  const { host, port, path, sentinels, name } = client.options;
  if (sentinels) return `Sentinel master ${JSON.stringify(name)}`;
  return path ?? `${host ?? 'localhost'}:${String(port ?? 6379)}`;
}

/**
 * Counts the connections of a client that were lost. A client sends what was not answered again by itself, so that a
 * call that spans a loss may have been executed twice.
 */
export interface ConnectionLosses {
  readonly count: number;
  stop(): void;
}

/** See {@link ConnectionLosses}. */
export function countLosses(client: RedisClient): ConnectionLosses {
  let count = 0;
  const lost = (): void => {
    count++;
  };
  const nodes = new Set<Redis>();
  const follow = (node: Redis): void => {
    nodes.add(node.on('close', lost));
  };
  client.on('close', lost);
  if ('nodes' in client) {
    for (const node of client.nodes('all')) follow(node);
    client.on('+node', follow);
  }
  return {
    get count() {
      return count;
    },
    stop() {
      client.off('close', lost);
      client.off('+node', follow);
      for (const node of nodes) node.off('close', lost);
    },
  };
}
