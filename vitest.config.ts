import { defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';

// Sources are read through a private export condition: a test needs no build.
const conditions = ['@quorate/source', ...defaultServerConditions];

/**
 * - `unit` needs nothing but Node; one process, no isolation, so that it is quick
 * - `simulation` runs in virtual time, over many seeds
 * - `integration` talks to real servers, real processes and real sockets
 */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // Vitest loads the global set-up in an environment of its own.
  environments: { __vitest__: { resolve: { conditions } } },
  test: {
    reporters: ['default', './scripts/vitest-summary.mjs'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['**/test/integration/**', '**/test/simulation/**'],
          pool: 'threads',
          isolate: false,
          testTimeout: 30_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'simulation',
          include: ['packages/*/test/simulation/**/*.test.ts'],
          pool: 'threads',
          isolate: false,
          testTimeout: 300_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['{packages,examples}/*/test/integration/**/*.test.ts', 'test/integration/**/*.test.ts'],
          globalSetup: ['packages/testing/src/global-setup.ts'],
          setupFiles: ['packages/testing/src/end-with-run.ts'],
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 180_000,
        },
      },
    ],
    coverage: { provider: 'v8', include: ['packages/*/src/**'], reporter: ['text-summary', 'json-summary'] },
  },
});
