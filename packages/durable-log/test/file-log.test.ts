import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileLog } from '../src/file.js';
import {
  CorruptLogError,
  type Entry,
  type LogStorage,
  StorageFailedError,
  StorageLockedError,
  tailRepaired,
} from '../src/index.js';
import { openFileLog } from './support/crash-run.js';
import { CrashDisk } from './support/crash-disk.js';

const FIRST_SEGMENT = '/log/000000000001.wal';

function entry(index: number, size = 100): Entry {
  return { index, term: 1, kind: 'command', data: Buffer.alloc(size, index) };
}

/** Appends entries one by one, so that each is durable before the next is written. */
async function append(log: LogStorage, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index++) await log.write({ entries: [entry(index)] }, { sync: true });
}

describe('damage', () => {
  let disk: CrashDisk;

  /** Opens the log after a crash of its process. */
  function reopen(): LogStorage {
    disk.killProcess();
    return openFileLog(disk);
  }

  function damage(name: string, at: number): void {
    disk.damage(name, at);
  }

  beforeEach(async () => {
    disk = new CrashDisk(1);
    const log = openFileLog(disk);
    await log.load();
    await append(log, 1, 10);
  });

  it('in the middle of the last segment is told from a torn tail, by a later record that knows better', async () => {
    damage(FIRST_SEGMENT, 500);
    const log = reopen();
    const error = await log.load().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CorruptLogError);
    expect(error).toMatchObject({
      code: 'CORRUPT_LOG',
      file: FIRST_SEGMENT,
      offset: expect.any(Number) as number,
    });
    expect((error as CorruptLogError).offset).toBeLessThanOrEqual(500);
    // The way out: a member with a backup, or with this id and nothing, has forgotten what others count on.
    expect((error as CorruptLogError).message).toMatch(
      /remove it from the group, .* new id and an empty storage/,
    );
    await expect(log.read(1, 2, 1)).rejects.toBe(error);
    await log.close();
    await expect(reopen().load()).rejects.toThrow('CORRUPT_LOG');
  });

  it('in the last record of a log that was closed is found too', async () => {
    const log = reopen();
    await log.load();
    await append(log, 11, 11);
    const content = disk.disk.content(FIRST_SEGMENT);
    const end = content.lastIndexOf(11);
    await log.close();
    damage(FIRST_SEGMENT, end);
    await expect(reopen().load()).rejects.toThrow('CORRUPT_LOG');
  });

  it('at the very end of a log that crashed is a torn tail: it is cut off and said so', async () => {
    const content = disk.disk.content(FIRST_SEGMENT);
    damage(FIRST_SEGMENT, content.lastIndexOf(10));
    const repaired: unknown[] = [];
    const end = tailRepaired.subscribe((event) => repaired.push(event));
    const log = reopen();
    expect((await log.load()).last).toBe(9);
    end();
    expect(repaired).toMatchObject([{ file: FIRST_SEGMENT }]);
    await append(log, 10, 12);
    expect((await reopen().load()).last).toBe(12);
  });

  it('of a segment that is not the last is corruption wherever it is', async () => {
    const log = reopen();
    await log.load();
    await append(log, 11, 60);
    const content = disk.disk.content(FIRST_SEGMENT);
    damage(
      FIRST_SEGMENT,
      content.findLastIndex((byte) => byte !== 0),
    );
    await expect(reopen().load()).rejects.toMatchObject({ code: 'CORRUPT_LOG', file: FIRST_SEGMENT });
  });

  it('of a header, a missing segment and a missing snapshot are corruption', async () => {
    const log = reopen();
    await log.load();
    await append(log, 11, 90);
    const [, second, third] = disk.disk.files().filter((name) => name.endsWith('.wal'));
    const files = disk.mount();
    await files.unlink(second ?? '');
    await expect(reopen().load()).rejects.toThrow(/missing/);
    damage(third ?? '', 10);
    await expect(reopen().load()).rejects.toThrow('CORRUPT_LOG');
  });

  it('of an entry that is read later stops the storage', async () => {
    const log = reopen();
    await log.load();
    damage(FIRST_SEGMENT, 500);
    const read = log.read(1, 11, 1e6);
    await expect(read).rejects.toMatchObject({ code: 'CORRUPT_LOG', file: FIRST_SEGMENT });
    await expect(log.write({ entries: [entry(11)] }, { sync: true })).rejects.toThrow('CORRUPT_LOG');
  });

  it('of a snapshot is found when it is read', async () => {
    const log = reopen();
    await log.load();
    const staged = await log.stageSnapshot({ index: 5, term: 1, membership: Buffer.from('m') }, [
      Buffer.alloc(1000, 7),
    ]);
    await staged.install();
    const name = disk.disk.files().find((one) => one.endsWith('.snapshot')) ?? '';
    damage(name, 300);
    const stored = await log.openSnapshot();
    await expect(stored?.chunks()[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'CORRUPT_LOG',
      file: name,
    });
  });

  it('never goes unnoticed: whichever byte flips, the log is refused, cut at its unproven end, or unchanged', async () => {
    const log = reopen();
    await log.load();
    await log.close();
    const content = disk.disk.content(FIRST_SEGMENT);
    const end = content.findLastIndex((byte) => byte !== 0) + 1;
    let refused = 0;
    for (let at = 0; at < end; at += 7) {
      damage(FIRST_SEGMENT, at);
      disk.killProcess();
      const opened = openFileLog(disk);
      const found = await opened.load().then(
        ({ last }) => last,
        (error: unknown) => (error as CorruptLogError).code,
      );
      refused += found === 'CORRUPT_LOG' ? 1 : 0;
      // The mark of the last close proves all but itself; loading cut it off, so that the search ends there.
      if (at > end - 44) break;
      const isPadding = at >= 84 && at < 88;
      expect(found).toBe(isPadding ? 10 : 'CORRUPT_LOG');
      damage(FIRST_SEGMENT, at);
    }
    expect(refused).toBeGreaterThan(200);
  });
});

