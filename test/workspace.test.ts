import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly sideEffects?: boolean;
  readonly exports: Record<string, string | { '@quorate/source': string }>;
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly peerDependenciesMeta?: Record<string, { optional: boolean }>;
  readonly devDependencies?: Record<string, string>;
  readonly quorate?: { floor: number };
}

const packages = readdirSync(join(root, 'packages')).map((folder) => ({
  folder,
  manifest: JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8')) as Manifest,
}));
const published = packages.filter(({ manifest }) => manifest.private !== true);

/** Files below `src` that an entry reaches through relative imports. */
function reachable(entry: string): string[] {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)\.js'/g)) {
      visit(join(file, '..', `${path ?? ''}.ts`));
    }
  };
  visit(entry);
  return [...seen];
}

describe.each(published)('packages/$folder', ({ folder, manifest }) => {
  const dir = join(root, 'packages', folder);

  it('depends on floors below its own only, and every peer is optional, ranged and tested', () => {
    const floors = new Map(packages.map((one) => [one.manifest.name, one.manifest.quorate?.floor]));
    const own = manifest.quorate?.floor;
    expect(own).toBeTypeOf('number');
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      expect(name, 'third-party modules are optional peers of a subpath').toMatch(/^@quorate\//);
      expect(floors.get(name)).toBeLessThan(own ?? -1);
    }
    for (const [name, range] of Object.entries(manifest.peerDependencies ?? {})) {
      expect(range).toMatch(/^[\^>~]/);
      expect(manifest.peerDependenciesMeta?.[name]?.optional, `${name} is optional`).toBe(true);
      expect(Object.keys(manifest.devDependencies ?? {}), `${name} is tested`).toContain(name);
    }
  });

  it('binds no limit in MySQL, which refuses a number as mysql2 sent it before 3.24', () => {
    const statements = join(dir, 'src/sql');
    const files = existsSync(statements) ? readdirSync(statements) : [];
    const binding = files.filter(
      (file) => file.includes('mysql') && /\blimit\s+\?/i.test(readFileSync(join(statements, file), 'utf8')),
    );
    expect(binding).toEqual([]);
  });

  it('imports no third-party module from its root entry', () => {
    for (const file of reachable(join(dir, 'src/index.ts'))) {
      for (const [, path] of readFileSync(file, 'utf8').matchAll(
        /^(?:import|export) (?!type)[^;]*?from '([^'.][^']*)'/gms,
      )) {
        expect(path, file).toMatch(/^(node:|@quorate\/)/);
      }
    }
  });

  it('has no side effects and publishes entries that exist', () => {
    expect(manifest.sideEffects).toBe(false);
    for (const target of Object.values(manifest.exports)) {
      expect(existsSync(join(dir, typeof target === 'string' ? target : target['@quorate/source']))).toBe(
        true,
      );
    }
  });

  it('has a README that begins with its promise, how to install it, and a snippet', () => {
    const readme = readFileSync(join(dir, 'README.md'), 'utf8');
    expect(readme).toMatch(new RegExp(`^# ${manifest.name}\\n\\n\\S`));
    const install = readme.indexOf(`npm install ${manifest.name}`);
    const snippet = readme.indexOf('```ts\n');
    expect(install).toBeGreaterThan(0);
    expect(snippet).toBeGreaterThan(install);
  });
});

it('the floors in docs/architecture.md are those in the manifests', () => {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const rows = [...page.matchAll(/^\| (\d) +\| ((?:`[a-z-]+`(?:, )?)+) +\|/gm)].flatMap(([, floor, names]) =>
    [...(names ?? '').matchAll(/`([a-z-]+)`/g)].map(([, name]) => [name ?? '', Number(floor)] as const),
  );
  const documented = new Map(rows);
  expect(documented.size).toBeGreaterThan(10);
  for (const { folder, manifest } of published) {
    expect(documented.get(folder), folder).toBe(manifest.quorate?.floor);
  }
});

it('the modules embedded from SQL and Lua files are current', () => {
  execFileSync(process.execPath, [join(root, 'scripts/embed.mjs'), '--check'], { stdio: 'pipe' });
});
