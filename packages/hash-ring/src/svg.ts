import { integerOption } from '@quorate/runtime';
import { balance } from './balance.js';
import { forEachRange, type MovementPlan, requireRanges } from './plan.js';
import { type RangedPlacement, type TokenRange, TOKENS } from './placement.js';

/** Options of {@link renderSvg}. */
export interface SvgOptions {
  /**
   * Height of the picture in pixels, from 200 to 4000.
   * @defaultValue 480
   */
  readonly sizePx?: number;
  /** A line above the picture. */
  readonly title?: string;
  /** A plan whose moves are drawn as outer circles, one for each replica, in the colour of the node that gets the copy. */
  readonly plan?: MovementPlan;
  /**
   * Ids in the order in which they take colours. Give pictures that are to be compared one list of all their nodes, and
   * each node has one colour in all of them.
   * @defaultValue the ids of the members, ascending
   */
  readonly colourOrder?: Iterable<string>;
}

/** More arcs than this cannot be told apart, and would make a picture of megabytes. */
const MAX_ARCS = 2048;
const MAX_LEGEND = 24;

/**
 * A picture of the circle of tokens as SVG: who owns what, and how much of it. Token 0 is at the top and tokens grow
 * clockwise. Beyond 2048 ranges the circle is sampled. Ids are escaped; the text has no scripts and no links.
 */
export function renderSvg(placement: RangedPlacement, options: SvgOptions = {}): string {
  requireRanges('placement', placement);
  const size = integerOption('sizePx', options.sizePx ?? 480, { min: 200, max: 4000 });
  const ids = new Set([...(options.colourOrder ?? []), ...placement.nodes.map(({ id }) => id)]);
  const colours = new Map([...ids].map((id, index) => [id, colourOf(index)]));
  const top = options.title === undefined ? 0 : 32;
  const centre = size / 2;
  const radius = size * 0.4;
  const band = size * 0.1;
  const arc = (range: TokenRange, from: number, to: number, fill: string, title: string): string =>
    `<path d="${sector(centre, centre + top, from, to, range)}" fill="${fill}"><title>${escape(title)}</title></path>`;
  const owned = arcsOf(placement).map(({ id, ...range }) =>
    arc(range, radius - band, radius, colours.get(id) ?? '#ccc', `${id}: ${describe(range)}`),
  );
  const lane = (band * 0.75) / Math.max(1, options.plan?.replicas ?? 1);
  const moving = (options.plan?.moves ?? []).map((move) =>
    arc(
      move,
      radius + band * 0.12 + lane * move.replica,
      radius + band * 0.12 + lane * (move.replica + 0.88),
      colours.get(move.to) ?? '#ccc',
      `${move.from[0] ?? '?'} to ${move.to} (replica ${String(move.replica)}): ${describe(move)}`,
    ),
  );
  const { strategy, epoch, nodes, checksum } = placement;
  const legend = legendOf(placement, colours, size, top);
  const text = (y: number, pixels: number, content: string): string =>
    `<text x="${num(centre)}" y="${num(centre + top + y)}" font-size="${String(pixels)}" text-anchor="middle">${escape(content)}</text>`;
  const width = size + Math.round(Math.max(260, size * 0.55));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${String(width)}" height="${String(size + top)}" viewBox="0 0 ${String(width)} ${String(size + top)}" font-family="system-ui, sans-serif" fill="#1b1f24">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    options.title === undefined
      ? ''
      : `<text x="16" y="24" font-size="17" font-weight="600">${escape(options.title)}</text>`,
    ...owned,
    ...moving,
    text(-12, 17, `${strategy}, ${String(nodes.length)} ${nodes.length === 1 ? 'node' : 'nodes'}`),
    text(10, 13, `epoch ${String(epoch)}`),
    text(30, 12, checksum),
    options.plan === undefined ? '' : text(52, 13, `${percent(options.plan.movedFraction)} of copies move`),
    ...legend,
    '</svg>',
    '',
  ]
    .filter((line, index, all) => line !== '' || index === all.length - 1)
    .join('\n');
}

