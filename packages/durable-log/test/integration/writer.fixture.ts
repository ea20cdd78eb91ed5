import { createFileLog } from '../../src/file.js';

/*
 * A process that is to be killed: many writers append to one log, and each tells the index of what was acknowledged.
 * Data are the index, so that the reader knows what must be there.
 */
const [directory = ''] = process.argv.slice(2);
const log = createFileLog({ directory, segmentBytes: 64 * 1024, groupBytes: 8 * 1024 });
let { last } = await log.load();
process.stdout.write(`loaded ${String(last)}\n`);

async function write(): Promise<never> {
  for (;;) {
    const index = ++last;
    const data = Buffer.from(`${String(index)} `.repeat(1 + (index % 40)));
    await log.write(
      { state: Buffer.from(String(index)), entries: [{ index, term: 1, kind: 'command', data }] },
      { sync: true },
    );
    process.stdout.write(`${String(index)}\n`);
  }
}

await Promise.all(Array.from({ length: 16 }, write));
