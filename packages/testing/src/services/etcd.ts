import { join } from 'node:path';
import { type ServiceDescriptor, which } from '../descriptor.js';

/** One member of etcd without fsync, on 127.0.0.1 only. */
export const etcd: ServiceDescriptor = {
  name: 'etcd',
  variable: 'ETCD_URL',
  debianPackage: 'etcd-server',
  ports: 2,
  locate: () => which('etcd'),
  plan: ({ program, folder, ports: [port, peerPort = 0] }) => {
    const client = `http://127.0.0.1:${String(port)}`;
    const peer = `http://127.0.0.1:${String(peerPort)}`;
    return {
      run: {
        command: program,
        args: [
          ...['--name', 'test', '--data-dir', join(folder, 'data'), '--unsafe-no-fsync'],
          ...['--listen-client-urls', client, '--advertise-client-urls', client],
          ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
          ...['--initial-cluster', `test=${peer}`],
        ],
      },
    };
  },
  url: (port) => `http://127.0.0.1:${String(port)}`,
  async probe(url) {
    const answer = await fetch(new URL('/version', url));
    const health = (await (await fetch(new URL('/health', url))).json()) as { health: string };
    if (health.health !== 'true') throw new Error('etcd has no leader yet');
    return ((await answer.json()) as { etcdserver: string }).etcdserver;
  },
};
