import { mix32 } from '@quorate/hash-ring';

/**
 * The buckets of AnchorHash: algorithm 3 of the paper, whose names are kept. `A[b]` is 0 while b works, and else the
 * number of buckets that worked right after b was removed; `K` leads from a removed bucket to the one that took its
 * place in the working set, `W` lists the working set, and `L` says where in it a bucket stands.
 */
export class AnchorBuckets {
  readonly capacity: number;
  #removed: number[] = [];
  readonly #A: Uint32Array;
  readonly #K: Uint32Array;
  readonly #W: Uint32Array;
  readonly #L: Uint32Array;
  /** How many buckets work (`N`). */
  #working: number;

  /** All of `capacity` buckets work at first. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#working = capacity;
    this.#A = new Uint32Array(capacity);
    this.#K = Uint32Array.from({ length: capacity }, (_, b) => b);
    this.#W = this.#K.slice();
    this.#L = this.#K.slice();
  }

  /** The buckets that do not work, in the order of their removal (`R`). */
  get removed(): readonly number[] {
    return this.#removed;
  }

  copy(): AnchorBuckets {
    const copy = new AnchorBuckets(this.capacity);
    copy.#A.set(this.#A);
    copy.#K.set(this.#K);
    copy.#W.set(this.#W);
    copy.#L.set(this.#L);
    copy.#working = this.#working;
    copy.#removed = this.#removed.slice();
    return copy;
  }

  /** GETBUCKET: there must be a working one. */
  bucketOf(token: number): number {
    const A = this.#A;
    const K = this.#K;
    let b = below(mix32(token ^ 0x9e3779b9), this.capacity);
    for (let workingThen = A[b] ?? 0; workingThen > 0; workingThen = A[b] ?? 0) {
      // A draw of b's own among the buckets that worked when b was removed, as they were then.
      let h = below(mix32(token + Math.imul(b + 1, 0x85ebca77)), workingThen);
      while ((A[h] ?? 0) >= workingThen) h = K[h] ?? 0;
      b = h;
    }
    return b;
  }

  /** ADDBUCKET: puts the bucket removed last back to work and returns it. There must be one. */
  add(): number {
    const N = this.#working++;
    const b = this.#removed.pop() ?? 0;
    this.#A[b] = 0;
    this.#L[this.#W[N] ?? 0] = N;
    this.#W[this.#L[b] ?? 0] = b;
    this.#K[b] = b;
    return b;
  }

  /** REMOVEBUCKET: `b` must work. */
  remove(b: number): void {
    const N = --this.#working;
    const last = this.#W[N] ?? 0;
    const place = this.#L[b] ?? 0;
    this.#removed.push(b);
    this.#A[b] = N;
    this.#W[place] = last;
    this.#K[b] = last;
    this.#L[last] = place;
  }
}

/** A uniform hash scaled to [0, bound). */
function below(hash: number, bound: number): number {
  return Math.floor((hash * bound) / 2 ** 32);
}
