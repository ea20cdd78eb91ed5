import { join } from 'node:path';
import { InvalidOptionError } from '@quorate/runtime';
import { type ServiceDescriptor, which } from '../descriptor.js';
import { postgres } from './postgres.js';

/**
 * PgBouncer as a transaction pooler, on 127.0.0.1 only, in front of the PostgreSQL server of the setting
 * `upstream`, which is an address. Other settings are PgBouncer's own.
 */
export const pgbouncer: ServiceDescriptor = {
  name: 'pgbouncer',
  variable: 'PGBOUNCER_URL',
  debianPackage: 'pgbouncer',
  unprivileged: true,
  locate: () => which('pgbouncer'),
  plan({ program, folder, ports, settings: { upstream, ...settings } }) {
    if (upstream === undefined || !URL.canParse(upstream)) {
      throw new InvalidOptionError('settings.upstream', upstream, 'the address of a PostgreSQL server');
    }
    const { hostname, port, username, password } = new URL(upstream);
    const lines = Object.entries({
      listen_addr: '127.0.0.1',
      listen_port: String(ports[0]),
      unix_socket_dir: '',
      auth_type: 'any',
      pool_mode: 'transaction',
      default_pool_size: '4',
      ignore_startup_parameters: 'extra_float_digits',
      ...settings,
    }).map(([name, value]) => `${name} = ${value}\n`);
    const server = `host=${hostname} port=${port || '5432'} user=${username}${password && ` password=${password}`}`;
    return {
      files: { ini: `[databases]\n* = ${server}\n[pgbouncer]\n${lines.join('')}` },
      run: { command: program, args: [join(folder, 'ini')] },
    };
  },
  url: (port) => postgres.url(port),
  probe: (url) => postgres.probe(url),
};
