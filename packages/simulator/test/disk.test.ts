import { createSimDisk, Simulation, type SimProcess, type StandaloneDisk } from '@quorate/simulator';
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

/** What is left of a file after each seed's crash. */
async function left(
  count: number,
  options: Omit<Parameters<typeof createSimDisk>[0], 'seed'>,
  before: (one: StandaloneDisk) => Promise<unknown>,
  end: 'kill' | 'losePower' = 'losePower',
): Promise<string[]> {
  const results: string[] = [];
  for (let seed = 1; seed <= count; seed++) {
    const one = createSimDisk({ seed, ...options });
    await before(one);
    one[end]();
    results.push(
      one.disk
        .files()
        .map((name) => `${name}=${Buffer.from(one.disk.content(name)).toString()}`)
        .join(),
    );
  }
  return results;
}

describe('a disk by itself', () => {
  const write = async (one: StandaloneDisk, text: string, sync = true) => {
    const fs = one.mount();
    const file = await fs.open('/f', 'create');
    await file.write(Buffer.from(text), 0);
    if (sync) await file.sync();
    await fs.syncDirectory('');
    return file;
  };

  it('loses nothing when the process alone ends', async () => {
    expect(new Set(await left(20, {}, (one) => write(one, 'text', false), 'kill'))).toEqual(
      new Set(['/f=text']),
    );
  });

  it('tears a write at any byte where sectors are one byte', async () => {
    const found = new Set(
      await left(60, { sectorBytes: 1 }, async (one) =>
        (await write(one, 'aaaa')).write(Buffer.from('bbbb'), 0),
      ),
    );
    expect(found.size).toBeGreaterThan(8);
    for (const one of found) expect(one).toMatch(/^\/f=[ab]{4}$/);
  });

  it('finds a call under way done or not done, and never lets it settle', async () => {
    let settled = 0;
    const found = await left(
      40,
      {},
      async (one) => {
        const file = await write(one, 'aaaa');
        void file.write(Buffer.from('bbbb'), 0).then(() => settled++);
        one.kill();
        await one.mount().syncDirectory('');
      },
      'kill',
    );
    expect(new Set(found)).toEqual(new Set(['/f=aaaa', '/f=bbbb']));
    expect(settled).toBe(0);
  });

  it('does not make durable what a failed sync forgot, though a later one succeeds', async () => {
    const found = await left(40, {}, async (one) => {
      const file = await write(one, 'aaaa');
      await file.write(Buffer.from('bbbb'), 0);
      const undo = one.disk.disturb({ syncErrors: 1 });
      await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
      undo();
      await file.sync();
    });
    expect(new Set(found)).toEqual(new Set(['/f=aaaa', '/f=bbbb']));
  });

  it('keeps any names that were not synced, or a prefix of them', async () => {
    const three = async (one: StandaloneDisk): Promise<void> => {
      const fs = one.mount();
      for (const name of ['1', '2', '3']) await fs.open(`/${name}`, 'create');
    };
    const any = new Set(await left(80, {}, three));
    expect(any.size).toBe(8);
    const ordered = new Set(await left(80, { names: 'ordered' }, three));
    expect([...ordered].sort()).toEqual(['', '/1=', '/1=,/2=', '/1=,/2=,/3=']);
  });

  it('shows each call before it is made, and fails it as it is told', async () => {
    const one = createSimDisk({ seed: 1 });
    const calls: string[] = [];
    const undo = one.disk.intercept(({ what, path, number }) => {
      calls.push(`${String(number)} ${what} ${path}`);
      return what === 'write' ? 'EDQUOT' : undefined;
    });
    const file = await one.mount().open('/f', 'create');
    await expect(file.write(Buffer.from('a'), 0)).rejects.toMatchObject({ code: 'EDQUOT' });
    undo();
    await file.write(Buffer.from('a'), 0);
    expect(calls).toEqual(['0 open /f', '1 write /f']);
    one.disk.disturb({ full: true });
    await expect(file.write(Buffer.from('b'), 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    one.disk.heal();
    one.disk.disturb({ errors: 1 });
    await expect(file.size()).rejects.toMatchObject({ code: 'EIO' });
    await file.close();
  });

  it('is as slow as the slowest of several faults, which do not multiply', async () => {
    const simulation = new Simulation({ seed: 1, disk: { minDelayMs: 1, maxDelayMs: 1 } });
    let doneAtMs = 0;
    const node = simulation.node('n', async ({ fileSystem, runtime }) => {
      await new Promise<void>((resolve) => runtime.setTimer(5, resolve));
      await fileSystem.mkdir('/d');
      doneAtMs = simulation.nowMs;
    });
    for (const slowdown of [100, 1_000, 100]) node.disk.disturb({ slowdown });
    await simulation.runUntil(() => doneAtMs > 0, 2_000);
    expect(doneAtMs).toBeCloseTo(1_005, 0);
    expect(() => node.disk.disturb({ slowdown: 0.5 })).toThrow('INVALID_OPTION: slowdown');
  });
});
