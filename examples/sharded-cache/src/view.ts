import { balance, type MovementPlan, type RangedPlacement, renderSvg, TOKENS } from '@quorate/hash-ring';
import { REPLICAS } from './cluster.js';

const COLUMNS = 96;
const BAR = 30;
const COLOURS = [31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96];

/** Escape codes only where somebody looks at them. */
function paint(text: string, index: number): string {
  return process.stdout.isTTY ? `\u001b[${String(COLOURS[index % COLOURS.length])}m${text}\u001b[0m` : text;
}

/** The circle of tokens, cut open and laid flat, with the share of each node. */
export function terminalView(placement: RangedPlacement): string {
  const letters = new Map(placement.nodes.map(({ id }, index) => [id, { letter: id.slice(-1), index }]));
  let circle = '';
  for (let column = 0; column < COLUMNS; column++) {
    const [owner = ''] = placement.pickToken(Math.floor(((column + 0.5) * TOKENS) / COLUMNS), 1);
    const { letter, index } = letters.get(owner) ?? { letter: '.', index: 0 };
    circle += paint(letter, index);
  }
  const shares = balance(placement, { replicas: REPLICAS }).nodes.map(({ id, share }) => {
    const bar = '#'.repeat(Math.round(share * BAR * 2));
    return `  ${id.padEnd(10)} ${(share * 100).toFixed(1).padStart(5)} % ${paint(bar, letters.get(id)?.index ?? 0)}`;
  });
  return [`  [${circle}]`, ...shares].join('\n');
}

/** One line that is drawn over itself on a terminal, and only at the end elsewhere. */
export function progressLine(done: number, total: number, fraction: number): void {
  if (!process.stdout.isTTY && done < total) return;
  const filled = Math.round(fraction * BAR);
  const bar = `${'='.repeat(filled)}${' '.repeat(BAR - filled)}`;
  const line = `  [${bar}] ${String(done)} of ${String(total)} moves`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}${done === total ? '\n' : ''}` : `${line}\n`);
}

/** What happened, as pictures for {@link page}. */
export interface Scene {
  readonly title: string;
  readonly placement: RangedPlacement;
  readonly plan: MovementPlan;
  readonly text: string;
}

/** A web page of all scenes, in one file. */
export function page(scenes: readonly Scene[]): string {
  const sections = scenes.map(
    ({ title, placement, plan, text }) =>
      `<section>${renderSvg(placement, { title, plan, sizePx: 420 })}<p>${text}</p></section>`,
  );
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<meta charset="utf-8">',
    '<title>A sharded cache, and how its keys moved</title>',
    '<style>body{font-family:system-ui,sans-serif;margin:2rem;color:#1b1f24}section{margin-bottom:2rem}svg{max-width:100%;height:auto}</style>',
    '<h1>A sharded cache, and how its keys moved</h1>',
    '<p>The inner circle shows who owns which tokens; the outer one the copies that moved, in the colour of the node that got them.</p>',
    ...sections,
    '</html>',
    '',
  ].join('\n');
}