describe('a disk that fails', () => {
  it('has failed for ever after a failed sync, and keeps what was acknowledged', async () => {
    const disk = new CrashDisk(2);
    const log = openFileLog(disk);
    await log.load();
    await append(log, 1, 3);
    disk.failSyncAt = 0;
    const error: unknown = await log
      .write({ entries: [entry(4)] }, { sync: true })
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StorageFailedError);
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', cause: { code: 'EIO' } });
    disk.failSyncAt = Infinity;
    await expect(log.write({ entries: [entry(4)] }, { sync: true })).rejects.toBe(error);
    await expect(log.read(1, 2, 1)).rejects.toBe(error);
    await log.close();
    disk.losePower();
    expect((await openFileLog(disk).load()).last).toBeGreaterThanOrEqual(3);
  });

  it('that is full stops the writer without harm', async () => {
    const disk = new CrashDisk(3);
    const log = openFileLog(disk);
    await log.load();
    disk.disk.capacityBytes = 10_000;
    let acknowledged = 0;
    const error: unknown = await (async () => {
      for (let index = 1; ; index++) {
        await log.write({ entries: [entry(index)] }, { sync: true });
        acknowledged = index;
      }
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'DISK_FULL' });
    expect(acknowledged).toBeGreaterThan(20);
    await log.close();
    disk.disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    const again = openFileLog(disk);
    expect((await again.load()).last).toBe(acknowledged);
    await append(again, acknowledged + 1, acknowledged + 50);
  });

  it('that is full refuses a snapshot and goes on with the log', async () => {
    const disk = new CrashDisk(4);
    const log = openFileLog(disk);
    await log.load();
    await append(log, 1, 3);
    disk.disk.capacityBytes = 10_000;
    const meta = { index: 2, term: 1, membership: new Uint8Array(0) };
    await expect(log.stageSnapshot(meta, [Buffer.alloc(50_000)])).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(disk.disk.files().some((name) => name.includes('staged'))).toBe(false);
    await append(log, 4, 4);
  });
});

describe('cost', () => {
  it('shares one sync among the writes that wait together', async () => {
    const disk = new CrashDisk(5);
    const log = createFileLog({
      directory: '/log',
      fileSystem: disk.mount(),
      runtime: createVirtualRuntime(),
    });
    await log.load();
    const before = disk.disk.syncs;
    for (let round = 0; round < 10; round++) {
      const writes = Array.from({ length: 64 }, (_, index) =>
        log.write({ entries: [entry(round * 64 + index + 1)] }, { sync: true }),
      );
      await Promise.all(writes);
    }
    expect(disk.disk.syncs - before).toBe(10);
  });

  it('gives the disk back what was compacted', async () => {
    const disk = new CrashDisk(6);
    const log = openFileLog(disk);
    await log.load();
    await append(log, 1, 200);
    const segments = (): number => disk.disk.files().filter((name) => name.endsWith('.wal')).length;
    const before = segments();
    const staged = await log.stageSnapshot({ index: 200, term: 1, membership: new Uint8Array(0) }, []);
    await staged.install();
    await log.compact(200);
    expect([before > 4, segments()]).toEqual([true, 1]);
    disk.losePower();
    const again = openFileLog(disk);
    expect(await again.load()).toMatchObject({ last: 200 });
    await append(again, 201, 202);
  });
});

describe('the directory', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'quorate-log-'));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('is locked also where its path is too long for a socket', async () => {
    const deep = join(directory, 'd'.repeat(100), 'e'.repeat(100));
    const log = createFileLog({ directory: deep, segmentBytes: 4096 });
    await log.load();
    const second = createFileLog({ directory: deep });
    await expect(second.load()).rejects.toBeInstanceOf(StorageLockedError);
    await expect(second.load()).rejects.toThrow(String(process.pid));
    await log.close();
    const third = createFileLog({ directory: deep });
    await third.load();
    await third.close();
  });

  it('goes to at most one of many that come at once', async () => {
    const logs = Array.from({ length: 8 }, () => createFileLog({ directory, segmentBytes: 4096 }));
    const outcomes = await Promise.allSettled(logs.map((log) => log.load()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
    for (const log of logs) await log.close();
    const next = createFileLog({ directory });
    await next.load();
    await next.close();
  });

  it('is an option that must be there, and so are sizes within bounds', () => {
    expect(() => createFileLog({ directory: '' })).toThrow('INVALID_OPTION: directory');
    expect(() => createFileLog({ directory, segmentBytes: 100 })).toThrow('INVALID_OPTION: segmentBytes');
    expect(() => createFileLog({ directory, groupBytes: 0.5 })).toThrow('INVALID_OPTION: groupBytes');
  });
});
