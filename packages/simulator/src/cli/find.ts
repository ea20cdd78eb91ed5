import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Scenario } from '@quorate/simulator';
import { UsageError } from './arguments.js';

/** A scenario and the file that exports it. */
export interface FoundScenario {
  readonly name: string;
  readonly file: string;
}

const SCENARIO_FILE = /\.scenario\.(?:[cm]?js|m?ts)$/;
const SKIPPED = new Set(['node_modules', 'dist', 'coverage']);

/** The scenarios of the files and folders given, or of all below the working directory. */
export async function findScenarios(paths: readonly string[]): Promise<FoundScenario[]> {
  const files: string[] = [];
  for (const path of paths.length === 0 ? ['.'] : paths) {
    const kind = await stat(path).catch(() => {
      throw new UsageError(`there is no file or folder ${JSON.stringify(path)}`);
    });
    if (kind.isDirectory()) await walk(path, files);
    else files.push(path);
  }
  const found = new Map<string, FoundScenario>();
  for (const file of [...new Set(files.map((one) => relative('', resolve(one))))].sort()) {
    for (const { name } of await loadScenarios(file)) {
      const earlier = found.get(name);
      if (earlier !== undefined) {
        throw new UsageError(`two scenarios are called ${name}: in ${earlier.file} and in ${file}`);
      }
      found.set(name, { name, file });
    }
  }
  return [...found.values()];
}

/** What a file exports as `scenarios`. */
export async function loadScenarios(file: string): Promise<readonly Scenario[]> {
  const module = (await import(pathToFileURL(resolve(file)).href).catch((error: unknown) => {
    const code = (error as { code?: unknown }).code;
    if (code !== 'ERR_UNKNOWN_FILE_EXTENSION') throw error;
    throw new UsageError(
      `${file}: this Node runs no TypeScript by itself; use node --import tsx node_modules/.bin/quorate-simulate`,
    );
  })) as { scenarios?: unknown; default?: { scenarios?: unknown } };
  const scenarios = module.scenarios ?? module.default?.scenarios;
  if (!Array.isArray(scenarios)) throw new UsageError(`${file} exports no array called \`scenarios\``);
  for (const one of scenarios as readonly Partial<Scenario>[]) {
    if (typeof one.name !== 'string' || !/^[^\s,"'`$\\]+$/.test(one.name) || typeof one.run !== 'function') {
      throw new UsageError(
        `${file}: a scenario has a name without spaces and quotes, and a function \`run\`; got the name ${JSON.stringify(one.name)}`,
      );
    }
  }
  return scenarios as readonly Scenario[];
}

async function walk(folder: string, files: string[]): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name) && !entry.name.startsWith('.')) await walk(path, files);
    } else if (SCENARIO_FILE.test(entry.name)) files.push(path);
  }
}