interface OwnedArc extends TokenRange {
  readonly id: string;
}

/** The owners around the circle, neighbours joined, in at most {@link MAX_ARCS} arcs. */
function arcsOf(placement: RangedPlacement): OwnedArc[] {
  const arcs: OwnedArc[] = [];
  const push = (start: number, end: number): void => {
    const id = placement.pickToken(end, 1)[0];
    if (id === undefined) return;
    const last = arcs.at(-1);
    if (last?.id === id && last.end === start - 1) arcs[arcs.length - 1] = { ...last, end };
    else arcs.push({ id, start, end });
  };
  const ends = placement.rangeEnds();
  if (ends.length <= MAX_ARCS) {
    forEachRange(ends, ends, push);
  } else {
    const step = TOKENS / MAX_ARCS;
    for (let start = 0; start < TOKENS; start += step) push(start, start + step - 1);
  }
  return arcs;
}

function legendOf(
  placement: RangedPlacement,
  colours: ReadonlyMap<string, string>,
  size: number,
  top: number,
): string[] {
  const nodes = [...balance(placement).nodes].sort((a, b) => b.share - a.share);
  const shown = nodes.slice(0, MAX_LEGEND);
  const row = Math.min(36, (size - 40) / (shown.length + 1));
  const most = shown[0]?.share ?? 1;
  const left = size + 8;
  const lines = shown.map(({ id, share, expected }, index) => {
    const y = top + 28 + index * row;
    const length = most === 0 ? 0 : (share / most) * size * 0.42;
    const label = `${shorten(id)}  ${percent(share)} (fair ${percent(expected)})`;
    return (
      `<rect x="${num(left)}" y="${num(y)}" width="${num(Math.max(1, length))}" height="${num(row * 0.3)}" rx="2" fill="${colours.get(id) ?? '#ccc'}"/>` +
      `<text x="${num(left)}" y="${num(y - 3)}" font-size="${num(Math.min(13, row * 0.5))}">${escape(label)}</text>`
    );
  });
  const rest = nodes.length - shown.length;
  if (rest > 0) {
    const y = top + 28 + shown.length * row;
    lines.push(`<text x="${num(left)}" y="${num(y)}" font-size="12">and ${String(rest)} more</text>`);
  }
  return lines;
}

/** A ring sector between two radii. */
function sector(x: number, y: number, inner: number, outer: number, { start, end }: TokenRange): string {
  const from = start / TOKENS;
  // A full circle as one arc would have equal ends, and so be nothing.
  const to = Math.min((end + 1) / TOKENS, from + 0.99999);
  const large = to - from > 0.5 ? 1 : 0;
  const at = (radius: number, turn: number): string =>
    `${num(x + radius * Math.sin(2 * Math.PI * turn))} ${num(y - radius * Math.cos(2 * Math.PI * turn))}`;
  return (
    `M${at(outer, from)}A${num(outer)} ${num(outer)} 0 ${String(large)} 1 ${at(outer, to)}` +
    `L${at(inner, to)}A${num(inner)} ${num(inner)} 0 ${String(large)} 0 ${at(inner, from)}Z`
  );
}

/** Eight that also colour-blind readers tell apart (after M. Okabe and K. Ito), then hues by the golden angle. */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#d55e00', '#56b4e9', '#8a6d3b', '#6a4fb3'];

function colourOf(index: number): string {
  const hue = Math.round(index * 137.508) % 360;
  return COLOURS[index] ?? `hsl(${String(hue)} 58% ${String(38 + 12 * (index % 3))}%)`;
}

/** Names of one fleet differ at the end as often as at the start. */
function shorten(id: string): string {
  return id.length > 24 ? `${id.slice(0, 11)}…${id.slice(-12)}` : id;
}

function describe({ start, end }: TokenRange): string {
  return `tokens ${String(start)} to ${String(end)}`;
}

function percent(fraction: number): string {
  return `${(fraction * 100).toFixed(1)} %`;
}

function num(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${String(character.charCodeAt(0))};`);
}
