/**
 * Appends per second beside what the disk can do: a loop that writes into a preallocated file and syncs, once by blocking
 * calls and once by the asynchronous ones that leave the event loop free. All take turns in one run.
 *
 *     npm run bench -w @quorate/durable-log
 */
import { closeSync, fdatasync, fdatasyncSync, openSync, write, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemRuntime } from '@quorate/runtime';
import { createFileLog } from '@quorate/durable-log/file';
import { crc32c, type Entry, groupCommitted, type LogStorage } from '@quorate/durable-log';

const DATA_BYTES = 256;
const RECORD_BYTES = 320;
const ROUNDS = 5;
const ROUND_MS = 1500;
const directory = await mkdtemp(join(process.env['BENCH_DIRECTORY'] ?? '.', 'bench-log-'));
const data = Buffer.alloc(DATA_BYTES, 7);
const monotonic = (): number => systemRuntime.monotonic();
let syncs = 0;
groupCommitted.subscribe(({ syncMs }) => {
  if (syncMs !== undefined) syncs++;
});

function entry(index: number): Entry {
  return { index, term: 1, kind: 'command', data };
}

/** Calls `step` until the round is over. */
async function perSecond(writers: number, step: () => Promise<void> | void): Promise<number> {
  const start = monotonic();
  let count = 0;
  const loop = async (): Promise<void> => {
    while (monotonic() - start < ROUND_MS) {
      const pending = step();
      if (pending !== undefined) await pending;
      count++;
    }
  };
  await Promise.all(Array.from({ length: writers }, loop));
  return (count * 1000) / (monotonic() - start);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

async function openLog(
  name: string,
  blockingSync = false,
): Promise<{ readonly log: LogStorage; readonly append: () => Promise<void> }> {
  const segmentBytes = 64 * 1024 * 1024;
  const log = createFileLog({ directory: join(directory, name), segmentBytes, blockingSync });
  let { last } = await log.load();
  return { log, append: () => log.write({ entries: [entry(++last)] }, { sync: true }) };
}

async function measureAppends(): Promise<void> {
  const fd = openSync(join(directory, 'bare'), 'w+');
  const size = 64 * 1024 * 1024;
  writeSync(fd, Buffer.alloc(size), 0, size, 0);
  fdatasyncSync(fd);
  const record = Buffer.alloc(RECORD_BYTES, 7);
  const syncAsync = promisify(fdatasync);
  const writeAsync = promisify(write);
  let at = 0;
  const next = (): number => (at = (at + RECORD_BYTES) % (size - RECORD_BYTES));
  const one = await openLog('one');
  const many = await openLog('many');
  const blocking = await openLog('blocking', true);
  const cases: Record<string, () => Promise<number>> = {
    'bare loop, asynchronous': () =>
      perSecond(1, async () => {
        await writeAsync(fd, record, 0, RECORD_BYTES, next());
        await syncAsync(fd);
      }),
    'bare loop, blocking': () =>
      perSecond(1, () => {
        writeSync(fd, record, 0, RECORD_BYTES, next());
        fdatasyncSync(fd);
      }),
    'file log, 1 writer': () => perSecond(1, one.append),
    'file log with blockingSync, 1 writer': () => perSecond(1, blocking.append),
    'file log, 64 writers': () => perSecond(64, many.append),
  };
  const results = new Map<string, number[]>(Object.keys(cases).map((name) => [name, []]));
  const syncsPerAppend: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(cases)) {
      syncs = 0;
      const rate = await run();
      results.get(name)?.push(rate);
      if (name.endsWith('64 writers')) syncsPerAppend.push((syncs * 1000) / (rate * ROUND_MS));
    }
  }
  const rate = (name: string): number => median(results.get(name) ?? []);
  const ratio = (name: string, of: string): number =>
    median((results.get(name) ?? []).map((one, round) => one / (results.get(of)?.[round] ?? Number.NaN)));
  const table = [...results.keys()].map((name) => ({
    case: name,
    'appends/s': Math.round(rate(name)),
    'of the asynchronous loop': ratio(name, 'bare loop, asynchronous').toFixed(2),
    'of the blocking loop': ratio(name, 'bare loop, blocking').toFixed(2),
  }));
  console.log(`\n${String(DATA_BYTES)} bytes per append, each durable; medians of ${String(ROUNDS)} rounds`);
  console.table(table);
  console.log(`syncs per append with 64 writers: ${median(syncsPerAppend).toFixed(4)}`);
  await one.log.close();
  await many.log.close();
  await blocking.log.close();
  closeSync(fd);
}

/** Twice: what an array buffer holds is only given back after the object is gone. */
async function collectGarbage(): Promise<void> {
  for (let pass = 0; pass < 3; pass++) {
    globalThis.gc?.();
    await setImmediate();
  }
}

async function measureLoad(): Promise<void> {
  const entries = 1_000_000;
  const place = join(directory, 'large');
  const log = createFileLog({ directory: place });
  await log.load();
  const start = monotonic();
  for (let index = 1; index <= entries; index += 1000) {
    const batch = Array.from({ length: 1000 }, (_, offset) => entry(index + offset));
    await log.write({ entries: batch }, { sync: false });
  }
  await log.write({ entries: [] }, { sync: true });
  const writeMs = monotonic() - start;
  await log.close();
  await collectGarbage();
  const before = process.memoryUsage();
  const again = createFileLog({ directory: place });
  const loading = monotonic();
  await again.load();
  const loadMs = monotonic() - loading;
  await collectGarbage();
  const after = process.memoryUsage();
  const reading = monotonic();
  let read = 0;
  for (let index = 1; index <= entries;) {
    const batch = await again.read(index, entries + 1, 1024 * 1024);
    index += batch.length;
    read += batch.length;
  }
  const readMs = monotonic() - reading;
  await again.close();
  const large = Buffer.alloc(64 * 1024 * 1024, 7);
  const summing = monotonic();
  crc32c(large);
  const crcRate = large.length / (monotonic() - summing) / 1e6;
  const bytes = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
  console.log(`\n${String(entries)} entries of ${String(DATA_BYTES)} bytes, in batches of 1000`);
  console.table({
    'write (s)': (writeMs / 1000).toFixed(2),
    'load, every byte checked (s)': (loadMs / 1000).toFixed(2),
    'read all (s)': `${(readMs / 1000).toFixed(2)} (${String(read)} entries)`,
    'memory per entry (bytes)': (bytes / entries).toFixed(1),
    'CRC-32C (GB/s)': crcRate.toFixed(2),
  });
}

try {
  await measureAppends();
  await measureLoad();
} finally {
  await rm(directory, { recursive: true });
}
