import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { isRunning } from './processes.js';

type Owner = ChildProcessByStdio<null, Readable, Readable>;

interface Started {
  readonly pids: number[];
  readonly folders: string[];
}

function startFixture(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Owner {
  const fixture = join(import.meta.dirname, 'servers.fixture.ts');
  return spawn(
    process.execPath,
    [
      '--conditions=@quorate/source',
      '--import',
      'tsx',
      '--disable-warning=ExperimentalWarning',
      fixture,
      ...args,
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: join(import.meta.dirname, '../../../..'),
      env: { ...process.env, ...env },
    },
  );
}

/** The supervisor holds stderr of the process that started it: the stream closes when both are gone. */
async function supervisorGone({ stderr }: Owner): Promise<void> {
  stderr.resume();
  await once(stderr, 'close');
}

test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
  'servers and their folders are gone after %s to the process that started them',
  async (signal) => {
    const owner = startFixture();
    const gone = supervisorGone(owner);
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const { pids, folders } = JSON.parse(line.toString()) as Started;
    expect(pids.map(isRunning)).toEqual([true, true, true]);
    expect(folders.map(existsSync)).toEqual([true, true]);
    owner.kill(signal);
    await gone;
    expect(pids.map(isRunning)).toEqual([false, false, false]);
    expect(folders.map(existsSync)).toEqual([false, false]);
  },
);

test('servers and their folders are gone after an uncaught error in the process that started them', async () => {
  const owner = startFixture(['throw']);
  const gone = supervisorGone(owner);
  const [line] = (await once(owner.stdout, 'data')) as [Buffer];
  const { pids, folders } = JSON.parse(line.toString()) as Started;
  await gone;
  expect(owner.exitCode).toBe(1);
  expect(pids.map(isRunning)).toEqual([false, false, false]);
  expect(folders.map(existsSync)).toEqual([false, false]);
});

test('a server whose data are still being set up is gone as well', async () => {
  const place = mkdtempSync(join(tmpdir(), 'supervisor-'));
  // Servers that do not run as root have to get through.
  chmodSync(place, 0o755);
  const appeared = created(place, 'quorate-mysql-');
  const owner = startFixture(['starting'], { TMPDIR: place });
  const gone = supervisorGone(owner);
  const folder = join(place, await appeared);
  if (!existsSync(join(folder, 'data'))) await created(folder, 'data');
  owner.kill('SIGKILL');
  await gone;
  expect(readdirSync(place).filter((name) => name.startsWith('quorate-'))).toEqual([]);
  rmSync(place, { recursive: true });
});

/** The name of the next file in a folder that begins like this. */
async function created(folder: string, prefix: string): Promise<string> {
  const watcher = watch(folder);
  try {
    for (;;) {
      const [, name] = (await once(watcher, 'change')) as [string, string];
      if (name.startsWith(prefix)) return name;
    }
  } finally {
    watcher.close();
  }
}
