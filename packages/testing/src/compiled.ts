import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { QuorateError, randomId, systemRuntime } from '@quorate/runtime';
import { build } from 'esbuild';

/** Packages of so many small modules that they load quickly only as a part of the program. */
const TAKEN_IN = /^(@quorate\/|typebox($|\/)|@fastify\/type-provider-typebox$)/;

const made = new Map<string, Promise<string>>();

/**
 * Compiles a TypeScript program of this repository with all that it imports of it, once per process, and returns the
 * JavaScript file. A process is up four times as soon as one that compiles what it loads, which counts for those that
 * are killed and started again and again. Modules that are taken in see the file's own `import.meta`.
 */
export function compiled(program: string): Promise<string> {
  let file = made.get(program);
  if (file === undefined) {
    file = compile(program);
    made.set(program, file);
  }
  return file;
}

async function compile(program: string): Promise<string> {
  const workspace = workspaceOf(program);
  // Below the workspace, so that what is not taken in is found as it is from the sources.
  const folder = join(workspace, 'node_modules', '.cache', 'compiled');
  const file = join(folder, `${relative(workspace, program).replaceAll(/[^\w.-]/g, '-')}.mjs`);
  const { outputFiles } = await build({
    entryPoints: [program],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@quorate/source'],
    sourcemap: 'inline',
    sourcesContent: false,
    write: false,
    plugins: [
      {
        name: 'leave packages out',
        setup(bundler) {
          bundler.onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
            kind === 'entry-point' || TAKEN_IN.test(path) ? undefined : { path, external: true },
          );
        },
      },
    ],
  });
  const [output] = outputFiles;
  if (output === undefined) throw new QuorateError('COMPILE_FAILED', `${program} gave no program`);
  await mkdir(folder, { recursive: true });
  // Another process may be starting a program from this file: it is replaced as a whole.
  const draft = join(folder, `.${basename(file)}.${randomId(systemRuntime)}`);
  await writeFile(draft, output.contents);
  await rename(draft, file);
  return file;
}

/** The nearest folder above a file that is a package. */
export function workspaceOf(file: string): string {
  let folder = dirname(file);
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}
