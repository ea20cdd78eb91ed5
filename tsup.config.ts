import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

// One configuration for every package: tsup runs in the package's folder, and the entries are what its
// `exports` publish, so that a subpath cannot be published without being built.
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string;
  exports: Record<string, string | { '@quorate/source': string }>;
};
const entry = Object.values(manifest.exports).flatMap((target) =>
  typeof target === 'string' ? [] : [target['@quorate/source']],
);

export default defineConfig({
  entry,
  format: ['esm', 'cjs'],
  target: 'node20',
  platform: 'node',
  // Subpaths import the package's own classes by its name. Left external, each class exists once per module
  // system, however many subpaths a service loads.
  external: [manifest.name],
  dts: { compilerOptions: { customConditions: [] } },
  sourcemap: true,
  clean: true,
  removeNodeProtocol: false,
});
