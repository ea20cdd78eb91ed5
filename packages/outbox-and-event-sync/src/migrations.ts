import { integerOption } from '@quorate/runtime';
import { sql } from './sql.gen.js';

const DEFAULT_PARTITIONS = 16;

/**
 * The tables of the outbox with `partitions` partitions. Partitions are what relays share, so more relays than
 * partitions are idle. The number is fixed once the migration ran, because it decides where a key goes.
 */
export function outboxMigrationsWith(options: { readonly partitions: number }) {
  const partitions = integerOption('partitions', options.partitions, { min: 1, max: 1_024 });
  return [
    {
      id: 1,
      name: 'outbox',
      sql: { postgres: sql['outbox-1.postgres'].replaceAll('{partitions}', String(partitions)) },
    },
  ];
}

/** The tables of the outbox, with 16 partitions. PostgreSQL. */
export const outboxMigrations = outboxMigrationsWith({ partitions: DEFAULT_PARTITIONS });

/** The table of the inbox. PostgreSQL, MySQL and MariaDB. */
export const inboxMigrations = [
  { id: 1, name: 'inbox', sql: { postgres: sql['inbox-1.postgres'], mysql: sql['inbox-1.mysql'] } },
];
