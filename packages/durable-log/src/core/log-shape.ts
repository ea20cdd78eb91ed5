import { describeValue, isIdentifier, MAX_IDENTIFIER_BYTES } from '@quorate/runtime';
import type { Entry, Index, PersistBatch, Term } from '../contract.js';
import { CompactedError, InvalidBatchError } from '../errors.js';

/** A position in a log with its term: what Raft calls (prevLogIndex, prevLogTerm). */
export interface Position {
  readonly index: Index;
  readonly term: Term;
}

/** The beginning of every log. */
export const ORIGIN: Position = { index: 0, term: 0 };

/** The largest index and term: they are stored in 48 bits. */
export const MAX_INDEX = 2 ** 48 - 1;

const KINDS = new Set(['command', 'config', 'noop']);

/**
 * Which entries a log holds and of which terms, without their data: one number per change of term, however many
 * entries there are.
 *
 * Invariant: `anchor` is the position before the first entry; terms do not decrease with the index.
 */
export class LogShape {
  #anchor: Position = ORIGIN;
  #last: Index = 0;
  /** Where terms begin: the first index of each, ascending; the terms of the same places. */
  #starts: Index[] = [];
  #terms: Term[] = [];

  get anchor(): Position {
    return this.#anchor;
  }

  get first(): Index {
    return this.#anchor.index + 1;
  }

  get end(): Position {
    return { index: this.#last, term: this.#terms.at(-1) ?? this.#anchor.term };
  }

  get last(): Index {
    return this.#last;
  }

  /** The term of an entry, or of the anchor; undefined where neither is at `index`. */
  termAt(index: Index): Term | undefined {
    if (index === this.#anchor.index) return this.#anchor.term;
    if (index < this.#anchor.index || index > this.#last) return undefined;
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#starts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return this.#terms[low];
  }

  holds(position: Position): boolean {
    return this.termAt(position.index) === position.term;
  }

  /**
   * The position after which a batch appends, and after which everything else goes. Throws
   * {@link InvalidBatchError} for a batch that cannot follow; nothing at or below `floor` can be removed.
   */
  plan(batch: PersistBatch, floor: Index): Position {
    const { entries, truncateFrom } = batch;
    const [head] = entries;
    if (truncateFrom !== undefined) checkIndex('truncateFrom', truncateFrom);
    if (head !== undefined) checkIndex('the index of an entry', head.index);
    let after = Math.min(this.#last, (truncateFrom ?? Infinity) - 1);
    if (head !== undefined) {
      if (head.index > after + 1) {
        throw new InvalidBatchError(
          `entry ${String(head.index)} cannot follow ${String(after)}: entries are dense, begin at ${String(after + 1)} or below`,
        );
      }
      after = head.index - 1;
    }
    const lowest = Math.max(floor, this.#anchor.index);
    if (after < lowest) {
      throw new InvalidBatchError(
        `entry ${String(after + 1)} cannot be removed or replaced: everything up to ${String(lowest)} is covered by a snapshot`,
      );
    }
    const term = this.termAt(after) ?? 0;
    checkEntries(entries, { index: after, term });
    return { index: after, term };
  }

  /** Removes everything after `position` and appends. Where the log does not reach so far down, it begins there. */
  append(position: Position, entries: readonly { readonly term: Term }[]): void {
    this.truncate(position);
    for (const entry of entries) this.push(entry.term);
  }

  /** Removes everything after `position`. Where the log does not reach so far down, it begins there. */
  truncate(position: Position): void {
    if (position.index <= this.#anchor.index) {
      this.reset(position);
      return;
    }
    while ((this.#starts.at(-1) ?? 0) > position.index) {
      this.#starts.pop();
      this.#terms.pop();
    }
    this.#last = position.index;
  }

  /** Appends one entry. */
  push(term: Term): void {
    this.#last++;
    if (this.#terms.at(-1) !== term) {
      this.#starts.push(this.#last);
      this.#terms.push(term);
    }
  }

  /** Forgets every entry; the log stands at `position`. */
  reset(position: Position): void {
    this.#anchor = position;
    this.#last = position.index;
    this.#starts = [];
    this.#terms = [];
  }

  /** Forgets entries up to and including `to`, which is at most the last. */
  dropTo(to: Index): void {
    if (to <= this.#anchor.index) return;
    const term = this.termAt(to) ?? 0;
    let gone = 0;
    while ((this.#starts[gone + 1] ?? Infinity) <= to + 1) gone++;
    this.#starts.splice(0, gone);
    this.#terms.splice(0, gone);
    this.#anchor = { index: to, term };
    if (to === this.#last) {
      this.#starts = [];
      this.#terms = [];
    } else {
      this.#starts[0] = to + 1;
    }
  }

  /** The part of a range that is held: from, and the index after the last. */
  range(from: Index, to: Index): { readonly from: Index; readonly to: Index } {
    checkIndex('from', from);
    if (from < this.first) throw new CompactedError(from, this.first);
    return { from, to: Math.min(to, this.#last + 1) };
  }
}

function checkEntries(entries: readonly Entry[], after: Position): void {
  let { index, term } = after;
  for (const entry of entries) {
    index++;
    if (entry.index !== index) {
      throw new InvalidBatchError(
        `entries are dense and ascending: expected index ${String(index)}, got ${String(entry.index)}`,
      );
    }
    if (!Number.isSafeInteger(entry.term) || entry.term < term || entry.term > MAX_INDEX) {
      throw new InvalidBatchError(
        `the term of entry ${String(index)} must be an integer of at least ${String(term)}, the term before it, got ${String(entry.term)}`,
      );
    }
    if (!KINDS.has(entry.kind)) {
      throw new InvalidBatchError(
        `entry ${String(index)} is of an unknown kind, ${describeValue(entry.kind)}`,
      );
    }
    if (!(entry.data instanceof Uint8Array)) {
      throw new InvalidBatchError(`the data of entry ${String(index)} must be a Uint8Array`);
    }
    if (entry.id !== undefined && !isIdentifier(entry.id)) {
      throw new InvalidBatchError(
        `the id of entry ${String(index)} must be 1 to ${String(MAX_IDENTIFIER_BYTES)} bytes of UTF-8 without control characters, got ${describeValue(entry.id)}`,
      );
    }
    term = entry.term;
  }
  if (index > MAX_INDEX) throw new InvalidBatchError(`the log ends at ${String(MAX_INDEX)}`);
}

function checkIndex(what: string, index: Index): void {
  if (!Number.isSafeInteger(index) || index < 1 || index > MAX_INDEX) {
    throw new InvalidBatchError(
      `${what} must be an integer from 1 to ${String(MAX_INDEX)}, got ${String(index)}`,
    );
  }
}
