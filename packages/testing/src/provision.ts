import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { workspaceOf } from './compiled.js';
import { DESCRIPTORS } from './registry.js';
import type { ServiceName } from './descriptor.js';
import { installMissing } from './source.js';

/**
 * Installs, in one go, what is missing of the servers that these test files may ask for. Later it would be installed
 * on the time of the first test that asks, which would fail for it.
 */
export async function provisionFor(files: readonly string[]): Promise<void> {
  // PostgreSQL comes from the npm package when it is not here.
  const names = serversIn(files).filter((name) => name !== 'postgres');
  await installMissing(names.map((name) => DESCRIPTORS[name]));
}

/** The servers that are named in the tests and READMEs of the workspaces of these files. */
export function serversIn(files: readonly string[]): ServiceName[] {
  const text = [...new Set(files.map(workspaceOf))].flatMap(textsOf).join('\n');
  return Object.values(DESCRIPTORS)
    .filter(({ name, variable }) => text.includes(`'${name}'`) || text.includes(variable))
    .map(({ name }) => name);
}

function textsOf(workspace: string): string[] {
  const tests = join(workspace, 'test');
  const packages = join(workspace, 'packages');
  // The tests of the whole repository run the snippets of every README.
  const readmes = existsSync(packages)
    ? readdirSync(packages)
        .filter((name) => name !== 'testing')
        .map((name) => join(packages, name, 'README.md'))
    : [];
  const sources = existsSync(tests)
    ? readdirSync(tests, { recursive: true, encoding: 'utf8' }).map((name) => join(tests, name))
    : [];
  return [...readmes, ...sources.filter((path) => path.endsWith('.ts'))]
    .filter(existsSync)
    .map((path) => readFileSync(path, 'utf8'));
}
