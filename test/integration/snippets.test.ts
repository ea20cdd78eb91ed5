import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { environmentOf, snippetsOf, toCommonJs, toModule } from '../../scripts/snippets.mjs';

const root = join(import.meta.dirname, '../..');
// Below the root, so that modules resolve as they do for the workspace.
const folder = mkdtempSync(join(root, 'node_modules', '.snippets-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const pages = [
  'README.md',
  ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/README.md`),
]
  .map((page) => ({ page, snippets: snippetsOf(readFileSync(join(root, page), 'utf8')) }))
  .filter(({ snippets }) => snippets.length > 0);

/** Runs a program against the sources and returns what it printed; rejects when it fails. */
async function run(file: string, program: string): Promise<string> {
  const path = join(folder, file);
  writeFileSync(path, program);
  const env = { ...process.env, ...(await environmentOf(program)) };
  const child = spawn(process.execPath, ['--conditions=@quorate/source', '--import', 'tsx', path], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  expect({ code, stderr }, program).toEqual({ code: 0, stderr: '' });
  return stdout;
}

describe.each(pages)('the snippets of $page run as printed', ({ page, snippets }) => {
  it.each(snippets)('line $line', async ({ line, code }) => {
    const name = `${page.replaceAll('/', '-')}-${line}`;
    const printed = await run(`${name}.mjs`, toModule(code));
    if (code === snippets[0]?.code) {
      expect(printed, 'the first snippet shows something').not.toBe('');
      expect(await run(`${name}.cjs`, toCommonJs(code)), 'and from CommonJS').not.toBe('');
    }
  });
});
