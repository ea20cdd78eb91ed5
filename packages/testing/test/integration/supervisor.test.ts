import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { isRunning } from './processes.js';

type Owner = ChildProcessByStdio<null, Readable, Readable>;

interface Started {
  readonly pids: number[];
  readonly folders: string[];
}

function startFixture(...args: string[]): Owner {
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
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: join(import.meta.dirname, '../../../..') },
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
  const owner = startFixture('throw');
  const gone = supervisorGone(owner);
  const [line] = (await once(owner.stdout, 'data')) as [Buffer];
  const { pids, folders } = JSON.parse(line.toString()) as Started;
  await gone;
  expect(owner.exitCode).toBe(1);
  expect(pids.map(isRunning)).toEqual([false, false, false]);
  expect(folders.map(existsSync)).toEqual([false, false]);
});
