import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { conformance } from '../src/conformance.js';
import { createFileLog } from '../src/file.js';
import { createMemoryLog, createMemoryMedium } from '../src/index.js';
import { fileLogOn } from './support/crash-run.js';
import { CrashDisk } from './support/crash-disk.js';

const runner = { describe, it };

conformance({
  name: 'the memory log',
  runner,
  setup() {
    const medium = createMemoryMedium();
    return Promise.resolve({
      open: () => createMemoryLog({ medium }),
      crash() {
        medium.crash();
        return Promise.resolve();
      },
      teardown: () => Promise.resolve(),
    });
  },
});

let seed = 0;
conformance({
  name: 'the file log over the disk of the simulator',
  runner,
  setup() {
    const disk = new CrashDisk(++seed);
    let files = disk.mount();
    return Promise.resolve({
      open: () => fileLogOn(files),
      crash() {
        disk.losePower();
        files = disk.mount();
        return Promise.resolve();
      },
      teardown: () => Promise.resolve(),
    });
  },
});

for (const blockingSync of [false, true]) {
  conformance({
    name: `the file log on the disk of this machine${blockingSync ? ', synced on this thread' : ''}`,
    runner,
    crashImpossible: 'a process cannot crash itself; test/integration does',
    async setup() {
      const directory = await mkdtemp(join(tmpdir(), 'quorate-log-'));
      return {
        open: () => createFileLog({ directory, segmentBytes: 4096, blockingSync }),
        teardown: () => rm(directory, { recursive: true }),
      };
    },
  });
}
