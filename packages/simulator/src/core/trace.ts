/** One thing that happened in a run, as a report of a violation shows it. */
export interface TraceRecord {
  /** Virtual time in milliseconds. */
  readonly atMs: number;
  /** Such as `timer`, `frame`, `crash`, `disk write`. */
  readonly kind: string;
  /** The node, or the pair of nodes, that it happened to. */
  readonly who: string;
  /** A size in bytes, or another number that tells it apart. */
  readonly detail: number;
}

/**
 * Everything that happened, as a running hash of 64 bits and the last records. Two runs with the same hash went the
 * same way. The hash (two lanes of multiply and shift) finds differences; it does not resist somebody who looks for
 * collisions.
 */
export class Trace {
  readonly #tail: { atMs: number; kind: string; who: string; detail: number }[];
  #next = 0;
  #count = 0;
  #one = 0x9e3779b9 | 0;
  #two = 0x85ebca6b | 0;
  readonly #double = new Float64Array(1);
  readonly #words = new Uint32Array(this.#double.buffer);
  /** Names hash once. */
  readonly #names = new Map<string, number>();

  constructor(tail: number) {
    this.#tail = Array.from({ length: tail }, () => ({ atMs: 0, kind: '', who: '', detail: 0 }));
  }

  record(atMs: number, kind: string, who: string, detail: number): void {
    this.#double[0] = atMs;
    this.fold(this.#words[0] ?? 0);
    this.fold(this.#words[1] ?? 0);
    this.fold(this.#name(kind));
    this.fold(this.#name(who));
    this.#double[0] = detail;
    this.fold(this.#words[0] ?? 0);
    this.fold(this.#words[1] ?? 0);
    const slot = this.#tail[this.#next];
    if (slot === undefined) return;
    slot.atMs = atMs;
    slot.kind = kind;
    slot.who = who;
    slot.detail = detail;
    this.#next = this.#next + 1 === this.#tail.length ? 0 : this.#next + 1;
    this.#count++;
  }

  /** Takes 32 bits into the hash. */
  fold(word: number): void {
    let one = Math.imul(this.#one ^ word, 0xcc9e2d51);
    one ^= one >>> 15;
    const two = Math.imul(((this.#two << 13) | (this.#two >>> 19)) ^ word, 0x1b873593);
    this.#two = (two + one) | 0;
    this.#one = (one ^ (two >>> 16)) | 0;
  }

  foldBytes(bytes: Uint8Array): void {
    let hash = bytes.length;
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
    this.fold(hash);
  }

  get hash(): string {
    return [this.#one, this.#two].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** The last records, the oldest first. */
  tail(): TraceRecord[] {
    const kept = Math.min(this.#count, this.#tail.length);
    const ordered = [...this.#tail.slice(this.#next), ...this.#tail.slice(0, this.#next)];
    return ordered.slice(ordered.length - kept).map((one) => ({ ...one }));
  }

  #name(name: string): number {
    let hash = this.#names.get(name);
    if (hash === undefined) {
      hash = 0x811c9dc5;
      for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
      this.#names.set(name, hash);
    }
    return hash;
  }
}
