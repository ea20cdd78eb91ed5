import {
  migrate,
  type Migration,
  printMigrations,
  splitStatements,
  type SqlDatabase,
  sqlStateOf,
} from '@quorate/sql';
import { describe, expect, test } from 'vitest';

/** A script whose statements use each other's tables. Names are the test's own, as the database is shared. */
function tables(prefix: string, count: number): Migration[] {
  return Array.from({ length: count }, (_, index) => {
    const table = `${prefix}_${String(index + 1)}`;
    const script = `create table ${table} (n int);\ninsert into ${table} values (1); -- one row;\n`;
    return { id: index + 1, name: `table ${String(index + 1)}`, sql: { postgres: script, mysql: script } };
  });
}

/** What holds of migrations on every server. `open` gives a database over a connection of its own. */
export function migrationSuite(open: () => SqlDatabase): void {
  describe('migrations', () => {
    const db = open();
    const rowsOf = async (table: string): Promise<number> =>
      Number((await db.query<{ n: unknown }>(`select count(*) as n from ${table}`)).rows[0]?.n);

    test('run once, in order, and later ones after those that ran', async () => {
      const migrations = tables('grow', 3);
      expect(await migrate(db, { name: 'grow', migrations: migrations.slice(0, 2) })).toEqual({
        applied: [1, 2],
      });
      expect(await migrate(db, { name: 'grow', migrations: migrations.slice(0, 2) })).toEqual({
        applied: [],
      });
      expect(await migrate(db, { name: 'grow', migrations })).toEqual({ applied: [3] });
      expect(await migrate(db, { name: 'grow', migrations: migrations.slice(0, 1) })).toEqual({
        applied: [],
      });
      expect(await Promise.all(['grow_1', 'grow_2', 'grow_3'].map(rowsOf))).toEqual([1, 1, 1]);
    });

    test('of several callers at once, each runs once', async () => {
      const migrations = tables('race', 4);
      const results = await Promise.all(
        Array.from({ length: 5 }, () => migrate(open(), { name: 'race', migrations })),
      );
      expect(results.flatMap(({ applied }) => applied).sort()).toEqual([1, 2, 3, 4]);
      expect(await rowsOf('race_4')).toBe(1);
    });

    test('one that fails leaves those before it, and goes on once mended', async () => {
      const good = tables('mend', 1);
      const script =
        'create table mend_2 (n int); insert into mend_2 values (1); insert into nowhere values (1)';
      const bad: Migration = { id: 2, name: 'bad', sql: { postgres: script, mysql: script } };
      const failure: unknown = await migrate(db, { name: 'mend', migrations: [...good, bad] }).catch(
        (error: unknown) => error,
      );
      expect(sqlStateOf(failure)).toMatch(/^42[PS]0[12]$/);
      await db.query('create table nowhere (n int)');
      expect(await migrate(db, { name: 'mend', migrations: [...good, bad] })).toEqual({ applied: [2] });
      expect(await Promise.all(['mend_1', 'mend_2', 'nowhere'].map(rowsOf))).toEqual([1, 1, 1]);
    });

    test('one that was changed since is refused before anything runs', async () => {
      const migrations = tables('edit', 1);
      await migrate(db, { name: 'edit', migrations });
      const changed = tables('edited', 2);
      await expect(migrate(db, { name: 'edit', migrations: changed })).rejects.toMatchObject({
        code: 'MIGRATION_CHANGED',
      });
      await expect(rowsOf('edited_2')).rejects.toBeInstanceOf(Error);
    });

    test('an aborted caller changes nothing', async () => {
      const migrations = tables('abort', 1);
      await expect(
        migrate(db, { name: 'abort', migrations, signal: AbortSignal.abort(new Error('enough')) }),
      ).rejects.toThrow('enough');
      await expect(rowsOf('abort_1')).rejects.toBeInstanceOf(Error);
    });

    test('the printed script does the same, and migrate then has nothing to do', async () => {
      const set = { name: 'print', migrations: tables('print', 2) };
      await db.session(async (connection) => {
        for (const statement of splitStatements(db.dialect, printMigrations(db.dialect, set))) {
          await connection.query(statement);
        }
      });
      expect(await migrate(db, set)).toEqual({ applied: [] });
      expect(await Promise.all(['print_1', 'print_2'].map(rowsOf))).toEqual([1, 1]);
    });
  });
}
