import { type Migration, printMigrations } from '@quorate/sql';
import { describe, expect, test } from 'vitest';
import { pendingMigrations, prepareMigrations } from '../src/core/migrations.js';

const migration = (
  id: number,
  name = `step ${String(id)}`,
  script = `create table t${String(id)} (n int)`,
): Migration => ({
  id,
  name,
  sql: { postgres: script },
});
const prepare = (...migrations: Migration[]): ReturnType<typeof prepareMigrations> =>
  prepareMigrations('postgres', 'app', migrations);
const ran = (one: Migration, done = 1, complete = true) => {
  const [{ id, title, checksum }] = prepare(one) as [ReturnType<typeof prepare>[number]];
  return { id, title, checksum, done, complete };
};

describe('what is pending', () => {
  test('is what did not run, or not to its end', () => {
    const wanted = prepare(migration(1), migration(2), migration(5));
    const ids = (applied: ReturnType<typeof ran>[]) =>
      pendingMigrations('app', wanted, applied).map(({ id }) => id);
    expect(ids([])).toEqual([1, 2, 5]);
    expect(ids([ran(migration(1))])).toEqual([2, 5]);
    expect(ids([ran(migration(1)), ran(migration(2), 0, false)])).toEqual([2, 5]);
    expect(ids([ran(migration(1)), ran(migration(2)), ran(migration(5))])).toEqual([]);
  });

  test('leaves what a newer release ran alone', () => {
    expect(pendingMigrations('app', prepare(migration(1)), [ran(migration(1)), ran(migration(2))])).toEqual(
      [],
    );
  });

  test('a migration that was changed after it ran is an error, one with other line ends is not', () => {
    const before = ran(migration(1, 'table', 'select 1;\nselect\n2'));
    expect(() =>
      pendingMigrations('app', prepare(migration(1, 'table', 'select 1;\nselect 2')), [before]),
    ).toThrow('MIGRATION_CHANGED: migration 1 (table) of app is not the one that ran on this database');
    expect(
      pendingMigrations('app', prepare(migration(1, 'table', 'select 1;\r\n\r\nselect\r\n2;\r\n')), [before]),
    ).toEqual([]);
  });

  test('a migration before one that ran is an error', () => {
    expect(() => pendingMigrations('app', prepare(migration(1), migration(2)), [ran(migration(2))])).toThrow(
      'MIGRATION_OUT_OF_ORDER: migration 1 (step 1) of app did not run on this database, but 2 did',
    );
  });
});

test.each<[Migration[], string]>([
  [[migration(0)], 'migrations[0].id must be an integer from 1'],
  [[migration(2), migration(2)], 'migrations[1].id must be an integer from 3'],
  [[migration(1, '')], 'migrations[0].name'],
  [[migration(1, "o'clock")], 'migrations[0].name must be made of letters'],
  [[migration(1, 'empty', ' ;; -- nothing')], 'migrations[0].sql must be at least one statement'],
  [
    [{ id: 1, name: 'other', sql: { mysql: 'select 1' } }],
    'MIGRATION_UNSUPPORTED: migration 1 (other) of app has no SQL for postgres; it runs on mysql',
  ],
])('%o is refused', (migrations, message) => {
  expect(() => prepare(...migrations)).toThrow(message);
});

test.each(['', 'App', '1st', 'a-b', 'x'.repeat(64), "a'b"])('%o cannot name a set', (name) => {
  expect(() => printMigrations('postgres', { name, migrations: [] })).toThrow('INVALID_OPTION: name');
});

test('migrations are printed as a script that notes what it ran', () => {
  const script = printMigrations('postgres', {
    name: 'app',
    schema: 'My "own"',
    migrations: [
      {
        id: 1,
        name: 'orders',
        sql: { postgres: 'create table a (n int); -- later:\ncreate table b (n int)' },
      },
    ],
  });
  expect(script).toMatchInlineSnapshot(`
    "create schema if not exists "My ""own""";

    create table if not exists "My ""own"""."quorate_migration" (
      name text not null,
      id integer not null,
      title text not null,
      checksum text not null,
      done integer not null,
      applied_at timestamptz not null default clock_timestamp(),
      primary key (name, id)
    );

    -- app 1: orders
    begin;
    set local search_path to "My ""own""", public;
    insert into "My ""own"""."quorate_migration" (name, id, title, checksum, done, applied_at)
      values ('app', 1, 'orders', '824849b4a533bcddfda7ba1cb3394095e5c76f04d5c48797f22a5a0fca15039d', 2, current_timestamp);
    create table a (n int);
    -- later:
    create table b (n int);
    commit;
    "
  `);
});

test('a script for MySQL notes a migration after it ran, as no transaction holds it together', () => {
  const script = printMigrations('mysql', {
    name: 'app',
    migrations: [{ id: 1, name: 'orders', sql: { mysql: 'create table a (n int)' } }],
  });
  expect(script.indexOf('create table a')).toBeLessThan(script.indexOf('insert into quorate_migration'));
  expect(() => printMigrations('mysql', { name: 'app', schema: 's', migrations: [] })).toThrow(
    'MIGRATION_UNSUPPORTED',
  );
});
