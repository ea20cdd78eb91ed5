import { numberOption, type Runtime, seededRandom, type Timer } from '@quorate/runtime';

/** Where a {@link VirtualRuntime} starts. */
export interface VirtualRuntimeOptions {
  /**
   * Seed of `random` and `randomBytes`.
   * @defaultValue 1
   */
  readonly seed?: number;
  /**
   * The wall clock at the start, in milliseconds since the Unix epoch.
   * @defaultValue 2020-01-01T00:00:00Z
   */
  readonly startMs?: number;
}

/**
 * A {@link Runtime} whose time passes only when it is told to. The same seed and the same calls give the same
 * run. Between two timers every promise callback that can run does run.
 */
export interface VirtualRuntime extends Runtime {
  /** Lets `durationMs` pass and runs the timers that fall due, in the order of their times. */
  advance(durationMs: number): Promise<void>;
  /**
   * Lets time pass from timer to timer until `done` holds. Rejects when no timer is left or `limitMs` of virtual
   * time have passed before that.
   */
  runUntil(done: () => boolean, limitMs?: number): Promise<void>;
  /** Moves the wall clock, forth or back, and leaves the monotonic clock alone. */
  jumpWallClock(byMs: number): void;
  /** How many timers are set. */
  readonly pendingTimers: number;
}

interface PendingTimer {
  readonly at: number;
  /** Timers of one instant run in the order in which they were set. */
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** A {@link VirtualRuntime} that starts at zero on its monotonic clock. */
export function createVirtualRuntime(options: VirtualRuntimeOptions = {}): VirtualRuntime {
  const random = seededRandom(options.seed ?? 1);
  let wallOffset = numberOption('startMs', options.startMs ?? Date.UTC(2020, 0, 1), {
    min: Number.NEGATIVE_INFINITY,
  });
  let time = 0;
  let orders = 0;
  let cancelledInHeap = 0;
  const heap: PendingTimer[] = [];

  /** The next timer that was not cancelled, left in place. */
  const peek = (): PendingTimer | undefined => {
    while (heap[0]?.cancelled === true) {
      popHeap(heap);
      cancelledInHeap--;
    }
    return heap[0];
  };
  /** Runs the next timer if it is due by `until`. */
  const step = (until: number): boolean => {
    const next = peek();
    if (next === undefined || next.at > until) return false;
    popHeap(heap);
    time = Math.max(time, next.at);
    next.cancelled = true;
    next.run();
    return true;
  };

  return {
    now: () => Math.floor(wallOffset + time),
    monotonic: () => time,
    random,
    randomBytes: (size) => Uint8Array.from({ length: size }, () => Math.floor(random() * 256)),
    setTimer(delayMs, run): Timer {
      numberOption('delayMs', delayMs, { min: Number.NEGATIVE_INFINITY });
      const timer: PendingTimer = { at: time + Math.max(0, delayMs), order: orders++, run, cancelled: false };
      pushHeap(heap, timer);
      return {
        cancel() {
          if (timer.cancelled) return;
          timer.cancelled = true;
          cancelledInHeap++;
        },
      };
    },
    async advance(durationMs) {
      const until = time + numberOption('durationMs', durationMs);
      do await settle();
      while (step(until));
      time = until;
    },
    async runUntil(done, limitMs = 3_600_000) {
      const until = time + numberOption('limitMs', limitMs);
      for (;;) {
        await settle();
        if (done()) return;
        if (!step(until)) {
          const reason =
            peek() === undefined ? 'no timer is left' : `${String(limitMs)} ms of virtual time passed`;
          throw new Error(`runUntil: ${reason} before the condition held`);
        }
      }
    },
    jumpWallClock(byMs) {
      wallOffset += numberOption('byMs', byMs, { min: Number.NEGATIVE_INFINITY });
    },
    get pendingTimers() {
      return heap.length - cancelledInHeap;
    },
  };
}

/** Resolves when every promise callback that was ready, and all that they made ready, have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function before(a: PendingTimer, b: PendingTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function pushHeap(heap: PendingTimer[], timer: PendingTimer): void {
  let at = heap.length;
  heap.push(timer);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !before(timer, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = timer;
}

function popHeap(heap: PendingTimer[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    let child = heap[below];
    if (child === undefined) break;
    const right = heap[below + 1];
    if (right !== undefined && before(right, child)) {
      below++;
      child = right;
    }
    if (!before(child, last)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = last;
}
