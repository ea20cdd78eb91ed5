import type { CausalChain } from './causal-chain.js';
import { type CausalEvent, happenedBefore } from './event.js';
import { compareNodes, type NodeId } from './node.js';
import type { Dot } from './version-vector.js';

/** What a drawing shows besides the events and their links. */
export interface DrawOptions<T> {
  /**
   * The words beside an event.
   * @defaultValue the payload if it is text, else nothing
   */
  readonly label?: (event: CausalEvent<T>) => string;
  /** The heading of the drawing. */
  readonly title?: string;
  /** An event to stress. What led to it is stressed too; the rest is drawn pale. */
  readonly highlight?: Dot;
}

const LANE_HEIGHT = 92;
const MIN_COLUMN = 72;
const CHARACTER = 6.7;
const TOP = 28;
const TITLE_HEIGHT = 34;
const RADIUS = 8;
const MAX_LABEL = 28;
/** Okabe and Ito's palette, which colour-blind readers can tell apart. */
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b8860b', '#4b6cc1', '#7a5195', '#5f6b6d'];

/**
 * A space-time diagram as one SVG document: a line for each node, its events from left to right in causal order, and
 * an arrow for each direct cause on another node. Dashed circles are causes that are missing. Follows the reader's
 * light or dark theme. The same chain gives the same text.
 */
export function toSvg<T>(chain: CausalChain<T>, options: DrawOptions<T> = {}): string {
  const layout = layOut(chain, options);
  const { places, ghosts, lanes, width, height, top } = layout;
  const out: string[] = [];
  const title = options.title ?? 'Causal chain';
  out.push(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${width}" height="${height}" rx="10"/>`,
  );
  if (options.title !== undefined)
    out.push(`<text class="title" x="20" y="30">${escapeXml(options.title)}</text>`);
  lanes.forEach((node, row) => {
    const y = top + row * LANE_HEIGHT;
    out.push(
      `<text class="node" x="20" y="${y + 5}" fill="${colorOf(row)}">${escapeXml(shorten(node, 18))}</text>`,
      `<line class="lane" x1="${layout.left - 24}" y1="${y}" x2="${width - 20}" y2="${y}"/>`,
    );
  });
  for (const { from, to, missing } of chain.links) {
    const start = (missing ? ghosts : places).get(nameOf(from));
    const end = places.get(nameOf(to));
    if (start === undefined || end === undefined) continue;
    const classes = ['link', missing ? 'absent' : '', end.pale || start.pale ? 'pale' : '']
      .filter(Boolean)
      .join(' ');
    out.push(`<path class="${classes}" stroke="${colorOf(start.row)}" d="${arrow(start, end)}"/>`);
    out.push(arrowHead(start, end, colorOf(start.row), end.pale || start.pale));
  }
  for (const [name, { x, y, row }] of ghosts) {
    out.push(
      `<g><title>${escapeXml(name)} is missing</title><circle class="ghost" cx="${x}" cy="${y}" r="${RADIUS - 1}" stroke="${colorOf(row)}"/>`,
      `<text class="dot" x="${x}" y="${y + 24}">${escapeXml(name.slice(name.lastIndexOf(':') + 1))}?</text></g>`,
    );
  }
  for (const event of chain.events) {
    const place = places.get(nameOf(event.dot));
    if (place === undefined) continue;
    const { x, y, row, pale, label } = place;
    const stressed = options.highlight !== undefined && nameOf(options.highlight) === nameOf(event.dot);
    out.push(
      `<g${pale ? ' class="pale"' : ''}><title>${escapeXml(describe(event))}</title>`,
      ...(stressed
        ? [
            `<circle cx="${x}" cy="${y}" r="${RADIUS + 5}" fill="none" stroke="${colorOf(row)}" stroke-width="2"/>`,
          ]
        : []),
      `<circle class="event" cx="${x}" cy="${y}" r="${RADIUS}" fill="${colorOf(row)}"/>`,
      `<text class="label" x="${x}" y="${y - 17}">${escapeXml(label)}</text>`,
      `<text class="dot" x="${x}" y="${y + 24}">${event.dot.counter}</text></g>`,
    );
  }
  out.push('</svg>');
  return `${out.join('\n')}\n`;
}

