// Packs every published package and treats the tarballs as a stranger would: publint and are-the-types-wrong look at
// them, an empty project installs them, loads every root entry with nothing else installed, then adds the peers,
// type-checks the snippets of the READMEs and runs each package's first one from ESM and from CommonJS.
//
// Run by `npm run check:packages`, after the build. Servers that a snippet asks its environment for are provided.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { environmentOf, snippetsOf, toCommonJs, toModule } from './snippets.mjs';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'quorate-packages-'));
const require = createRequire(import.meta.url);
let failures = 0;

/** Runs a check and prints one line of it; what the program said is shown where it failed. */
async function check(what, work) {
  try {
    await work();
    console.log(`ok    ${what}`);
  } catch (error) {
    failures++;
    console.log(`FAIL  ${what}\n${[error.message, error.stdout, error.stderr].filter(Boolean).join('\n')}`);
  }
}

const packages = readdirSync(join(root, 'packages'))
  .map((folder) => {
    const dir = join(root, 'packages', folder);
    const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
    return { dir, manifest, name: manifest.name, readme: '' };
  })
  .filter(({ manifest }) => manifest.private !== true);

try {
  console.log(`Packing ${packages.length} packages`);
  for (const one of packages) {
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', work], { cwd: one.dir });
    const [{ filename, files }] = JSON.parse(stdout);
    one.tarball = join(work, filename);
    one.readme = readFileSync(join(one.dir, 'README.md'), 'utf8');
    await check(`${one.name}: the tarball holds what is published`, () => {
      const paths = new Set(files.map(({ path }) => path));
      const wanted = ['README.md', 'package.json', ...targets(one.manifest.exports)];
      const missing = wanted.filter((path) => !paths.has(path));
      if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
    });
    await check(`${one.name}: publint`, () =>
      run('npx', ['--no-install', 'publint', one.tarball, '--strict'], { cwd: root }),
    );
    await check(`${one.name}: are the types wrong`, () =>
      run('npx', ['--no-install', 'attw', one.tarball, '--profile', 'node16', '--no-emoji'], { cwd: root }),
    );
  }

  const project = join(work, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true, "version": "1.0.0" }\n');
  const install = (...what) =>
    run('npm', ['install', '--no-audit', '--no-fund', '--save-exact', ...what], { cwd: project });
  const node = (args, env = {}) =>
    run(process.execPath, args, { cwd: project, timeout: 120_000, env: { ...process.env, ...env } });

  await check('all tarballs install into an empty project', () =>
    install(...packages.map(({ tarball }) => tarball)),
  );
  for (const { name } of packages) {
    await check(`${name}: its root entry loads with nothing else installed`, async () => {
      await node(['--input-type=module', '--eval', `await import('${name}')`]);
      await node(['--input-type=commonjs', '--eval', `require('${name}')`]);
    });
  }

  const peers = new Map();
  const ours = new Set(packages.map(({ name }) => name));
  for (const { manifest } of packages) {
    for (const peer of Object.keys(manifest.peerDependencies ?? {})) {
      if (ours.has(peer)) continue; // its tarball is installed already
      peers.set(peer, manifest.devDependencies[peer]);
      if (manifest.devDependencies[`@types/${peer}`]) {
        peers.set(`@types/${peer}`, manifest.devDependencies[`@types/${peer}`]);
      }
    }
  }
  peers.set('typescript', require('typescript/package.json').version);
  peers.set('@types/node', require('@types/node/package.json').version);
  await check(`the peers install: ${[...peers.keys()].join(', ')}`, () =>
    install(...[...peers].map(([name, version]) => `${name}@${version}`)),
  );

  const typed = [];
  for (const { name, readme } of packages) {
    for (const { line, code } of snippetsOf(readme)) {
      const file = `${name.replace('@quorate/', '')}-${line}.mts`;
      writeFileSync(join(project, file), `${code}\nexport {};\n`);
      typed.push(file);
    }
  }
  const strict = [
    '--strict',
    '--noEmit',
    '--skipLibCheck',
    '--target',
    'es2022',
    '--lib',
    'es2023',
    '--types',
    'node',
  ];
  await check(`${typed.length} snippets are type-correct against the packed declarations`, () =>
    node(['node_modules/typescript/bin/tsc', ...strict, '--module', 'nodenext', ...typed]),
  );

  for (const { name, readme } of packages) {
    for (const [kind, file, translate] of [
      ['ESM', 'snippet.mjs', toModule],
      ['CommonJS', 'snippet.cjs', toCommonJs],
    ]) {
      await check(`${name}: the first snippet of its README runs from ${kind}`, async () => {
        const [first] = snippetsOf(readme);
        if (first === undefined) throw new Error('there is no snippet');
        const program = translate(first.code);
        writeFileSync(join(project, file), program);
        const { stdout } = await node([file], await environmentOf(program));
        if (stdout.trim() === '') throw new Error('it printed nothing');
      });
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(failures === 0 ? 'All packages are sound.' : `${failures} checks failed.`);
process.exitCode = failures === 0 ? 0 : 1;

/** Every file that an exports map points to. */
function targets(exports) {
  return Object.values(exports).flatMap((target) =>
    typeof target === 'string' ? [target.replace('./', '')] : targets(target),
  );
}
