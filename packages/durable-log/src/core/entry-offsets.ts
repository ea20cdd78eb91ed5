import type { Index } from '../contract.js';

const FIRST_CAPACITY = 256;

/** The entries of one segment that are in force: they have consecutive indices and ascending places in the file. */
export interface Run<S> {
  readonly segment: S;
  readonly first: Index;
  readonly count: number;
  /** The byte after the last entry. */
  readonly end: number;
  /** Where entry `first + k` begins in the file. */
  readonly offsets: Uint32Array;
}

/** Where an entry is, and where the reading of its successors up to `to` can end. */
export interface Place<S> {
  readonly segment: S;
  readonly first: Index;
  readonly offsets: Uint32Array;
  /** The index after the last one that this run has and that was asked for. */
  readonly to: Index;
  /** The byte after that one's predecessor, or somewhat later. */
  readonly end: number;
}

type MutableRun<S> = { -readonly [K in keyof Run<S>]: Run<S>[K] };

/**
 * Where the entries of a log are in its segments: four bytes for each, however long it is.
 *
 * Invariant: the runs are dense, one after the other; a later run is in a later segment, or further on in the same.
 */
export class EntryOffsets<S> {
  readonly #runs: MutableRun<S>[] = [];

  /** Adds an entry that follows the last one. `end` is the byte after it. */
  push(segment: S, index: Index, offset: number, end: number): void {
    let run = this.#runs.at(-1);
    if (run?.segment !== segment) {
      run = { segment, first: index, count: 0, end, offsets: new Uint32Array(FIRST_CAPACITY) };
      this.#runs.push(run);
    } else if (run.count === run.offsets.length) {
      const grown = new Uint32Array(run.count * 2);
      grown.set(run.offsets);
      run.offsets = grown;
    }
    run.offsets[run.count++] = offset;
    run.end = end;
  }

  /** Forgets every entry after `last`. */
  truncate(last: Index): void {
    for (let run = this.#runs.at(-1); run !== undefined; run = this.#runs.at(-1)) {
      const kept = last - run.first + 1;
      if (kept >= run.count) return;
      if (kept > 0) {
        run.end = run.offsets[kept] ?? 0;
        run.count = kept;
        return;
      }
      this.#runs.pop();
    }
  }

  /** The index of the last entry that a segment holds in force, if it holds one. */
  lastIn(segment: S): Index | undefined {
    const run = this.#runs.find((one) => one.segment === segment);
    return run && run.first + run.count - 1;
  }

  /** Forgets the entries of a segment that holds the first ones. */
  dropFirst(segment: S): void {
    if (this.#runs[0]?.segment === segment) this.#runs.shift();
  }

  /** Gives back what a segment's run was given too much: it will grow no more. */
  seal(segment: S): void {
    const run = this.#runs.at(-1);
    if (run?.segment === segment) run.offsets = run.offsets.slice(0, run.count);
  }

  /** Where `index` is. */
  place(index: Index, to: Index): Place<S> | undefined {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#runs[middle]?.first ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    const run = this.#runs[low];
    if (run === undefined || index < run.first || index >= run.first + run.count) return undefined;
    const end = Math.min(to, run.first + run.count);
    const endByte = end === run.first + run.count ? run.end : (run.offsets[end - run.first] ?? 0);
    return { segment: run.segment, first: run.first, offsets: run.offsets, to: end, end: endByte };
  }

  /** Bytes of memory in use. */
  get sizeBytes(): number {
    return this.#runs.reduce((sum, run) => sum + run.offsets.byteLength, 0);
  }
}
