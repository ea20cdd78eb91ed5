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

/** The highest indices that a writer told of. */
interface Told {
  entry: number;
  snapshot: number;
}

/** Runs the writer until it has told of so much, kills it, and returns what it acknowledged. */
async function writeAndKill(acknowledgements: number): Promise<Told> {
  const writer = new URL('./writer.fixture.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ['--conditions=@quorate/source', '--import', 'tsx', writer, directory],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const told = { entry: 0, snapshot: 0 };
  let seen = 0;
  // What is still in the pipe was acknowledged, too.
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, index] = /^(snapshot) (\d+)$/.exec(line)?.slice(1) ?? ['entry', line.replace('loaded ', '')];
    const kind = what === 'snapshot' ? 'snapshot' : 'entry';
    told[kind] = Math.max(told[kind], Number(index));
    if (++seen === acknowledgements) child.kill('SIGKILL');
  }
  const [, signal] = (await exited) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return told;
}

it(`holds every acknowledged entry and snapshot after each of ${String(KILLS)} SIGKILLs, and its lock is free`, async () => {
  const random = seededRandom(1);
  let before = 0;
  let compacted = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const acknowledged = await writeAndKill(1 + Math.floor(random() * 1500));
    await using log = createFileLog({ directory, segmentBytes: 64 * 1024 });
    const { state, first, last, snapshot } = await log.load();
    expect(last).toBeGreaterThanOrEqual(acknowledged.entry);
    const covered = snapshot?.index ?? 0;
    expect(covered).toBeGreaterThanOrEqual(acknowledged.snapshot);
    expect(first).toBeLessThanOrEqual(covered + 1);
    const pieces: Uint8Array[] = [];
    for await (const chunk of (await log.openSnapshot())?.chunks() ?? []) pieces.push(chunk);
    expect(Buffer.concat(pieces).toString()).toBe(covered === 0 ? '' : `state at ${String(covered)}`);
    expect(last).toBeGreaterThanOrEqual(before);
    expect(Buffer.from(state).toString()).toBe(last === 0 ? '' : String(last));
    const entries = await log.read(first, last + 1, Number.MAX_SAFE_INTEGER);
    expect(entries.length).toBe(last + 1 - first);
    compacted = Math.max(compacted, first);
    expect(
      entries.find(
        ({ index, data }) => Buffer.from(data).toString() !== `${String(index)} `.repeat(1 + (index % 40)),
      ),
    ).toBeUndefined();
    before = last;
  }
  expect(before).toBeGreaterThan(KILLS * 100);
  expect(compacted).toBeGreaterThan(KILLS * 50);
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
