import type { Entry, Index, SnapshotMeta, Term } from '@quorate/durable-log';

/**
 * The part of the log that is not compacted, in memory.
 *
 * Invariants: `snapshot.index <= stable <= last`, `commit <= last`; entries are dense from `first` to `last`; the
 * term of `first - 1` is known. Nothing below or at `commit` is ever truncated.
 */
export class RaftLog {
  #entries: Entry[];
  /** How many entries at the head of the array were compacted; they are cut off in large steps. */
  #dead = 0;
  #base: Index;
  #baseTerm: Term;
  /** Entries up to here are durable on this node. */
  stable: Index;
  commit: Index;
  applied: Index;
  /** The newest snapshot of the storage. */
  snapshot: SnapshotMeta | undefined;

  /** `base` is the entry before the first of `entries`. */
  constructor(
    snapshot: SnapshotMeta | undefined,
    entries: readonly Entry[],
    base: { readonly index: Index; readonly term: Term },
  ) {
    this.snapshot = snapshot;
    this.#base = base.index;
    this.#baseTerm = base.term;
    this.#entries = [...entries];
    this.stable = this.last;
    this.commit = snapshot?.index ?? 0;
    this.applied = this.commit;
  }

  /** The index of the first entry that is held, or would be. */
  get first(): Index {
    return this.#base + 1;
  }

  get last(): Index {
    return this.#base + this.#entries.length - this.#dead;
  }

  get lastTerm(): Term {
    return this.term(this.last) ?? 0;
  }

  /** The term of an entry; undefined where it is compacted or not there. */
  term(index: Index): Term | undefined {
    if (index === this.#base) return this.#baseTerm;
    return this.entry(index)?.term;
  }

  entry(index: Index): Entry | undefined {
    return index <= this.#base ? undefined : this.#entries[index - this.#base - 1 + this.#dead];
  }

  has(index: Index, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Section 5.4.1: the later last term wins, and for equal terms the longer log. */
  isUpToDate(lastIndex: Index, lastTerm: Term): boolean {
    const own = this.lastTerm;
    return lastTerm > own || (lastTerm === own && lastIndex >= this.last);
  }

  append(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** Removes `from` and everything behind it. */
  truncate(from: Index): void {
    if (from <= this.commit)
      throw new Error(`invariant: entry ${String(from)} is committed and would be truncated`);
    this.#entries.length = from - this.#base - 1 + this.#dead;
    this.stable = Math.min(this.stable, from - 1);
  }

  /** Entries from `from` below `to`, as many as fit into `maxBytes` but at least one. */
  slice(from: Index, to: Index, maxBytes: number): Entry[] {
    const start = from - this.#base - 1 + this.#dead;
    const end = Math.min(to, this.last + 1) - this.#base - 1 + this.#dead;
    let bytes = 0;
    let at = start;
    for (; at < end; at++) {
      const entry = this.#entries[at];
      // Small commands are mostly frame: without counting it, thousands of them would be called one message's worth.
      if (entry !== undefined)
        bytes += entry.data.length + 3 * (entry.id?.length ?? 0) + ENTRY_OVERHEAD_BYTES;
      if (bytes > maxBytes && at > start) break;
    }
    return this.#entries.slice(start, at);
  }

  /** Forgets entries up to `to`, which the snapshot `meta` of the storage covers. */
  compact(meta: SnapshotMeta, to: Index): void {
    if (this.snapshot === undefined || meta.index >= this.snapshot.index) this.snapshot = meta;
    const cut = Math.min(to, meta.index, this.applied, this.stable);
    if (cut <= this.#base) return;
    const count = cut - this.#base;
    this.#baseTerm = this.term(cut) ?? meta.term;
    this.#dead += count;
    this.#base = cut;
    // Cutting the array costs as much as what is left; doing it by halves makes that constant per entry.
    if (this.#dead > 1_024 && this.#dead * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#dead);
      this.#dead = 0;
    } else {
      this.#entries.fill(RELEASED, this.#dead - count, this.#dead);
    }
  }

  /** Replaces everything by a snapshot (section 7). */
  restore(meta: SnapshotMeta): void {
    this.#entries = [];
    this.#dead = 0;
    this.#base = meta.index;
    this.#baseTerm = meta.term;
    this.snapshot = meta;
    this.stable = meta.index;
    this.commit = meta.index;
  }

  /**
   * Where logs may still agree with one that has `term` at `index`: the last index at or below it whose term is
   * not larger. With it a leader, or a follower, skips a whole run of conflicting terms in one round (section 5.3,
   * the last optimisation, and its generalisation to both sides).
   */
  conflictHint(index: Index, term: Term): { index: Index; term: Term } {
    let at = Math.min(index, this.last);
    for (; at > this.#base; at--) {
      const own = this.term(at) ?? 0;
      if (own <= term) return { index: at, term: own };
    }
    return { index: this.#base, term: this.#baseTerm };
  }
}

/** Stands where a compacted entry was, so that its data can be collected. */
const RELEASED: Entry = { index: 0, term: 0, kind: 'noop', data: new Uint8Array() };

/** The most bytes that an entry takes in a message besides its command and its id. */
const ENTRY_OVERHEAD_BYTES = 24;
