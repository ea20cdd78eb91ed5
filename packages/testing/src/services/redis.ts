import { Redis } from 'ioredis';
import { type ServiceDescriptor, which } from '../descriptor.js';

/** Redis or Valkey without persistence, on 127.0.0.1 only. */
export const redis: ServiceDescriptor = {
  name: 'redis',
  variable: 'REDIS_URL',
  debianPackage: 'redis-server',
  locate: () => which('redis-server') ?? which('valkey-server'),
  plan: ({ program, folder, ports, settings }) => ({
    run: {
      command: program,
      args: [
        ...['--port', String(ports[0]), '--bind', '127.0.0.1', '--dir', folder],
        ...Object.entries({ save: '', appendonly: 'no', ...settings }).flatMap(([name, value]) => [
          `--${name}`,
          value,
        ]),
      ],
    },
  }),
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
