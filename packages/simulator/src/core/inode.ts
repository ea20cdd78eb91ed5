/** A file: what readers see, what is on the platter, and which sectors a sync would write. */
export class Inode {
  size = 0;
  #seen = Buffer.alloc(0);
  #platter = Buffer.alloc(0);
  #platterSize = 0;
  readonly #dirty = new Set<number>();

  constructor(private readonly sectorBytes: number) {}

  /** What readers see. */
  get content(): Buffer {
    return this.#seen.subarray(0, this.size);
  }

  read(into: Uint8Array, position: number): number {
    return this.content.copy(into, 0, position);
  }

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.size) this.resize(end);
    this.#seen.set(bytes, position);
    if (bytes.length === 0) return;
    for (let at = Math.floor(position / this.sectorBytes); at * this.sectorBytes < end; at++)
      this.#dirty.add(at);
  }

  /** Cuts the file, or makes it longer by zeros. */
  resize(size: number): void {
    this.#seen = room(this.#seen, size);
    if (size < this.size) this.#seen.fill(0, size, this.size);
    this.size = size;
  }

  flip(bit: number): void {
    for (const bytes of [this.content, this.#platter.subarray(0, this.#platterSize)]) {
      const byte = bytes[bit >> 3];
      if (byte !== undefined) bytes[bit >> 3] = byte ^ (1 << (bit & 7));
    }
  }

  sync(): void {
    this.#resizePlatter(this.size);
    for (const sector of this.#dirty) this.#copy(this.#seen, this.#platter, sector, this.size);
    this.#dirty.clear();
  }

  /** Some of the sectors count as clean and never reached the platter. */
  failSync(random: () => number): void {
    for (const sector of this.#dirty) if (random() < 0.5) this.#dirty.delete(sector);
  }

  /** Keeps or loses the length and each sector that is dirty. */
  losePower(random: () => number): void {
    if (this.size !== this.#platterSize && random() < 0.5) this.#resizePlatter(this.size);
    for (const sector of this.#dirty) {
      if (random() < 0.5) this.#copy(this.#seen, this.#platter, sector, this.#platterSize);
    }
    this.#dirty.clear();
    this.size = this.#platterSize;
    this.#seen = Buffer.from(this.#platter);
  }

  #resizePlatter(size: number): void {
    this.#platter = room(this.#platter, size);
    if (size < this.#platterSize) this.#platter.fill(0, size, this.#platterSize);
    this.#platterSize = size;
  }

  #copy(from: Buffer, to: Buffer, sector: number, size: number): void {
    const start = sector * this.sectorBytes;
    from.copy(to, start, start, Math.min(size, start + this.sectorBytes));
  }
}

/** A buffer of at least `size` bytes with the same content; it grows by half, so that appending stays cheap. */
function room(buffer: Buffer<ArrayBuffer>, size: number): Buffer<ArrayBuffer> {
  if (size <= buffer.length) return buffer;
  const larger = Buffer.alloc(Math.max(size, Math.ceil(buffer.length * 1.5)));
  buffer.copy(larger);
  return larger;
}
