import { seededRandom } from '@quorate/runtime';
import { EventHeap } from './event-heap.js';
import { Trace } from './trace.js';

/** A process that events belong to: a dead one gets none any more, a paused one gets them late. */
export interface Owner {
  alive: boolean;
  paused: boolean;
  /** What fell due while it was paused. */
  held: SimEvent[];
}

/** Something that will happen. */
export interface SimEvent {
  at: number;
  order: number;
  readonly owner: Owner | undefined;
  readonly kind: string;
  readonly who: string;
  readonly detail: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Virtual time, the events to come, the chance of one seed, and the trace of what happened. Pure: nobody else's clock. */
export class Clockwork {
  readonly trace: Trace;
  readonly random: () => number;
  nowMs = 0;
  steps = 0;
  readonly #heap = new EventHeap<SimEvent>();
  #orders = 0;

  readonly #seed: number;

  constructor(seed: number, tail: number) {
    this.trace = new Trace(tail);
    this.random = seededRandom(seed);
    this.#seed = seed;
  }

  /**
   * Chance for one purpose: what others draw does not change it, so that a run with a fault less stays like the run
   * with it for as long as it can.
   */
  stream(purpose: string): () => number {
    let low = this.#seed | 0;
    let high = Math.floor(this.#seed / 2 ** 32) | 0;
    for (let at = 0; at < purpose.length; at++) {
      low = Math.imul(low ^ purpose.charCodeAt(at), 0x01000193);
      high = Math.imul(high ^ low ^ (low >>> 15), 0x85ebca6b);
    }
    return seededRandom((high & 0xfffff) * 2 ** 32 + (low >>> 0));
  }

  schedule(
    delayMs: number,
    owner: Owner | undefined,
    kind: string,
    who: string,
    detail: number,
    run: () => void,
  ): SimEvent {
    const at = this.nowMs + Math.max(0, delayMs);
    const event: SimEvent = { at, order: this.#orders++, owner, kind, who, detail, run, cancelled: false };
    this.#heap.push(event);
    return event;
  }

  /** Schedules what a pause held back, now and in its order. */
  release(owner: Owner): void {
    const held = owner.held;
    owner.held = [];
    for (const event of held) {
      if (event.cancelled) continue;
      event.at = this.nowMs;
      event.order = this.#orders++;
      this.#heap.push(event);
    }
  }

  /** Runs the next event that is due by `until`; false where there is none. */
  step(until: number): boolean {
    for (;;) {
      const next = this.#heap.peek();
      if (next === undefined || next.at > until) return false;
      this.#heap.pop();
      const { owner } = next;
      if (next.cancelled || owner?.alive === false) continue;
      if (owner?.paused === true) {
        owner.held.push(next);
        continue;
      }
      this.nowMs = Math.max(this.nowMs, next.at);
      this.steps++;
      next.cancelled = true;
      this.trace.record(this.nowMs, next.kind, next.who, next.detail);
      next.run();
      return true;
    }
  }
}
