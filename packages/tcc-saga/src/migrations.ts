import { sql } from './sql.gen.js';

/** The coordinator's table `saga_instance`. Apply with `migrate` of `@quorate/sql`. PostgreSQL. */
export const tccSagaMigrations = [
  { id: 1, name: 'saga_instance', sql: { postgres: sql['001-saga-postgres'] } },
] as const;

/** The participants' table `tx_barrier`. Apply with `migrate` of `@quorate/sql` in each participant's database. */
export const barrierMigrations = [
  {
    id: 1,
    name: 'tx_barrier',
    sql: { postgres: sql['001-barrier-postgres'], mysql: sql['001-barrier-mysql'] },
  },
] as const;
