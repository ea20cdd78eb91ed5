// SQL and Lua are files under review. This writes what they hold into a TypeScript module beside them, so that
// a package works wherever it is bundled to: src/sql/*.sql -> src/sql.gen.ts, src/lua/*.lua -> src/lua.gen.ts.
// `npm run embed` writes; `npm run embed -- --check` fails when a module is stale.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const check = process.argv.includes('--check');
let stale = 0;

for (const place of ['packages', 'examples'].filter((one) => existsSync(join(root, one)))) {
  for (const name of readdirSync(join(root, place))) {
    for (const kind of ['sql', 'lua']) {
      const folder = join(root, place, name, 'src', kind);
      if (!existsSync(folder)) continue;
      const files = readdirSync(folder)
        .filter((file) => file.endsWith(`.${kind}`))
        .sort();
      const entries = files.map((file) => {
        const text = readFileSync(join(folder, file), 'utf8').trimEnd();
        const escaped = text.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${');
        return `  '${file.slice(0, -kind.length - 1)}': \`${escaped}\`,\n`;
      });
      const module = `// Written by \`npm run embed\` from src/${kind}/. Edit those files.\nexport const ${kind} = {\n${entries.join('')}} as const;\n`;
      const target = join(root, place, name, 'src', `${kind}.gen.ts`);
      if (existsSync(target) && readFileSync(target, 'utf8') === module) continue;
      if (check) {
        console.error(`${place}/${name}/src/${kind}.gen.ts is stale: run \`npm run embed\``);
        stale++;
      } else {
        writeFileSync(target, module);
        console.log(`${place}/${name}/src/${kind}.gen.ts: ${files.length} files`);
      }
    }
  }
}

// Tables that are generated from sources need the loader of TypeScript.
const { status } = spawnSync(
  process.execPath,
  [
    '--conditions=@quorate/source',
    '--import',
    'tsx',
    join(import.meta.dirname, 'lock-backends.mjs'),
    ...process.argv.slice(2),
  ],
  { stdio: 'inherit', cwd: root },
);
process.exitCode = stale > 0 || status !== 0 ? 1 : 0;
