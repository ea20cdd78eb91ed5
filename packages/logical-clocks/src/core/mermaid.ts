import type { CausalChain } from './causal-chain.js';
import { type DrawOptions, layOut, nameOf } from './layout.js';

/** A Mermaid flowchart of the chain: a subgraph for each node, dashed boxes for causes that are missing. */
export function toMermaid<T>(chain: CausalChain<T>, options: DrawOptions<T> = {}): string {
  const { places, lanes } = layOut(chain, options);
  const ids = new Map([...places.keys()].map((name, at) => [name, `e${at}`]));
  const idOf = (name: string): string => ids.get(name) ?? '';
  const out: string[] = [];
  if (options.title !== undefined) out.push('---', `title: ${JSON.stringify(options.title)}`, '---');
  out.push('flowchart LR');
  lanes.forEach((node, row) => {
    out.push(`  subgraph n${row}["${escapeMermaid(node)}"]`, '    direction LR');
    for (const [name, { dot, event, label, row: own }] of places) {
      if (own !== row) continue;
      const words = label === '' ? `${dot.counter}` : `${dot.counter}: ${label}`;
      out.push(`    ${idOf(name)}["${escapeMermaid(words)}"]${event === undefined ? ':::missing' : ''}`);
    }
    out.push('  end');
  });
  for (const { from, to, missing } of chain.links)
    out.push(`  ${idOf(nameOf(from))} ${missing ? '-.->' : '-->'} ${idOf(nameOf(to))}`);
  if (chain.links.some(({ missing }) => missing)) out.push('  classDef missing stroke-dasharray: 4 3');
  const highlight = options.highlight && ids.get(nameOf(options.highlight));
  if (highlight !== undefined) out.push(`  style ${highlight} stroke-width:3px`);
  return `${out.join('\n')}\n`;
}

/** Mermaid's own escapes: whatever is not plain words as a character entity. */
function escapeMermaid(text: string): string {
  return text.replace(/[^\p{L}\p{N} .,:_…-]/gu, (character) => `#${character.codePointAt(0) ?? 0};`);
}
