// The API reference of all published packages, from their doc comments: `npm run docs` writes docs/api. An export
// without a comment, or a broken link in one, fails the run.
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Application, Converter, ReflectionKind } from 'typedoc';

const root = join(import.meta.dirname, '..');
process.chdir(root);
rmSync('docs/api', { recursive: true, force: true });

/** Entry file to the name under which it is imported. */
const entries = new Map();
for (const folder of readdirSync('packages')) {
  const manifest = JSON.parse(readFileSync(join('packages', folder, 'package.json'), 'utf8'));
  if (manifest.private === true) continue;
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    if (typeof target === 'string') continue;
    entries.set(join('packages', folder, target['@quorate/source']), join(manifest.name, subpath));
  }
}

const app = await Application.bootstrapWithPlugins({
  name: 'Quorate',
  entryPoints: [...entries.keys()],
  readme: 'README.md',
  out: 'docs/api',
  tsconfig: 'tsconfig.json',
  skipErrorChecking: true, // `npm run typecheck` has done it
  excludePrivate: true,
  excludeInternal: true,
  disableGit: true,
  sourceLinkTemplate: 'https://github.com/quorate/quorate/blob/main/{path}#L{line}',
  basePath: '.',
  treatWarningsAsErrors: true,
  validation: { notExported: false, invalidLink: true, notDocumented: true, invalidPath: false },
  requiredToBeDocumented: ['Class', 'Interface', 'Function', 'TypeAlias', 'Variable', 'Method', 'Enum'],
  logLevel: 'Warn',
});

// Modules are shown under the names by which they are imported.
app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
  for (const module of context.project.getReflectionsByKind(ReflectionKind.Module)) {
    const file = module.sources?.[0]?.fullFileName;
    const name = [...entries].find(([path]) => file === join(root, path))?.[1];
    if (name) module.name = name;
  }
});

const project = await app.convert();
if (project) {
  app.validate(project);
  await app.generateOutputs(project);
}
const failed = !project || app.logger.hasErrors() || app.logger.hasWarnings();
console.log(failed ? 'docs/api: the documentation has gaps' : `docs/api: ${entries.size} entry points`);
process.exitCode = failed ? 1 : 0;
