import { join } from 'node:path';
import { ESLint } from 'eslint';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

// In CI typescript-eslint takes it that each file is linted once, as it is on the disk: not the text that is given here.
process.env['TSESTREE_SINGLE_RUN'] = 'false';

/** Each line breaks one rule of the house; behind it the rule that has to say so. */
const BROKEN = `
import * as whole from 'node:crypto'; // no-restricted-imports
import nodeCrypto from 'node:crypto'; // no-restricted-imports
import { randomUUID } from 'node:crypto'; // no-restricted-imports
import { randomBytes as bytes } from 'crypto'; // no-restricted-imports
import { performance as clock } from 'node:perf_hooks'; // no-restricted-imports
import timers from 'node:timers'; // no-restricted-imports
import { setTimeout as wait } from 'node:timers/promises'; // no-restricted-imports
import { defineTcc } from '@quorate/tcc-saga'; // quorate/floors
export { pgDatabase } from '@quorate/sql/pg'; // quorate/floors
async function later(): Promise<void> { await wait(1); }
later(); // @typescript-eslint/no-floating-promises
[1].forEach(async () => { await later(); }); // @typescript-eslint/no-misused-promises
export const all = [
  whole, nodeCrypto, randomUUID, bytes, clock, timers, defineTcc,
  Date.now(), // no-restricted-properties
  new Date(), // no-restricted-syntax
  Math.random, // no-restricted-properties
  performance.now(), // no-restricted-properties
  process.hrtime.bigint(), // no-restricted-properties
  setTimeout(later, 1), // no-restricted-globals
  setInterval(later, 1), // no-restricted-globals
  crypto.randomUUID(), // no-restricted-properties
  crypto.getRandomValues(new Uint8Array(1)), // no-restricted-properties
  globalThis.crypto, // no-restricted-properties
  globalThis.performance.now(), // no-restricted-properties
  globalThis.Date, // no-restricted-properties
  AbortSignal.timeout(1), // no-restricted-properties
  import('@quorate/tcc-saga'), // quorate/floors
  import('../../sql/src/index.js'), // quorate/floors
];
`;

it('the linter refuses floating promises, ambient time and chance, and imports that climb a floor', async () => {
  const eslint = new ESLint({ cwd: root });
  const [result] = await eslint.lintText(BROKEN, { filePath: join(root, 'packages/transport/src/index.ts') });
  const lines = BROKEN.split('\n');
  const expected = lines.flatMap((text, index) => {
    const rule = / \/\/ (\S+)$/.exec(text)?.[1];
    return rule === undefined ? [] : [`${String(index + 1)}: ${rule}`];
  });
  const said = new Set(result?.messages.map(({ line, ruleId }) => `${String(line)}: ${ruleId ?? ''}`));
  expect(expected.filter((one) => !said.has(one))).toEqual([]);
}, 120_000);

it('and takes the real clock and the real chance in the one file that implements the system runtime', async () => {
  const eslint = new ESLint({ cwd: root });
  const [result] = await eslint.lintFiles([join(root, 'packages/runtime/src/system.ts')]);
  expect(result?.messages).toEqual([]);
}, 120_000);
