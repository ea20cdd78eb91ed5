import { type ServiceDescriptor, which } from '../descriptor.js';
import { firstBytes } from './socket.js';

/** NATS with JetStream, on 127.0.0.1 only. */
export const nats: ServiceDescriptor = {
  name: 'nats',
  variable: 'NATS_URL',
  debianPackage: 'nats-server',
  locate: () => which('nats-server'),
  plan: ({ program, folder, ports }) => ({
    run: { command: program, args: ['-a', '127.0.0.1', '-p', String(ports[0]), '-js', '-sd', folder] },
  }),
  url: (port) => `nats://127.0.0.1:${String(port)}`,
  async probe(url) {
    const greeting = (await firstBytes(url, 4222)).toString();
    const version = /"version":"([^"]+)"/.exec(greeting)?.[1];
    if (version === undefined) throw new Error(`not a NATS server: ${greeting.slice(0, 80)}`);
    return version;
  },
};
