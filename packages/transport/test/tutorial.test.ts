import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const withoutBlankLines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');

it('the tutorial on links shows, block by block, all of the link over MessagePort that is published', () => {
  const tutorial = read('../../../docs/tutorials/write-a-link.md');
  const blocks = [...tutorial.matchAll(/^```ts no-run\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
  expect(blocks.length).toBeGreaterThan(5);
  expect(withoutBlankLines(blocks.join('\n'))).toEqual(withoutBlankLines(read('../src/worker.ts')));
});
