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
  expect(stdout).toContain('Four nodes, 1,500 entries on two nodes each\n');
  for (const title of ['cache-e joined', 'cache-b was killed']) {
    const scene = stdout.slice(stdout.indexOf(`\n${title}\n`));
    expect(scene).toMatch(/^\n.*\n {2}\[=+\] ([0-9]+) of \1 moves\n/);
    expect(scene).toMatch(/moved {6}[0-9.]+ % of the copies \([0-9,]+\), 0\.0 % needlessly\n/);
    expect(Number(/served ([0-9,]+) times/.exec(scene)?.[1]?.replace(',', ''))).toBeGreaterThan(0);
  }
  expect(stdout.match(/audit {6}every key is where the placement says\n/g)).toHaveLength(3);
  const page = await readFile(html, 'utf8');
  expect(page.match(/<svg /g)).toHaveLength(3);
  expect(page).toContain('(replica 1)');
});
