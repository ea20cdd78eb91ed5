import { Redis } from 'ioredis';
import { join } from 'node:path';
import { type ServiceDescriptor, which } from '../descriptor.js';

/**
 * Redis or Valkey without persistence, on 127.0.0.1 only. The setting `sentinel` makes it a Sentinel; a node of a
 * cluster has its bus on a port of its own.
 */
export const redis: ServiceDescriptor = {
  name: 'redis',
  variable: 'REDIS_URL',
  debianPackage: 'redis-server',
  ports: 2,
  locate: () => which('redis-server') ?? which('valkey-server'),
  plan({ program, folder, ports: [port, bus], settings: { sentinel, ...settings } }) {
    const cluster = settings['cluster-enabled'] === 'yes' ? { 'cluster-port': String(bus) } : {};
    const given = sentinel === undefined ? { save: '', appendonly: 'no', ...cluster, ...settings } : settings;
    const args = [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
      ...Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]),
    ];
    // A Sentinel keeps what it learns in its file.
    if (sentinel === undefined) return { run: { command: program, args } };
    const file = join(folder, 'sentinel.conf');
    return { files: { 'sentinel.conf': '' }, run: { command: program, args: [file, '--sentinel', ...args] } };
  },
  url: (port) => `redis://127.0.0.1:${String(port)}`,
  async probe(url) {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 5_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return /^redis_version:(\S+)/m.exec(await client.info('server'))?.[1] ?? 'unknown';
    } finally {
      client.disconnect();
    }
  },
};
