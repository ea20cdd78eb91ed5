import { setImmediate } from 'node:timers/promises';
import { createFileLog } from '../../src/file.js';

/*
 * A process that is to be killed: many writers append to one log, and each tells the index of what was acknowledged.
 * Data are the index, so that the reader knows what must be there. Meanwhile snapshots of what was acknowledged are
 * taken one after the other, told of, and the log behind them is given up.
 */
const [directory = ''] = process.argv.slice(2);
const log = createFileLog({ directory, segmentBytes: 64 * 1024, groupBytes: 8 * 1024 });
let { last, snapshot } = await log.load();
let acknowledged = last;
process.stdout.write(`loaded ${String(last)}\n`);

async function takeSnapshots(): Promise<never> {
  for (;;) {
    const index = acknowledged;
    if (index > (snapshot?.index ?? 0)) {
      const meta = { index, term: 1, membership: new Uint8Array() };
      const staged = await log.stageSnapshot(meta, [Buffer.from(`state at ${String(index)}`)]);
      await staged.install();
      snapshot = meta;
      process.stdout.write(`snapshot ${String(index)}\n`);
      await log.compact(Math.max(0, index - 100));
    }
    await setImmediate();
  }
}

async function write(): Promise<never> {
  for (;;) {
    const index = ++last;
    const data = Buffer.from(`${String(index)} `.repeat(1 + (index % 40)));
    await log.write(
      { state: Buffer.from(String(index)), entries: [{ index, term: 1, kind: 'command', data }] },
      { sync: true },
    );
    acknowledged = Math.max(acknowledged, index);
    process.stdout.write(`${String(index)}\n`);
  }
}

await Promise.all([...Array.from({ length: 16 }, write), takeSnapshots()]);
