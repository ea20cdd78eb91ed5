import { join } from 'node:path';
import { type ServiceDescriptor, which } from '../descriptor.js';
import { firstBytes } from './socket.js';

/** RabbitMQ with the user `guest`, on 127.0.0.1 only, with a port mapper (epmd) of its own. */
export const rabbitmq: ServiceDescriptor = {
  name: 'rabbitmq',
  variable: 'AMQP_URL',
  debianPackage: 'rabbitmq-server',
  ports: 3,
  locate: () => {
    const program = '/usr/lib/rabbitmq/bin/rabbitmq-server';
    return which('erl') === undefined ? undefined : which('rabbitmq-server') && program;
  },
  plan: ({ program, folder, ports: [port, distribution = 0, mapper = 0] }) => {
    const env = {
      HOME: folder,
      RABBITMQ_NODENAME: `quorate${String(port)}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distribution),
      ERL_EPMD_PORT: String(mapper),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    };
    return {
      files: { plugins: '[].\n' },
      run: { command: program, args: [], env },
      cleanup: { command: 'epmd', args: ['-port', String(mapper), '-kill'] },
    };
  },
  url: (port) => `amqp://guest:guest@127.0.0.1:${String(port)}`,
  async probe(url) {
    // The server answers the protocol header with connection.start, whose table of properties has its version.
    const answer = await firstBytes(url, 5672, 'AMQP\x00\x00\x09\x01');
    const at = answer.indexOf('versionS');
    if (at < 0) throw new Error('not an AMQP 0-9-1 server');
    const start = at + 'versionS'.length + 4;
    return answer.subarray(start, start + answer.readUInt32BE(start - 4)).toString();
  },
};
