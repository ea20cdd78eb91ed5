import { describe, expect, it } from 'vitest';
import { Progress, shortReason } from '../src/demo/progress.js';
import { canRedraw, hasColour, LiveBlock } from '../src/demo/terminal.js';

class Screen {
  text = '';

  constructor(
    readonly isTTY: boolean,
    readonly columns = 80,
  ) {}

  write(text: string): void {
    this.text += text;
  }
}

describe('what the demo writes', () => {
  it('has colours on a terminal unless NO_COLOR says otherwise, and redraws only there', () => {
    const [terminal, file] = [new Screen(true), new Screen(false)];
    expect(hasColour(terminal, {})).toBe(true);
    expect(hasColour(terminal, { NO_COLOR: '1' })).toBe(false);
    expect(hasColour(file, {})).toBe(false);
    expect(canRedraw(terminal, { NO_COLOR: '1' })).toBe(true);
    expect(canRedraw(terminal, { TERM: 'dumb' })).toBe(false);
  });

  it('is lines without escape codes where there is no terminal', () => {
    const file = new Screen(false);
    const progress = new Progress(file, {}, 10, () => 65_000);
    progress.say('hello');
    progress.service({ service: 'payment', type: 'starting', pid: 7, afterMs: 0, log: '' });
    progress.service({ service: 'payment', type: 'up', pid: 7, afterMs: 900, log: '' });
    progress.placed = 3;
    progress.service({ service: 'payment', type: 'killed', pid: 7, afterMs: 5_000, log: '' });
    progress.service({ service: 'payment', type: 'starting', pid: 8, afterMs: 0, log: '' });
    progress.service({ service: 'payment', type: 'up', pid: 8, afterMs: 1_234, log: '' });
    progress.tick();
    progress.tick();
    expect(file.text.split('\n')).toEqual([
      'hello',
      '01:05  SIGKILL  payment      pid 7',
      '01:05  up       payment      pid 8  after 1.2 s',
      '01:05  0 of 10 orders ended: 0 confirmed, 0 cancelled, 3 under way; 1 killed',
      '',
    ]);
  });

  it('draws a block over itself and never wider than the terminal', () => {
    const screen = new Screen(true, 20);
    const block = new LiveBlock(screen);
    block.draw(['one', `\x1b[31m${'x'.repeat(50)}\x1b[0m`]);
    block.draw(['two'], ['stays']);
    expect(screen.text).toBe(
      `\rone\x1b[K\n\x1b[31m${'x'.repeat(19)}\x1b[0m\x1b[K\n\x1b[J` +
        '\x1b[2A\rstays\x1b[K\ntwo\x1b[K\n\x1b[J',
    );
  });

  it.each([
    ['OUT_OF_STOCK: 1 × kettle wanted, 0 left', 'out of stock'],
    ['DEADLINE: TIMEOUT: ...', 'timed out'],
    [null, 'unknown'],
  ])('names the reason %j as %j', (reason, shown) => {
    expect(shortReason(reason)).toBe(shown);
  });
});