/** A Mermaid flowchart of the chain: a subgraph for each node, dashed boxes for causes that are missing. */
export function toMermaid<T>(chain: CausalChain<T>, options: DrawOptions<T> = {}): string {
  const { places, ghosts, lanes } = layOut(chain, options);
  const ids = new Map([...places.keys(), ...ghosts.keys()].map((name, at) => [name, `e${at}`]));
  const out: string[] = [];
  if (options.title !== undefined) out.push('---', `title: ${JSON.stringify(options.title)}`, '---');
  out.push('flowchart LR');
  lanes.forEach((node, row) => {
    out.push(`  subgraph n${row}["${escapeMermaid(node)}"]`, '    direction LR');
    for (const [name, place] of [...places, ...ghosts]) {
      if (place.row !== row) continue;
      const counter = name.slice(name.lastIndexOf(':') + 1);
      const words = place.label === '' ? counter : `${counter}: ${place.label}`;
      out.push(`    ${ids.get(name) ?? ''}["${escapeMermaid(words)}"]${place.ghost ? ':::missing' : ''}`);
    }
    out.push('  end');
  });
  for (const { from, to, missing } of chain.links)
    out.push(`  ${ids.get(nameOf(from)) ?? ''} ${missing ? '-.->' : '-->'} ${ids.get(nameOf(to)) ?? ''}`);
  if (ghosts.size > 0) out.push('  classDef missing stroke-dasharray: 4 3');
  if (options.highlight !== undefined) {
    out.push(`  style ${ids.get(nameOf(options.highlight)) ?? ''} stroke-width:3px`);
  }
  return `${out.join('\n')}\n`;
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly row: number;
  readonly label: string;
  readonly pale: boolean;
  readonly ghost: boolean;
}

