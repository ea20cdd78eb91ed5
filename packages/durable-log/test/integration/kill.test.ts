import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { seededRandom } from '@quorate/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFileLog } from '../../src/file.js';

const KILLS = 24;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quorate-log-kill-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** Runs the writer until it has acknowledged so many entries, kills it, and returns the highest acknowledged index. */
async function writeAndKill(acknowledgements: number): Promise<number> {
  const writer = new URL('./writer.fixture.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ['--conditions=@quorate/source', '--import', 'tsx', writer, directory],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  let highest = 0;
  let seen = 0;
  // What is still in the pipe was acknowledged, too.
  for await (const line of createInterface({ input: child.stdout })) {
    highest = Math.max(highest, Number(line.replace('loaded ', '')));
    if (++seen === acknowledgements) child.kill('SIGKILL');
  }
  const [, signal] = (await exited) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return highest;
}

it(`holds every acknowledged entry after each of ${String(KILLS)} SIGKILLs, and its lock is free`, async () => {
  const random = seededRandom(1);
  let before = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const acknowledged = await writeAndKill(1 + Math.floor(random() * 1500));
    await using log = createFileLog({ directory, segmentBytes: 64 * 1024 });
    const { state, last } = await log.load();
    expect(last).toBeGreaterThanOrEqual(acknowledged);
    expect(last).toBeGreaterThanOrEqual(before);
    expect(Buffer.from(state).toString()).toBe(last === 0 ? '' : String(last));
    const entries = await log.read(1, last + 1, Number.MAX_SAFE_INTEGER);
    expect(entries.length).toBe(last);
    expect(
      entries.find(
        ({ index, data }) => Buffer.from(data).toString() !== `${String(index)} `.repeat(1 + (index % 40)),
      ),
    ).toBeUndefined();
    before = last;
  }
  expect(before).toBeGreaterThan(KILLS * 100);
}, 120_000);

it('is locked against a second process until the first is killed', async () => {
  const writer = new URL('./writer.fixture.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [
    '--conditions=@quorate/source',
    '--import',
    'tsx',
    writer,
    directory,
  ]);
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  const second = createFileLog({ directory });
  await expect(second.load()).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
  child.kill('SIGKILL');
  await exited;
  const third = createFileLog({ directory });
  await third.load();
  await third.close();
});
