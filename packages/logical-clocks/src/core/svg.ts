import type { CausalChain, CausalLink } from './causal-chain.js';
import type { CausalEvent } from './event.js';
import { type DrawOptions, LANE_HEIGHT, layOut, nameOf, type Place, RADIUS, shorten } from './layout.js';

/** The palette of Okabe and Ito and more of its kind, which colour-blind readers can tell apart. */
const COLORS = ['#0072b2', '#c85400', '#00855f', '#b5569a', '#96700a', '#4b6cc1', '#7a5195', '#5f6b6d'];

const STYLE = `
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.page { fill: #ffffff; } .title { font-size: 16px; font-weight: 600; fill: #1f2328; }
.node { font-size: 14px; font-weight: 600; } .lane { stroke: #d0d7de; stroke-width: 2; }
.link { fill: none; stroke-width: 2; stroke-opacity: .75; } .absent { stroke-dasharray: 5 4; }
.event { stroke: #ffffff; stroke-width: 2; } .ghost { fill: #ffffff; stroke-width: 2; stroke-dasharray: 3 3; }
.label { text-anchor: middle; fill: #1f2328; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
.counter { text-anchor: middle; font-size: 11px; font-weight: 600; fill: #ffffff; } .pale { opacity: .28; }
@media (prefers-color-scheme: dark) {
.page, .ghost { fill: #0d1117; } .title, .label { fill: #e6edf3; } .lane { stroke: #30363d; }
.event, .label { stroke: #0d1117; } .node { filter: brightness(1.4); } }
`;

/**
 * A space-time diagram as one SVG document: a line for each node, its events from left to right in causal order with
 * their counters, and an arrow for each direct cause. Dashed marks are causes that are missing. It follows the
 * reader's light or dark theme, and the same chain gives the same text.
 */
export function toSvg<T>(chain: CausalChain<T>, options: DrawOptions<T> = {}): string {
  const { places, lanes, left, top, width, height } = layOut(chain, options);
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escapeXml(options.title ?? 'Causal chain')}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${width}" height="${height}" rx="10"/>`,
  ];
  if (options.title !== undefined)
    out.push(`<text class="title" x="20" y="30">${escapeXml(options.title)}</text>`);
  lanes.forEach((node, row) => {
    const y = top + row * LANE_HEIGHT;
    out.push(
      `<text class="node" x="20" y="${y + 5}" fill="${colorOf(row)}">${escapeXml(shorten(node))}</text>`,
      `<line class="lane" x1="${left - 24}" y1="${y}" x2="${width - 20}" y2="${y}"/>`,
    );
  });
  for (const link of chain.links) out.push(...drawLink(link, places));
  const highlight = options.highlight && nameOf(options.highlight);
  for (const [name, place] of places) out.push(drawEvent(place, name === highlight));
  return `${[...out, '</svg>'].join('\n')}\n`;
}

function drawEvent(place: Place, stressed: boolean): string {
  const { x, y, row, halfWidth, dot, event, pale } = place;
  const color = colorOf(row);
  const mark = (extra: number, attributes: string): string =>
    `<rect x="${x - halfWidth - extra}" y="${y - RADIUS - extra}" width="${(halfWidth + extra) * 2}" height="${(RADIUS + extra) * 2}" rx="${RADIUS + extra}" ${attributes}/>`;
  return [
    `<g${pale ? ' class="pale"' : ''}>`,
    `<title>${escapeXml(event === undefined ? `${nameOf(dot)} is missing` : describe(event))}</title>`,
    stressed ? mark(4, `fill="none" stroke="${color}" stroke-width="2"`) : '',
    event === undefined
      ? mark(-1, `class="ghost" stroke="${color}"`)
      : mark(0, `class="event" fill="${color}"`),
    `<text class="counter" x="${x}" y="${y + 4}"${event === undefined ? ` style="fill:${color}"` : ''}>${dot.counter}</text>`,
    `<text class="label" x="${x}" y="${place.labelBelow ? y + 30 : y - 20}">${escapeXml(place.label)}</text>`,
    '</g>',
  ].join('');
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function drawLink({ from, to, missing }: CausalLink, places: ReadonlyMap<string, Place>): string[] {
  const start = places.get(nameOf(from));
  const end = places.get(nameOf(to));
  if (start === undefined || end === undefined) return [];
  const via = around(start, end, places.values());
  const out = direction(start, via ?? end);
  const into = direction(via ?? start, end);
  const head = reach(end, into) + 3;
  const tail = along(start, out, reach(start, out));
  const color = colorOf(start.row);
  const pale = start.pale || end.pale ? ' class="pale"' : '';
  const curve = via === undefined ? 'L' : `Q${round(via.x)} ${round(via.y)} `;
  return [
    `<g${pale}><path class="link${missing ? ' absent' : ''}" stroke="${color}" d="M${tail} ${curve}${along(end, into, -head - 6)}"/>`,
    `<path fill="${color}" d="M${along(end, into, -head)} L${along(end, into, -head - 9, 4.5)} L${along(end, into, -head - 9, -4.5)} Z"/></g>`,
  ];
}

/** Where a link must bend so as not to run through an event that it has nothing to do with, if it must. */
function around(start: Place, end: Place, places: Iterable<Place>): Point | undefined {
  const { x, y } = direction(start, end);
  for (const other of places) {
    if (other === start || other === end) continue;
    const ahead = (other.x - start.x) * x + (other.y - start.y) * y;
    const aside = (other.y - start.y) * x - (other.x - start.x) * y;
    if (ahead <= 0 || ahead >= Math.hypot(end.x - start.x, end.y - start.y)) continue;
    if (Math.abs(aside) > other.halfWidth + 4) continue;
    // A quadratic curve passes its control point at half the distance: away from the event, by two marks.
    const bend = (aside > 0 ? -4 : 4) * RADIUS;
    return { x: (start.x + end.x) / 2 - y * bend, y: (start.y + end.y) / 2 + x * bend };
  }
  return undefined;
}

function direction(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  return { x: (to.x - from.x) / length, y: (to.y - from.y) / length };
}

/** The point that is so far from `origin` in a direction, and so far to its right. */
function along(origin: Point, { x, y }: Point, distance: number, aside = 0): string {
  return `${round(origin.x + x * distance - y * aside)} ${round(origin.y + y * distance + x * aside)}`;
}

/** From the middle of a mark to its rim, in a direction. */
function reach({ halfWidth }: Place, { x, y }: Point): number {
  if (halfWidth === RADIUS) return RADIUS;
  return Math.min(halfWidth / Math.abs(x), RADIUS / Math.abs(y));
}

function describe({ dot, hlc, causes }: CausalEvent<unknown>): string {
  return `${nameOf(dot)} at ${new Date(hlc.wall).toISOString()}+${hlc.logical}, after ${shorten(causes.toString(), 200)}`;
}

function colorOf(row: number): string {
  return COLORS[row % COLORS.length] ?? '';
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Control characters and lone surrogates are no XML, not even escaped. */
function escapeXml(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cs}]/gu, '\u{fffd}')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
