// Publishes packages/<name>/src/<subpath>.ts as @quorate/<name>/<subpath>: `node scripts/add-subpath.mjs <name> <subpath> [source]`.
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const [name, subpath, source = subpath] = process.argv.slice(2);
if (!name || !/^[a-z][a-z0-9-]*$/.test(subpath ?? '')) {
  console.error('usage: node scripts/add-subpath.mjs <package> <subpath> [source below src, without .ts]');
  process.exit(2);
}
const file = join(import.meta.dirname, '..', 'packages', name, 'package.json');
const manifest = JSON.parse(readFileSync(file, 'utf8'));
const { './package.json': self, ...exports } = manifest.exports;
const built = source.includes('/') ? source : basename(source);
exports[`./${subpath}`] = {
  '@quorate/source': `./src/${source}.ts`,
  import: { types: `./dist/${built}.d.ts`, default: `./dist/${built}.js` },
  require: { types: `./dist/${built}.d.cts`, default: `./dist/${built}.cjs` },
};
manifest.exports = { ...exports, './package.json': self };
writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
console.log(`@quorate/${name}/${subpath} is published from src/${source}.ts`);
