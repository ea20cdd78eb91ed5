import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { type Plan, type ServiceDescriptor, which } from '../descriptor.js';

/** Names the `mysqld` of MySQL that private instances run instead of MariaDB. */
const MYSQL_PROGRAM = 'MYSQLD';

/**
 * MariaDB, or the MySQL whose program {@link MYSQL_PROGRAM} names, with a user `root` that needs no password, on
 * 127.0.0.1 only.
 */
export const mysql: ServiceDescriptor = {
  name: 'mysql',
  variable: 'MYSQL_URL',
  debianPackage: 'mariadb-server',
  unprivileged: true,
  locate() {
    const named = process.env[MYSQL_PROGRAM] ?? '';
    if (named !== '') return named;
    return which('mariadb-install-db') === undefined ? undefined : which('mariadbd');
  },
  plan({ program, folder, ports, settings }) {
    const places = [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--tmpdir=${folder}`,
    ];
    const flavour = program === process.env[MYSQL_PROGRAM] ? ofMysql : ofMariadb;
    const { own, ...rest } = flavour(program, folder, places);
    return {
      ...rest,
      run: {
        command: program,
        args: [
          ...places,
          `--port=${String(ports[0])}`,
          '--bind-address=127.0.0.1',
          '--skip-name-resolve',
          ...Object.entries({
            // Written at commit and not synced: it survives the death of the server, but not that of the machine.
            'innodb-flush-log-at-trx-commit': '2',
            'innodb-buffer-pool-size': '64M',
            'max-connections': '300',
            'character-set-server': 'utf8mb4',
            ...own,
            ...settings,
          }).map(([name, value]) => `--${name}=${value}`),
        ],
      },
    };
  },
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

/** How a data folder is made, and what one kind of server is told that the other does not know. */
type Flavour = (
  program: string,
  folder: string,
  places: readonly string[],
) => Omit<Plan, 'run'> & { readonly own: Readonly<Record<string, string>> };

const ofMariadb: Flavour = (_, folder) => ({
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
  own: { 'innodb-log-file-size': '16M' },
});

const ofMysql: Flavour = (program, folder, places) => {
  // Its X protocol would take a second port, a fixed one; its folder for files is one of the system; and unlike
  // MariaDB it keeps a binary log, which it would sync at each commit.
  const own = {
    mysqlx: 'OFF',
    'secure-file-priv': 'NULL',
    'sync-binlog': '0',
    'innodb-redo-log-capacity': '32M',
  };
  const options = Object.entries(own).map(([name, value]) => `--${name}=${value}`);
  return {
    // A server that resolves no names does not take 127.0.0.1 for localhost.
    files: { 'root.sql': `rename user 'root'@'localhost' to 'root'@'127.0.0.1';\n` },
    initialise: [
      {
        command: program,
        args: [...places, ...options, '--initialize-insecure', `--init-file=${join(folder, 'root.sql')}`],
      },
    ],
    own,
  };
};
