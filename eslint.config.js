import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { floors } from './eslint/floors.js';

const REASON =
  'Time and chance come from a Runtime (@quorate/runtime); only systemRuntime touches the real ones.';

/** Every way to the ambient clocks, timers and randomness. */
const ambient = {
  globals: ['setTimeout', 'setInterval'],
  properties: [
    ['Date', 'now'],
    ['Math', 'random'],
    ['performance', 'now'],
    ['performance', 'timeOrigin'],
    ...['globalThis', 'global', 'window'].flatMap((object) =>
      ['setTimeout', 'setInterval', 'crypto', 'performance', 'Date', 'Math'].map((property) => [
        object,
        property,
      ]),
    ),
    ...['randomBytes', 'randomUUID', 'randomInt', 'randomFill', 'randomFillSync', 'getRandomValues'].map(
      (property) => ['crypto', property],
    ),
    ['AbortSignal', 'timeout'],
  ],
  imports: [
    // The whole module under a name of the importer's choice would hide what is used of it.
    { name: 'timers', names: ['default', 'setTimeout', 'setInterval'] },
    { name: 'timers/promises', names: ['default', 'setTimeout', 'setInterval', 'scheduler'] },
    { name: 'perf_hooks', names: ['default', 'performance'] },
    {
      name: 'crypto',
      names: [
        'default',
        'randomBytes',
        'randomUUID',
        'randomInt',
        'randomFill',
        'randomFillSync',
        'getRandomValues',
        'webcrypto',
      ],
    },
  ].flatMap(({ name, names }) =>
    [name, `node:${name}`].map((path) => ({ name: path, importNames: names, message: REASON })),
  ),
};

/** What keeps code from using them. */
const noAmbient = {
  'no-restricted-globals': ['error', ...ambient.globals.map((name) => ({ name, message: REASON }))],
  'no-restricted-properties': [
    'error',
    ...ambient.properties.map(([object, property]) => ({ object, property, message: REASON })),
  ],
  'no-restricted-imports': ['error', { paths: ambient.imports }],
  'no-restricted-syntax': [
    'error',
    { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: REASON },
    { selector: "CallExpression[callee.name='Date']", message: REASON },
  ],
};

export default defineConfig(
  globalIgnores(['**/dist/', '**/coverage/', '**/.turbo/', 'docs/api/', '**/*.gen.ts']),
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [js.configs.recommended],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', URL: 'readonly', Buffer: 'readonly' },
    },
    rules: noAmbient,
  },
  {
    files: ['**/*.ts'],
    extends: [
      js.configs.recommended,
      tseslint.configs.strictTypeChecked,
      tseslint.configs.stylisticTypeChecked,
    ],
    plugins: { quorate: { rules: { floors } } },
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'quorate/floors': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-empty-function': 'off',
      ...noAmbient,
    },
  },
  {
    // A benchmark of several processes needs the clock that they share.
    files: ['packages/*/src/**', 'examples/*/src/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        ...[...ambient.properties, ['process', 'hrtime'], ['process', 'uptime']].map(
          ([object, property]) => ({
            object,
            property,
            message: REASON,
          }),
        ),
      ],
    },
  },
  {
    files: ['packages/runtime/src/system.ts'],
    rules: {
      'no-restricted-globals': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-imports': 'off',
    },
  },
);