interface Layout {
  readonly places: ReadonlyMap<string, Place>;
  readonly ghosts: ReadonlyMap<string, Place>;
  readonly lanes: readonly NodeId[];
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A column for each event, wide enough for its label and its neighbour's on the same lane. */
function layOut<T>(chain: CausalChain<T>, options: DrawOptions<T>): Layout {
  const label = options.label ?? (({ payload }) => (typeof payload === 'string' ? payload : ''));
  const stressed = chain.events.find(
    ({ dot }) => options.highlight !== undefined && nameOf(dot) === nameOf(options.highlight),
  );
  const missing = chain.links.filter((link) => link.missing);
  const lanes = [
    ...new Set([...chain.events.map(({ dot }) => dot.node), ...missing.map(({ from }) => from.node)]),
  ].sort(compareNodes);
  const rows = new Map(lanes.map((node, row) => [node, row]));
  const top = TOP + LANE_HEIGHT / 2 - 10 + (options.title === undefined ? 0 : TITLE_HEIGHT);
  const left = 20 + Math.max(0, ...lanes.map((node) => shorten(node, 18).length)) * 8.2 + 44;
  const places = new Map<string, Place>();
  const ghosts = new Map<string, Place>();
  /** Where the last event of a lane ends. */
  const ends = new Map<number, number>();
  let next = left;
  const place = (node: NodeId, words: string, ghost: boolean, pale: boolean): Place => {
    const row = rows.get(node) ?? 0;
    const half = Math.max(MIN_COLUMN, words.length * CHARACTER + 14) / 2;
    const x = Math.round(Math.max(next, (ends.get(row) ?? left - 12) + half, left + half - MIN_COLUMN / 2));
    ends.set(row, x + half);
    next = x + MIN_COLUMN * 0.75;
    return { x, y: top + row * LANE_HEIGHT, row, label: words, pale, ghost };
  };
  for (const event of chain.events) {
    for (const { from, to } of missing) {
      if (nameOf(to) === nameOf(event.dot) && !ghosts.has(nameOf(from)))
        ghosts.set(nameOf(from), place(from.node, '', true, false));
    }
    const pale = stressed !== undefined && stressed !== event && !happenedBefore(event, stressed);
    places.set(nameOf(event.dot), place(event.dot.node, shorten(label(event), MAX_LABEL), false, pale));
  }
  return {
    places,
    ghosts,
    lanes,
    left: Math.round(left),
    top,
    width: Math.ceil(Math.max(240, ...ends.values()) + 28),
    height: Math.ceil(top + Math.max(0, lanes.length - 1) * LANE_HEIGHT + LANE_HEIGHT / 2 + 8),
  };
}

/** From the rim of one circle to the rim of the other; a gentle curve between lanes. */
function arrow(from: Place, to: Place): string {
  if (from.row === to.row) return `M${from.x + RADIUS} ${from.y} L${to.x - RADIUS - 5} ${to.y}`;
  const { startX, startY, endX, endY } = rims(from, to);
  return `M${round(startX)} ${round(startY)} L${round(endX)} ${round(endY)}`;
}

function rims(
  from: Place,
  to: Place,
): { startX: number; startY: number; endX: number; endY: number; ux: number; uy: number } {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const ux = (to.x - from.x) / length;
  const uy = (to.y - from.y) / length;
  return {
    ux,
    uy,
    startX: from.x + ux * RADIUS,
    startY: from.y + uy * RADIUS,
    endX: to.x - ux * (RADIUS + 6),
    endY: to.y - uy * (RADIUS + 6),
  };
}

function arrowHead(from: Place, to: Place, color: string, pale: boolean): string {
  const { ux, uy } = rims(from, to);
  const tipX = to.x - ux * (RADIUS + 2);
  const tipY = to.y - uy * (RADIUS + 2);
  const points = [
    [tipX, tipY],
    [tipX - ux * 8 - uy * 4, tipY - uy * 8 + ux * 4],
    [tipX - ux * 8 + uy * 4, tipY - uy * 8 - ux * 4],
  ].map((point) => point.map((value) => round(value)).join(' '));
  return `<path${pale ? ' class="pale"' : ''} fill="${color}" d="M${points.join(' L')} Z"/>`;
}

const STYLE = `
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.page { fill: #ffffff; } .title { font-size: 16px; font-weight: 600; fill: #1f2328; } .node { font-size: 14px; font-weight: 600; }
.lane { stroke: #d0d7de; stroke-width: 2; } .link { fill: none; stroke-width: 2; stroke-opacity: .75; }
.absent { stroke-dasharray: 5 4; } .event { stroke: #ffffff; stroke-width: 2; } .ghost { fill: #ffffff; stroke-width: 2; stroke-dasharray: 3 3; }
.label { text-anchor: middle; fill: #1f2328; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; } .dot { text-anchor: middle; font-size: 11px; fill: #656d76; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.pale { opacity: .25; }
@media (prefers-color-scheme: dark) { .page, .ghost { fill: #0d1117; } .title, .label { fill: #e6edf3; } .lane { stroke: #30363d; } .event, .label, .dot { stroke: #0d1117; } .dot { fill: #8d96a0; } }
`;

function nameOf({ node, counter }: Dot): string {
  return `${node}:${counter}`;
}

function describe({ dot, hlc, causes }: CausalEvent<unknown>): string {
  return `${nameOf(dot)} at ${new Date(hlc.wall).toISOString()}+${hlc.logical}, after ${causes.toString()}`;
}

function colorOf(row: number): string {
  return COLORS[row % COLORS.length] ?? '#0072b2';
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function shorten(text: string, max: number): string {
  return text.length <= max
    ? text
    : `${Array.from(text)
        .slice(0, max - 1)
        .join('')}…`;
}

/** Control characters are no XML, not even escaped. */
function escapeXml(text: string): string {
  return text
    .replace(/[^\P{Cc}]|\p{Cs}/gu, '\u{fffd}')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Mermaid's own escapes: anything but plain words as a character entity. */
function escapeMermaid(text: string): string {
  return text.replace(/[^\p{L}\p{N} .,:_…-]/gu, (character) => `#${character.codePointAt(0) ?? 0};`);
}
