import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { serversIn } from '../src/provision.js';

const root = join(import.meta.dirname, '../../..');

test('the servers of a package are those that its tests name', () => {
  expect(serversIn([join(root, 'packages/sql/test/integration/pg.test.ts')]).sort()).toEqual([
    'mysql',
    'pgbouncer',
    'postgres',
  ]);
  expect(serversIn([join(root, 'packages/transport/test/integration/tcp.test.ts')])).toEqual([]);
});

test('the servers of the snippets are those whose addresses a README reads', () => {
  expect(serversIn([join(root, 'test/integration/snippets.test.ts')])).toContain('postgres');
});

test('the tests of this package name every server there is', () => {
  const kinds = readdirSync(join(import.meta.dirname, '../src/services')).filter(
    (name) => name !== 'socket.ts',
  );
  expect(serversIn([import.meta.filename])).toHaveLength(kinds.length);
});
