import { Simulation, type SimProcess } from '@quorate/simulator';
import { createFileLog } from '@quorate/durable-log/file';
import { describe, expect, it } from 'vitest';

async function onDisk(seed: number, boots: ((process: SimProcess) => Promise<void>)[]) {
  const simulation = new Simulation({ seed });
  const node = simulation.node('n', (process) => boots[process.restarts]?.(process) ?? Promise.resolve());
  for (let life = 1; life < boots.length; life++) {
    await simulation.runFor(100);
    node.crash();
    node.start();
  }
  await simulation.runFor(100);
  return node;
}

describe('the disk', () => {
  it('keeps what was synced together with its name, and tears the rest by sectors', async () => {
    const lengths = new Set<string>();
    for (let seed = 1; seed <= 40; seed++) {
      let after = Buffer.alloc(0);
      await onDisk(seed, [
        async ({ fileSystem }) => {
          const file = await fileSystem.open('/f', 'create');
          await file.write(Buffer.alloc(2_048, 1), 0);
          await file.sync();
          await fileSystem.syncDirectory('');
          await file.write(Buffer.alloc(2_048, 2), 0);
        },
        async ({ fileSystem }) => {
          const file = await fileSystem.open('/f', 'must-exist');
          after = Buffer.alloc(await file.size());
          await file.read(after, 0);
        },
      ]);
      const sectors = [0, 512, 1_024, 1_536].map((at) => [...new Set(after.subarray(at, at + 512))]);
      for (const values of sectors) expect(values).toHaveLength(1);
      lengths.add(sectors.join());
    }
    // Each of the four sectors for itself: sixteen ways, nearly all of them seen.
    expect(lengths.size).toBeGreaterThan(10);
  });

  it('loses a name that was not synced, at times', async () => {
    let found = 0;
    for (let seed = 1; seed <= 40; seed++) {
      await onDisk(seed, [
        async ({ fileSystem }) => {
          await (await fileSystem.open('/f', 'create')).sync();
        },
        async ({ fileSystem }) => {
          found += (await fileSystem.readdir('')).length;
        },
      ]);
    }
    expect(found).toBeGreaterThan(5);
    expect(found).toBeLessThan(35);
  });

  it('fills up, fails and gets damaged as it is told', async () => {
    const codes: unknown[] = [];
    const simulation = new Simulation({ seed: 1, disk: { capacityBytes: 1_000 } });
    const note = (error: unknown): void => void codes.push((error as { code: string }).code);
    const node = simulation.node('n', async ({ fileSystem }) => {
      const file = await fileSystem.open('/f', 'create');
      await file.write(Buffer.alloc(1_001), 0).catch(note);
      await file.write(Uint8Array.of(4), 0);
      node.disk.flipBit('/f', 0);
      const into = new Uint8Array(1);
      await file.read(into, 0);
      codes.push(into[0]);
      node.disk.failing = true;
      await file.sync().catch(note);
    });
    await simulation.runFor(100);
    expect(codes).toEqual(['ENOSPC', 5, 'EIO']);
  });

  it('carries a log in files, which loses nothing acknowledged in a power cut', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      let acknowledged = 0;
      let last = -1;
      await onDisk(seed, [
        async ({ fileSystem, runtime }) => {
          const log = createFileLog({ directory: '/log', segmentBytes: 65_536, fileSystem, runtime });
          await log.load();
          for (let index = 1; index <= 200; index++) {
            const entry = { index, term: 1, kind: 'command', data: Uint8Array.of(index) } as const;
            await log.write({ entries: [entry] }, { sync: true });
            acknowledged = index;
          }
        },
        async ({ fileSystem, runtime }) => {
          const log = createFileLog({ directory: '/log', segmentBytes: 65_536, fileSystem, runtime });
          last = (await log.load()).last;
        },
      ]);
      expect(last).toBeGreaterThanOrEqual(acknowledged);
      expect(acknowledged).toBeGreaterThan(5);
    }
  });
});
