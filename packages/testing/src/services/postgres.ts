import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { type ServiceDescriptor, which } from '../descriptor.js';

const INSTALLED = '/usr/lib/postgresql';

/**
 * Open to everything that the packages use, and without waiting for the disk: what was committed survives the
 * death of the server, which tests bring about, but not that of the machine.
 */
const SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '300',
  max_prepared_transactions: '64',
  wal_level: 'logical',
};

/** PostgreSQL with a superuser `postgres` that needs no password, on 127.0.0.1 only. */
export const postgres: ServiceDescriptor = {
  name: 'postgres',
  variable: 'DATABASE_URL',
  debianPackage: 'postgresql',
  unprivileged: true,
  locate() {
    const versions = existsSync(INSTALLED) ? readdirSync(INSTALLED) : [];
    const inPath = which('postgres');
    return [
      ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(INSTALLED, version, 'bin')),
      // A link in the PATH may stand alone; initdb finds its share folder beside the real binary.
      ...(inPath === undefined ? [] : [dirname(realpathSync(inPath))]),
    ].find((folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')));
  },
  plan: ({ program, folder, ports, settings }) => ({
    initialise: [
      {
        command: join(program, 'initdb'),
        args: [
          ...['-D', join(folder, 'data'), '-A', 'trust', '-U', 'postgres'],
          ...['--no-sync', '-E', 'UTF8', '--locale=C'],
        ],
      },
    ],
    run: {
      command: join(program, 'postgres'),
      args: [
        ...['-D', join(folder, 'data'), '-p', String(ports[0]), '-k', folder],
        ...Object.entries({ ...SETTINGS, ...settings, listen_addresses: '127.0.0.1' }).flatMap(
          ([name, value]) => ['-c', `${name}=${value}`],
        ),
      ],
    },
    // Fast shutdown: clients are disconnected rather than waited for.
    stopSignal: 'SIGINT',
  }),
  url: (port) => `postgres://postgres@127.0.0.1:${String(port)}/postgres`,
  async probe(url) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ version: string }>(
        `select split_part(version(), ' ', 2) as version`,
      );
      return String(rows[0]?.version);
    } finally {
      await client.end();
    }
  },
};
