import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sharded-cache-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('loses nothing and moves nothing unplanned while a node joins and one is killed', async () => {
  const html = join(folder, 'circles.html');
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--conditions=@quorate/source', '--import', 'tsx', 'src/main.ts', '--keys', '1500', '--html', html],
    { cwd: join(import.meta.dirname, '../..') },
  );
  expect(stderr).toBe('');
  expect(stdout).toMatch(/audit passed\n$/);
  expect(stdout).toMatch(/cache-e joined: checksum [0-9a-f]{16}/);
  expect(stdout).toMatch(/cache-b was killed: checksum [0-9a-f]{16}/);
  expect(stdout.match(/, 0\.0 % needlessly; clients were served [0-9]+ times/g)).toHaveLength(3);
  const page = await readFile(html, 'utf8');
  expect(page.match(/<svg /g)).toHaveLength(3);
  expect(page).toContain('(replica 1)');
});
