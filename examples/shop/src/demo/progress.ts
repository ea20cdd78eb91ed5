import { type ServiceName, SERVICES } from '../lib/names.js';
import { eachService } from './databases.js';
import type { PlacedOrder } from './drive.js';
import type { ServiceEvent } from './processes.js';
import { canRedraw, createPaint, hasColour, LiveBlock, type Output, pad, type Paint } from './terminal.js';

/** How often a plain line is written, at most. */
const LINE_EVERY_MS = 2_000;
const BAR_COLUMNS = 40;

interface ServiceState {
  up: boolean;
  pid: number;
  kills: number;
}

/** What the demo shows of itself while it runs: a block that is redrawn on a terminal, lines elsewhere. */
export class Progress {
  readonly services: Readonly<Record<ServiceName, ServiceState>> = eachService(() => ({
    up: false,
    pid: 0,
    kills: 0,
  }));
  placed = 0;
  readonly reasons = new Map<string, number>();
  readonly paint: Paint;
  /** What the demo is doing besides. */
  phase = '';
  #ended = 0;
  #confirmed = 0;
  #live: LiveBlock | undefined;
  #above: string[] = [];
  #shownAt = Number.NEGATIVE_INFINITY;
  #last = '';

  constructor(
    private readonly output: Output,
    env: NodeJS.ProcessEnv,
    private readonly total: number,
    /** Milliseconds since the demo began. */
    private readonly elapsed: () => number,
  ) {
    this.paint = createPaint(hasColour(output, env));
    if (canRedraw(output, env)) this.#live = new LiveBlock(output);
  }

  get kills(): number {
    return SERVICES.reduce((sum, name) => sum + this.services[name].kills, 0);
  }

  get confirmed(): number {
    return this.#confirmed;
  }

  get cancelled(): number {
    return this.#ended - this.#confirmed;
  }

  /** A line that stays. */
  say(line: string): void {
    if (this.#live === undefined || this.placed === 0) this.output.write(`${line}\n`);
    else this.#above.push(line);
  }

  ended({ order }: PlacedOrder): void {
    this.#ended++;
    if (order.state === 'confirmed') this.#confirmed++;
    else {
      const reason = shortReason(order.reason);
      this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    }
  }

  service({ service, type, pid, afterMs }: ServiceEvent): void {
    const state = this.services[service];
    state.pid = pid;
    state.up = type === 'up';
    if (type === 'killed') state.kills++;
    const { paint } = this;
    const at = paint('dim', clock(this.elapsed()));
    const who = `${pad(service, 12)} pid ${String(pid)}`;
    if (type === 'killed') this.say(`${at}  ${paint('red', 'SIGKILL')}  ${who}`);
    else if (type === 'crashed') this.say(`${at}  ${paint('red', 'CRASHED')}  ${who}`);
    else if (type === 'up' && state.kills > 0) {
      this.say(`${at}  ${paint('green', 'up     ')}  ${who}  after ${seconds(afterMs)}`);
    }
  }

  /** Shows what has changed. */
  tick(): void {
    if (this.placed === 0) return;
    if (this.#live !== undefined) {
      this.#live.draw(this.#block(), this.#above.splice(0));
      return;
    }
    const now = this.elapsed();
    if (now - this.#shownAt < LINE_EVERY_MS) return;
    const line = `${this.#figures()}${this.phase === '' ? '' : `; ${this.phase}`}`;
    if (line === this.#last) return;
    this.#shownAt = now;
    this.#last = line;
    this.output.write(`${clock(now)}  ${line}\n`);
  }

  /** Shows the last state; what is said from now on comes below it. */
  finish(): void {
    this.#shownAt = Number.NEGATIVE_INFINITY;
    this.tick();
    this.#live?.leave();
    this.#live = undefined;
  }

  #figures(): string {
    return (
      `${String(this.#ended)} of ${String(this.total)} orders ended: ${String(this.#confirmed)} confirmed, ` +
      `${String(this.cancelled)} cancelled, ${String(this.placed - this.#ended)} under way; ${String(this.kills)} killed`
    );
  }

  #block(): string[] {
    const { paint } = this;
    const done = Math.floor((BAR_COLUMNS * this.#ended) / this.total);
    const bar = paint('green', '█'.repeat(done)) + paint('dim', '░'.repeat(BAR_COLUMNS - done));
    const reasons = [...this.reasons].map(([reason, times]) => `${String(times)} ${reason}`).join(', ');
    return [
      '',
      `${bar}  ${paint('bold', `${String(this.#ended)}/${String(this.total)}`)} orders  ${paint('dim', clock(this.elapsed()))}`,
      `${paint('green', 'confirmed')} ${String(this.#confirmed)}   ${paint('yellow', 'cancelled')} ${String(this.cancelled)}` +
        `   under way ${String(this.placed - this.#ended)}${this.phase === '' ? '' : paint('dim', `   ${this.phase}`)}`,
      paint('dim', reasons === '' ? 'no order was cancelled yet' : reasons),
      SERVICES.map((name) => this.#light(name)).join('   '),
    ];
  }

  #light(name: ServiceName): string {
    const { up, kills } = this.services[name];
    const light = up ? this.paint('green', '●') : this.paint('red', '○');
    return `${light} ${name}${kills > 0 ? this.paint('dim', ` killed ${String(kills)}×`) : ''}`;
  }
}

/** `OUT_OF_STOCK: 1 × ...` as `out of stock`. */
export function shortReason(reason: string | null): string {
  const code = /^[A-Z_]+(?=:)/.exec(reason ?? '')?.[0] ?? 'unknown';
  return code === 'DEADLINE' ? 'timed out' : code.toLowerCase().replaceAll('_', ' ');
}

function clock(ms: number): string {
  const whole = Math.floor(ms / 1_000);
  return `${String(Math.floor(whole / 60)).padStart(2, '0')}:${String(whole % 60).padStart(2, '0')}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
