import { describe, expect, it } from 'vitest';
import type { FileHandle, FileSystem } from '../../src/index.js';
import { crashRun, openFileLog } from '../support/crash-run.js';

const SEEDS = Number(process.env['DURABLE_LOG_SEEDS'] ?? 1_000);
const FIRST = Number(process.env['DURABLE_LOG_FIRST_SEED'] ?? 1);

describe('a crash at any step of the disk', () => {
  it('keeps what was acknowledged, and a prefix of the calls, through lost, torn and reordered sectors', async () => {
    let crashes = 0;
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      crashes += await crashRun({ seed, lives: 5 }).catch((error: unknown) => {
        throw new Error(`seed ${String(seed)}: DURABLE_LOG_FIRST_SEED=${String(seed)} DURABLE_LOG_SEEDS=1`, {
          cause: error,
        });
      });
    }
    // Each of the five lives ends in one way or another; more than half of them in the middle of a call.
    expect(crashes).toBeGreaterThan(2 * SEEDS);
  });
});

/** Passes everything on but what is replaced. */
function withHandles(files: FileSystem, change: (handle: FileHandle) => Partial<FileHandle>): FileSystem {
  return {
    ...files,
    open: async (path, mode) => {
      const handle = await files.open(path, mode);
      return { ...handle, ...change(handle) };
    },
  };
}

const nothing = (): Promise<void> => Promise.resolve();

describe('the search for crashes', () => {
  const planted: Record<string, (files: FileSystem) => FileSystem> = {
    'a log that never syncs its files': (files) => withHandles(files, () => ({ sync: nothing })),
    'a log that never syncs its directory': (files) => ({ ...files, syncDirectory: nothing }),
    'a log that leaves a torn tail where it is': (files) =>
      withHandles(files, (handle) => ({
        write: (bytes, position) =>
          bytes.every((byte) => byte === 0) && position > 0 ? nothing() : handle.write(bytes, position),
      })),
  };
  it.each(Object.keys(planted))('finds %s within 200 seeds', async (name) => {
    let found = 0;
    for (let seed = 1; seed <= 200 && found === 0; seed++) {
      const open = (disk: Parameters<typeof openFileLog>[0]) => openFileLog(disk, planted[name]);
      found += await crashRun({ seed, lives: 5, open }).then(
        () => 0,
        () => 1,
      );
    }
    expect(found).toBe(1);
  });
});
