import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { type ServiceDescriptor, which } from '../descriptor.js';

/** MariaDB with a user `root` that needs no password, on 127.0.0.1 only. */
export const mysql: ServiceDescriptor = {
  name: 'mysql',
  variable: 'MYSQL_URL',
  debianPackage: 'mariadb-server',
  unprivileged: true,
  locate: () => (which('mariadb-install-db') === undefined ? undefined : which('mariadbd')),
  plan: ({ program, folder, ports, settings }) => ({
    initialise: [
      {
        command: which('mariadb-install-db') ?? 'mariadb-install-db',
        args: [
          '--no-defaults',
          `--datadir=${join(folder, 'data')}`,
          '--auth-root-authentication-method=normal',
          '--skip-test-db',
          `--tmpdir=${folder}`,
        ],
      },
    ],
    run: {
      command: program,
      args: [
        '--no-defaults',
        `--datadir=${join(folder, 'data')}`,
        `--socket=${join(folder, 'socket')}`,
        `--pid-file=${join(folder, 'pid')}`,
        `--tmpdir=${folder}`,
        `--port=${String(ports[0])}`,
        '--bind-address=127.0.0.1',
        '--skip-name-resolve',
        ...Object.entries({
          // Written at commit and not synced: it survives the death of the server, but not that of the machine.
          'innodb-flush-log-at-trx-commit': '2',
          'innodb-buffer-pool-size': '64M',
          'innodb-log-file-size': '16M',
          'max-connections': '300',
          'character-set-server': 'utf8mb4',
          ...settings,
        }).map(([name, value]) => `--${name}=${value}`),
      ],
    },
  }),
  url: (port) => `mysql://root@127.0.0.1:${String(port)}/mysql`,
  async probe(url) {
    const connection = await createConnection({ uri: url, connectTimeout: 5_000 });
    try {
      const [rows] = await connection.query<RowDataPacket[]>('select version() as version');
      return String(rows[0]?.['version']);
    } finally {
      await connection.end();
    }
  },
};
