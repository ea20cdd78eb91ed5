import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { traceHashes } from '../simulation/hashes.js';

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/trace-hashes.json'), 'utf8'),
) as Record<string, string[]>;
const fixture = join(import.meta.dirname, 'hashes.fixture.ts');

async function inProcess(): Promise<unknown> {
  const args = ['--conditions=@quorate/source', '--import', 'tsx', fixture];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as unknown;
}

// The golden values were made by Node 20 and are the same for Node 22 and 24; CI runs this on all three.
describe('a run is the same bit for bit', () => {
  it('in processes of its own', async () => {
    const [one, other] = await Promise.all([inProcess(), inProcess()]);
    expect(one).toEqual(golden);
    expect(other).toEqual(golden);
  });

  it('in the same process, twice and interleaved', async () => {
    const [one, other] = await Promise.all([traceHashes(), traceHashes()]);
    expect(one).toEqual(golden);
    expect(other).toEqual(golden);
  });
});
