import type { Index } from '@quorate/durable-log';

/**
 * How a leader feeds one peer.
 *
 * ```
 *            accepted                        its next entry is compacted
 *   probe ─────────────▶ replicate          probe, replicate ───────────▶ snapshot
 *     ▲                      │                                               │
 *     └──────────────────────┘                 finished, failed, or caught up│
 *       rejected, unreachable          probe ◀───────────────────────────────┘
 * ```
 *
 * `probe` sends one message and waits for its answer, because the point from which logs agree is a guess.
 * `replicate` assumes that every message arrives, and keeps a window of them in flight (dissertation, section
 * 10.2.1). `snapshot` sends no entries. Invariants: `match < next`; entries up to `match` are durable there.
 */
export class Progress {
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  match: Index;
  next: Index;
  /** In `probe`: a message is under way and the next one waits for its answer or the next heartbeat. */
  probing = false;
  /** In `replicate`: messages may be lost that no later one would reveal, so that an empty one is due. */
  doubtful = false;
  /** The commit index that the peer was last told. */
  toldCommit: Index = 0;
  /** Whether the peer was heard of since the last check of the quorum. */
  active: boolean;
  /** In `snapshot`: the index that the peer will have. */
  pendingSnapshot: Index = 0;
  /** The latest heartbeat round that the peer has answered in this term. */
  round = 0;
  readonly inflight: Inflight;

  constructor(next: Index, active: boolean, maxMessages: number, maxBytes: number) {
    this.match = 0;
    this.next = next;
    this.active = active;
    this.inflight = new Inflight(maxMessages, maxBytes);
  }

  becomeProbe(): void {
    // What a snapshot brought need not be sent again.
    this.next = this.state === 'snapshot' ? Math.max(this.match, this.pendingSnapshot) + 1 : this.match + 1;
    this.state = 'probe';
    this.probing = false;
    this.pendingSnapshot = 0;
    this.inflight.clear();
  }

  becomeReplicate(): void {
    this.state = 'replicate';
    this.next = this.match + 1;
    this.probing = false;
    this.inflight.clear();
  }

  becomeSnapshot(index: Index): void {
    this.state = 'snapshot';
    this.pendingSnapshot = index;
    this.probing = false;
    this.inflight.clear();
  }

  /** Whether entries must not be sent for now. */
  get paused(): boolean {
    switch (this.state) {
      case 'probe':
        return this.probing;
      case 'replicate':
        return this.inflight.full;
      case 'snapshot':
        return true;
    }
  }

  /** The peer holds everything up to `index`. Returns whether that is news. */
  accept(index: Index): boolean {
    if (index <= this.match) return false;
    this.match = index;
    if (this.next <= index) this.next = index + 1;
    return true;
  }

  /**
   * The peer refused entries behind `rejected`, and the logs may agree at `hint`. Returns false for an answer that
   * is out of date and says nothing.
   */
  reject(rejected: Index, hint: Index): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false;
      this.becomeProbe();
      return true;
    }
    if (this.state !== 'probe' || this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.probing = false;
    return true;
  }
}

/** The messages on their way to one peer, as a ring: their last indices and sizes. */
class Inflight {
  readonly #last: Float64Array;
  readonly #bytes: Float64Array;
  #start = 0;
  #count = 0;
  #sum = 0;

  constructor(
    readonly maxMessages: number,
    readonly maxBytes: number,
  ) {
    this.#last = new Float64Array(maxMessages);
    this.#bytes = new Float64Array(maxMessages);
  }

  get full(): boolean {
    return this.#count >= this.maxMessages || this.#sum >= this.maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#sum;
  }

  add(last: Index, bytes: number): void {
    const at = (this.#start + this.#count) % this.maxMessages;
    this.#last[at] = last;
    this.#bytes[at] = bytes;
    this.#count++;
    this.#sum += bytes;
  }

  /** An answer for `index` answers every message up to it. */
  freeUpTo(index: Index): void {
    while (this.#count > 0 && (this.#last[this.#start] ?? 0) <= index) this.freeFirst();
  }

  /** Makes room for one message: a heartbeat came back, so the oldest answer may have been lost. */
  freeFirst(): void {
    if (this.#count === 0) return;
    this.#sum -= this.#bytes[this.#start] ?? 0;
    this.#start = (this.#start + 1) % this.maxMessages;
    this.#count--;
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#sum = 0;
  }
}
