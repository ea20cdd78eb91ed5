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
  /** An event to stress, with what led to it; the rest is drawn pale. */
  readonly highlight?: Dot;
}

/** Where an event, or a missing one, is drawn. */
export interface Place {
  readonly dot: Dot;
  /** Undefined for a cause that is missing. */
  readonly event: CausalEvent<unknown> | undefined;
  readonly label: string;
  readonly labelBelow: boolean;
  readonly x: number;
  readonly y: number;
  /** The index of the node's line. */
  readonly row: number;
  readonly halfWidth: number;
  readonly pale: boolean;
}

/** The places of all events of a chain, in pixels. */
export interface Layout {
  /** By the event's name; see {@link nameOf}. */
  readonly places: ReadonlyMap<string, Place>;
  readonly lanes: readonly NodeId[];
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Half the height of an event's mark. */
export const RADIUS = 11;
/** The vertical distance of two lanes. */
export const LANE_HEIGHT = 92;
const MIN_COLUMN = 76;
const CHARACTER_WIDTH = 6.7;
const NODE_CHARACTER_WIDTH = 8.4;
const TITLE_HEIGHT = 34;
const MAX_LABEL = 28;
const MAX_NODE = 18;

/** `node:counter`. */
export function nameOf({ node, counter }: Dot): string {
  return `${node}:${counter}`;
}

/** The first characters of a long text. */
export function shorten(text: string, max = MAX_NODE): string {
  const characters = Array.from(text);
  return characters.length <= max ? text : `${characters.slice(0, max - 1).join('')}…`;
}

/** A line for each node and a column for each event, wide enough for the labels of neighbours on one line. */
export function layOut<T>(chain: CausalChain<T>, options: DrawOptions<T>): Layout {
  const label = options.label ?? (({ payload }) => (typeof payload === 'string' ? payload : ''));
  const { highlight } = options;
  const stressed = highlight && chain.events.find(({ dot }) => nameOf(dot) === nameOf(highlight));
  const missing = chain.links.filter((link) => link.missing);
  // Nodes in the order in which they appear: most arrows then point down and few of them cross.
  const lanes = [
    ...new Set([
      ...chain.events.map(({ dot }) => dot.node),
      ...missing.map(({ from }) => from.node).sort(compareNodes),
    ]),
  ];
  const rows = new Map(lanes.map((node, row) => [node, row]));
  const rowOf = ({ node }: Dot): number => rows.get(node) ?? 0;
  /** Above zero where more arrows come and go above an event than below it. */
  const balance = new Map<string, number>();
  for (const { from, to } of chain.links) {
    const down = Math.sign(rowOf(to) - rowOf(from));
    balance.set(nameOf(to), (balance.get(nameOf(to)) ?? 0) + down);
    balance.set(nameOf(from), (balance.get(nameOf(from)) ?? 0) - down);
  }

  const names = lanes.map((node) => Array.from(shorten(node)).length);
  const left = Math.round(20 + Math.max(0, ...names) * NODE_CHARACTER_WIDTH + 44);
  const top = 64 + (options.title === undefined ? 0 : TITLE_HEIGHT);
  const places = new Map<string, Place>();
  /** Where the last event of each line ends. */
  const ends = new Map<number, number>();
  let next = left;
  const place = (dot: Dot, event: CausalEvent<T> | undefined): void => {
    const row = rowOf(dot);
    const words = event === undefined ? 'missing' : shorten(label(event), MAX_LABEL);
    const halfWidth = Math.max(RADIUS, String(dot.counter).length * 3.6 + 5);
    const half = Math.max(MIN_COLUMN, words.length * CHARACTER_WIDTH + 14, halfWidth * 2 + 24) / 2;
    const x = Math.round(Math.max(next, (ends.get(row) ?? left - 12) + half));
    ends.set(row, x + half);
    next = x + MIN_COLUMN * 0.75;
    places.set(nameOf(dot), {
      dot,
      event,
      label: words,
      labelBelow: (balance.get(nameOf(dot)) ?? 0) > 0,
      x,
      y: top + row * LANE_HEIGHT,
      row,
      halfWidth,
      pale:
        stressed !== undefined &&
        event !== stressed &&
        (event === undefined ? !stressed.causes.covers(dot) : !happenedBefore(event, stressed)),
    });
  };
  for (const event of chain.events) {
    for (const { from, to } of missing)
      if (nameOf(to) === nameOf(event.dot) && !places.has(nameOf(from))) place(from, undefined);
    place(event.dot, event);
  }
  return {
    places,
    lanes,
    left,
    top,
    width: Math.ceil(Math.max(240, ...ends.values()) + 28),
    height: top + Math.max(0, lanes.length - 1) * LANE_HEIGHT + 58,
  };
}
