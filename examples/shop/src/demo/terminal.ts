import { stripVTControlCharacters } from 'node:util';

/** Text with colours, or the same text without. */
export type Paint = (colour: Colour, text: string) => string;

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Colour = keyof typeof CODES;

export function createPaint(enabled: boolean): Paint {
  return enabled ? (colour, text) => `\x1b[${String(CODES[colour])}m${text}\x1b[0m` : (_, text) => text;
}

/** A terminal, or whatever else the output goes to. */
export interface Output {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Whether a block of lines can be drawn over itself. */
export function canRedraw(output: Output, env: NodeJS.ProcessEnv): boolean {
  return output.isTTY === true && env['TERM'] !== 'dumb';
}

/** https://no-color.org: any value but the empty one turns colours off. */
export function hasColour(output: Output, env: NodeJS.ProcessEnv): boolean {
  return canRedraw(output, env) && (env['NO_COLOR'] ?? '') === '';
}

/** Lines that are drawn over themselves, with lines that stay scrolling away above them. */
export class LiveBlock {
  #height = 0;

  constructor(private readonly output: Output) {}

  /** Draws the block anew, below lines that stay. */
  draw(lines: readonly string[], above: readonly string[] = []): void {
    const columns = this.output.columns ?? 80;
    const rewind = this.#height > 0 ? `\x1b[${String(this.#height)}A` : '';
    const rows = [...above, ...lines].map((line) => `${truncate(line, columns - 1)}\x1b[K\n`);
    this.output.write(`${rewind}\r${rows.join('')}\x1b[J`);
    this.#height = lines.length;
  }

  /** Leaves the block as it is, and what follows below it. */
  leave(): void {
    this.#height = 0;
  }
}

const ESCAPE = '\x1b';
const COLOUR = new RegExp(`(${ESCAPE}\\[\\d+m)`);

/** How many columns a text takes. */
export function widthOf(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}

/** A line that is wider than the terminal would wrap, and the block would no longer be drawn over itself. */
function truncate(line: string, columns: number): string {
  let kept = '';
  let room = columns;
  for (const part of line.split(COLOUR)) {
    if (part.startsWith(ESCAPE)) kept += part;
    else {
      const shown = Array.from(part).slice(0, room);
      kept += shown.join('');
      room -= shown.length;
    }
  }
  return kept;
}

/** Pads to a width in columns. */
export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}
