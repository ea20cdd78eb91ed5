import { fdatasync, write, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemRuntime } from '@quorate/runtime';
import { median } from './statistics.js';

const writeAsync = promisify(write);
const sync = promisify(fdatasync);
const RECORD = new Uint8Array(320).fill(7);
const FILE_BYTES = 16 * 1024 * 1024;

/** What the disk needs at the least, in milliseconds. */
export interface DiskRun {
  /** For a record in a file, p50. */
  readonly oneMs: number;
  /** For a record in each of two files at the same time, p50: a put is durable when leader and one follower have it. */
  readonly pairMs: number;
}

/** Writes and syncs in preallocated files, as fast as it goes. */
export async function benchDisk(folder: string, forMs: number): Promise<DiskRun> {
  const files = await Promise.all(['limit-1', 'limit-2'].map((name) => open(join(folder, name), 'w+')));
  try {
    for (const { fd } of files) {
      writeSync(fd, new Uint8Array(FILE_BYTES), 0, FILE_BYTES, 0);
      await sync(fd);
    }
    let at = 0;
    const append = async (fd: number): Promise<void> => {
      await writeAsync(fd, RECORD, 0, RECORD.length, at);
      await sync(fd);
    };
    const measure = async (fds: readonly number[]): Promise<number> => {
      const taken: number[] = [];
      const startMs = systemRuntime.monotonic();
      for (let beforeMs = startMs; beforeMs - startMs < forMs;) {
        await Promise.all(fds.map(append));
        at = (at + RECORD.length) % (FILE_BYTES - RECORD.length);
        const afterMs = systemRuntime.monotonic();
        taken.push(afterMs - beforeMs);
        beforeMs = afterMs;
      }
      return median(taken);
    };
    const fds = files.map(({ fd }) => fd);
    return { oneMs: await measure(fds.slice(0, 1)), pairMs: await measure(fds) };
  } finally {
    for (const file of files) await file.close();
  }
}
