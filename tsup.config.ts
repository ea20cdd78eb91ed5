import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

// One configuration for every package: tsup runs in the package's folder, and the entries are what its
// `exports` publish, so that a subpath cannot be published without being built.
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string;
  exports: Record<string, string | { '@quorate/source': string }>;
};
/** Each import path of this package and the source behind it. */
const sources = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
  typeof target === 'string' ? [] : [[manifest.name + subpath.slice(1), target['@quorate/source']] as const],
);

export default defineConfig({
  entry: sources.map(([, source]) => source),
  format: ['esm', 'cjs'],
  target: 'node20',
  platform: 'node',
  // Subpaths import the package's own classes by its name. Left external, each class exists once per module
  // system, however many subpaths a service loads.
  external: [manifest.name],
  // Declarations are made against the built dependencies, and against this package's own sources.
  dts: {
    compilerOptions: {
      customConditions: [],
      paths: Object.fromEntries(sources.map(([name, source]) => [name, [source]])),
    },
  },
  esbuildOptions(options) {
    // Node 20 has them. Without this a literal with \p{…} becomes a `new RegExp` wherever it is used.
    options.supported = { 'regexp-unicode-property-escapes': true };
  },
  sourcemap: true,
  clean: true,
  removeNodeProtocol: false,
});
