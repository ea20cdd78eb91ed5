import { integerOption } from '@quorate/runtime';
import type { Migration } from '@quorate/sql';
import { sql } from './sql.gen.js';

const DEFAULT_PARTITIONS = 16;

/**
 * The tables of the outbox with `partitions` partitions, 1 to 1,024. Partitions are what relays share, so more relays
 * than partitions are idle. The number is fixed once the migration ran, because it decides where a key goes: another
 * one is refused, as a migration that was changed. PostgreSQL.
 */
export function outboxMigrationsWith(options: { readonly partitions: number }): readonly Migration[] {
  const partitions = integerOption('partitions', options.partitions, { min: 1, max: 1_024 });
  return [
    {
      id: 1,
      name: 'outbox',
      sql: { postgres: sql['outbox-1.postgres'].replaceAll('{partitions}', String(partitions)) },
    },
    { id: 2, name: 'outbox_fetch', sql: { postgres: [sql['outbox-2.postgres']] } },
  ];
}

/** The tables of the outbox, with 16 partitions. PostgreSQL. */
export const outboxMigrations: readonly Migration[] = outboxMigrationsWith({
  partitions: DEFAULT_PARTITIONS,
});

/** The table of the inbox. PostgreSQL, MySQL and MariaDB. */
export const inboxMigrations: readonly Migration[] = [
  { id: 1, name: 'inbox', sql: { postgres: sql['inbox-1.postgres'], mysql: sql['inbox-1.mysql'] } },
];
