import type { Runtime, Timer } from '@quorate/runtime';

/** Something that ends at a deadline unless it is removed before. */
export abstract class DeadlineEntry {
  /** Neighbours in the bucket of the same millisecond; owned by {@link Deadlines}. */
  previous: DeadlineEntry | undefined;
  next: DeadlineEntry | undefined;
  bucket: Bucket | undefined;

  /** Called once when the deadline passed; the entry has been removed by then. */
  abstract expired(): void;
}

interface Bucket {
  /** Monotonic milliseconds, an integer. */
  readonly dueMs: number;
  first: DeadlineEntry | undefined;
}

/** Emptied buckets are tolerated up to this many before they are swept. */
const MIN_SWEEP = 256;

/**
 * Many deadlines on one timer. Most requests end long before their deadline, so adding and removing must cost next
 * to nothing: an entry is linked into the bucket of its millisecond and unlinked again; the timer is set for the
 * earliest bucket and, when that one turns out to be empty, simply set again for the next that is not. A deadline
 * never fires early, and late by less than a millisecond plus what the runtime's timer adds.
 *
 * Invariant: `#heap` holds each bucket of `#buckets` once, the earliest first, and the timer is set for no later
 * than that one.
 */
export class Deadlines {
  readonly #runtime: Runtime;
  readonly #buckets = new Map<number, Bucket>();
  #heap: Bucket[] = [];
  #sweepAt = MIN_SWEEP;
  #timer: Timer | undefined;
  #timerDueMs = Infinity;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** `dueMs` is on the runtime's monotonic clock. */
  add(entry: DeadlineEntry, dueMs: number): void {
    const due = Math.ceil(dueMs);
    let bucket = this.#buckets.get(due);
    if (bucket === undefined) {
      if (this.#heap.length >= this.#sweepAt) this.#sweep();
      bucket = { dueMs: due, first: undefined };
      this.#buckets.set(due, bucket);
      pushBucket(this.#heap, bucket);
      if (due < this.#timerDueMs) this.#arm(due);
    }
    const { first } = bucket;
    entry.bucket = bucket;
    entry.next = first;
    if (first !== undefined) first.previous = entry;
    bucket.first = entry;
  }

  /** Does nothing when the entry is not in the table. */
  remove(entry: DeadlineEntry): void {
    const { bucket, previous, next } = entry;
    if (bucket === undefined) return;
    if (previous === undefined) bucket.first = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    entry.bucket = entry.previous = entry.next = undefined;
  }

  /** Forgets every entry and cancels the timer. */
  clear(): void {
    for (const bucket of this.#heap) {
      for (let entry = bucket.first; entry !== undefined; entry = bucket.first) this.remove(entry);
    }
    this.#buckets.clear();
    this.#heap = [];
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = this.#runtime.setTimer(dueMs - this.#runtime.monotonic(), () => {
      this.#timer = undefined;
      this.#timerDueMs = Infinity;
      this.#expire();
    });
  }

  #expire(): void {
    const now = this.#runtime.monotonic();
    for (;;) {
      const bucket = this.#heap[0];
      if (bucket === undefined) return;
      if (bucket.first !== undefined && bucket.dueMs > now) {
        if (bucket.dueMs < this.#timerDueMs) this.#arm(bucket.dueMs);
        return;
      }
      popBucket(this.#heap);
      this.#buckets.delete(bucket.dueMs);
      for (let entry = bucket.first; entry !== undefined; entry = bucket.first) {
        this.remove(entry);
        entry.expired();
      }
    }
  }

  /** Drops the empty buckets, so that a busy process with long deadlines does not collect them. */
  #sweep(): void {
    // An array in ascending order is a heap.
    this.#heap = this.#heap
      .filter((bucket) => bucket.first !== undefined || !this.#buckets.delete(bucket.dueMs))
      .sort((a, b) => a.dueMs - b.dueMs);
    this.#sweepAt = Math.max(MIN_SWEEP, 2 * this.#heap.length);
  }
}

function pushBucket(heap: Bucket[], bucket: Bucket): void {
  let at = heap.length;
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || parent.dueMs <= bucket.dueMs) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = bucket;
}

/** Removes the earliest bucket. */
function popBucket(heap: Bucket[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    let child = heap[below];
    if (child === undefined) break;
    const right = heap[below + 1];
    if (right !== undefined && right.dueMs < child.dueMs) {
      below++;
      child = right;
    }
    if (last.dueMs <= child.dueMs) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = last;
}
