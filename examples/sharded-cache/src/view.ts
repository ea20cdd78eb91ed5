import { balance, type MovementPlan, type RangedPlacement, renderSvg, TOKENS } from '@quorate/hash-ring';
import { REPLICAS } from './cluster.js';

const MAX_CIRCLE = 96;
const MAX_BAR = 30;
const COLOURS = [36, 33, 32, 35, 31, 34, 96, 93, 92, 95, 91, 94];

/** How wide lines may be: that of the terminal, if it is one. */
function columns(): number {
  return Math.max(40, process.stdout.isTTY ? process.stdout.columns : 100);
}

/** Escape codes only where somebody looks at them. */
function paint(text: string, index: number): string {
  if (!process.stdout.isTTY || process.env['NO_COLOR'] !== undefined) return text;
  return `\u001b[${String(COLOURS[index % COLOURS.length])}m${text}\u001b[0m`;
}

/**
 * The circle of tokens, cut open and laid flat, with the share of each node. `all` are the nodes of the whole run, so that
 * each keeps its colour.
 */
export function terminalView(placement: RangedPlacement, all: readonly string[]): string {
  const width = Math.min(MAX_CIRCLE, columns() - 4);
  let circle = '';
  for (let column = 0; column < width; column++) {
    const [owner = '.'] = placement.pickToken(Math.floor(((column + 0.5) * TOKENS) / width), 1);
    circle += paint(owner.slice(-1), all.indexOf(owner));
  }
  const { nodes } = balance(placement, { replicas: REPLICAS });
  const most = Math.max(...nodes.map(({ share }) => share));
  const shares = nodes.map(({ id, share }) => {
    const bar = '#'.repeat(Math.round((share / most) * Math.min(MAX_BAR, width - 22)));
    return `  ${id.padEnd(10)} ${(share * 100).toFixed(1).padStart(5)} % ${paint(bar, all.indexOf(id))}`;
  });
  return [`  [${circle}]`, ...shares].join('\n');
}

/** One line that is drawn over itself on a terminal, and only at the end elsewhere. */
export function progressLine(done: number, total: number, fraction: number): void {
  if (total === 0 || (!process.stdout.isTTY && done < total)) return;
  const count = `${String(done).padStart(String(total).length)} of ${String(total)} moves`;
  const bar = Math.min(MAX_BAR, columns() - count.length - 6);
  const filled = '='.repeat(Math.round(fraction * bar)).padEnd(bar);
  const line = `  [${filled}] ${count}`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}${done === total ? '\n' : ''}` : `${line}\n`);
}

/** Names and facts, one below the other, broken between words where the terminal is narrow. */
export function factLines(facts: Readonly<Record<string, string>>): string {
  const indent = 13;
  return Object.entries(facts)
    .map(([name, fact]) => {
      let text = `  ${name.padEnd(indent - 2)}`;
      let used = indent;
      for (const word of fact.split(' ')) {
        if (used + word.length >= columns() && used > indent) {
          text = `${text.trimEnd()}\n${' '.repeat(indent)}`;
          used = indent;
        }
        text += `${word} `;
        used += word.length + 1;
      }
      return text.trimEnd();
    })
    .join('\n');
}

/** What happened, as pictures for {@link page}. */
export interface Scene {
  readonly title: string;
  readonly placement: RangedPlacement;
  readonly plan: MovementPlan;
  /** Names and facts. */
  readonly facts: Readonly<Record<string, string>>;
}

/** A web page of all scenes, in one file. */
export function page(scenes: readonly Scene[], all: readonly string[]): string {
  const sections = scenes.map(({ title, placement, plan, facts }) => {
    const svg = renderSvg(placement, { title, plan, sizePx: 420, colourOrder: all });
    const lines = Object.entries(facts).map(([name, fact]) => `<dt>${name}</dt><dd>${fact}</dd>`);
    return `<section>${svg}<dl>${lines.join('')}</dl></section>`;
  });
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<meta charset="utf-8">',
    '<title>A sharded cache, and how its keys moved</title>',
    '<style>body{font-family:system-ui,sans-serif;margin:2rem;color:#1b1f24}section{margin-bottom:3rem}svg{max-width:100%;height:auto}dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dt{color:#57606a}dd{margin:0}</style>',
    '<h1>A sharded cache, and how its keys moved</h1>',
    '<p>The inner circle shows who owns which tokens; the two outer ones show the first and the second copies that moved, in the colour of the node that got them.</p>',
    ...sections,
    '</html>',
    '',
  ].join('\n');
}
