// Creates a package with everything the gates ask of one: `npm run new-package -- <name> <floor> "<description>"`.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [name, floor, description] = process.argv.slice(2);
if (!/^[a-z][a-z0-9-]*$/.test(name ?? '') || !/^[0-6]$/.test(floor ?? '') || !description) {
  console.error('usage: npm run new-package -- <name> <floor 0..6> "<description>"');
  process.exit(2);
}
const dir = join(import.meta.dirname, '..', 'packages', name);
if (existsSync(join(dir, 'package.json'))) {
  console.error(`packages/${name} exists`);
  process.exit(2);
}

const manifest = {
  name: `@quorate/${name}`,
  version: '0.0.0',
  description,
  license: 'MIT',
  repository: {
    type: 'git',
    url: 'git+https://github.com/quorate/quorate.git',
    directory: `packages/${name}`,
  },
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20' },
  main: './dist/index.cjs',
  module: './dist/index.js',
  types: './dist/index.d.cts',
  exports: {
    '.': {
      '@quorate/source': './src/index.ts',
      import: { types: './dist/index.d.ts', default: './dist/index.js' },
      require: { types: './dist/index.d.cts', default: './dist/index.cjs' },
    },
    './package.json': './package.json',
  },
  files: ['dist', 'src', 'README.md', 'CHANGELOG.md'],
  publishConfig: { access: 'public' },
  quorate: { floor: Number(floor) },
  scripts: { build: 'tsup --config ../../tsup.config.ts' },
  dependencies: floor === '0' ? {} : { '@quorate/runtime': '^0.0.0' },
};

const files = {
  'package.json': `${JSON.stringify(manifest, null, 2)}\n`,
  'tsconfig.json': `{\n  "extends": "../../tsconfig.base.json",\n  "include": ["src", "test", "bench"]\n}\n`,
  'README.md': `# @quorate/${name}\n\n${description}\n\n\`\`\`sh\nnpm install @quorate/${name}\n\`\`\`\n`,
  'src/index.ts': `export {};\n`,
};
for (const [path, text] of Object.entries(files)) {
  const file = join(dir, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
}
console.log(`packages/${name} is made; run \`npm install\` so that the workspace links it.`);
