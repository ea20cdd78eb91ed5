import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { randomId, systemRuntime } from '@quorate/runtime';
import { build } from 'esbuild';
import { type ServiceName, SERVICES } from '../lib/names.js';
import { eachService } from './databases.js';

const SHOP = join(import.meta.dirname, '..', '..');
/** Below the shop, so that what is left out of a program is found as it is from the sources. */
const FOLDER = join(SHOP, 'node_modules', '.cache', 'services');
/** CommonJS, and quick to load as it is. Hundreds of small modules are not: they go into the program. */
const LEFT_OUT = ['fastify', '@fastify/swagger', '@fastify/swagger-ui', 'pg', 'ajv'];

let compiled: Promise<Readonly<Record<ServiceName, string>>> | undefined;

/**
 * Makes one JavaScript file of each service, once per process, and returns where they are. A service that is
 * compiled when it starts takes four times as long to be back after a SIGKILL.
 */
export function compileServices(): Promise<Readonly<Record<ServiceName, string>>> {
  return (compiled ??= compile());
}

async function compile(): Promise<Readonly<Record<ServiceName, string>>> {
  const { outputFiles } = await build({
    entryPoints: SERVICES.map((name) => join(SHOP, 'src', 'services', `${name}.ts`)),
    outdir: FOLDER,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@quorate/source'],
    external: LEFT_OUT,
    sourcemap: 'inline',
    sourcesContent: false,
    write: false,
  });
  await mkdir(FOLDER, { recursive: true });
  // Another demo may be starting services from these files: each is replaced as a whole.
  await Promise.all(
    outputFiles.map(async ({ path, contents }) => {
      const draft = `${path}.${randomId(systemRuntime)}`;
      await writeFile(draft, contents);
      await rename(draft, path);
    }),
  );
  const paths = outputFiles.map(({ path }) => path);
  return eachService((name) => paths.find((path) => basename(path) === `${name}.mjs`) ?? '');
}
