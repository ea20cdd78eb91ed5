import type { Migration } from '@quorate/sql';
import { sql } from './sql.gen.js';

/** The coordinator's table `saga_instance`, for `migrate` of `@quorate/sql`. PostgreSQL. */
export const tccSagaMigrations: readonly Migration[] = [
  { id: 1, name: 'saga_instance', sql: { postgres: sql['001-saga-postgres'] } },
];

/** The table `tx_barrier`, for `migrate` of `@quorate/sql` in each participant's database. */
export const barrierMigrations: readonly Migration[] = [
  {
    id: 1,
    name: 'tx_barrier',
    sql: { postgres: sql['001-barrier-postgres'], mysql: sql['001-barrier-mysql'] },
  },
];
