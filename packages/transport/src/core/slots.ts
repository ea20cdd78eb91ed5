const MIN_SLOTS = 64;

/**
 * Entries by an id that the table itself chooses, for what comes and goes a million times a second: ids count
 * upwards as unsigned integers of 32 bits and wrap around, and an entry lies in the slot that the low bits of its id
 * name. Unlike a Map, whose every rehash leaves a table behind that keeps dead entries alive until the next full
 * garbage collection, this one makes no garbage.
 *
 * Invariant: at most half of the slots are taken, and no two entries have the same slot; an id whose slot is taken by
 * a long-lived entry is passed over.
 */
export class SlotTable<T extends { readonly id: number }> {
  #slots: (T | undefined)[] = emptySlots(MIN_SLOTS);
  #lastId: number;
  #size = 0;

  /** Ids begin after `firstId`. */
  constructor(firstId: number) {
    this.#lastId = firstId >>> 0;
  }

  get size(): number {
    return this.#size;
  }

  /** An id for the entry that is added next. */
  nextId(): number {
    if (2 * this.#size >= this.#slots.length) this.#grow();
    const mask = this.#slots.length - 1;
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#slots[this.#lastId & mask] !== undefined);
    return this.#lastId;
  }

  /** Adds an entry whose id was the answer of the latest `nextId`. */
  add(entry: T): void {
    this.#slots[entry.id & (this.#slots.length - 1)] = entry;
    this.#size++;
  }

  get(id: number): T | undefined {
    const entry = this.#slots[id & (this.#slots.length - 1)];
    return entry?.id === id ? entry : undefined;
  }

  delete(id: number): void {
    if (this.get(id) === undefined) return;
    this.#slots[id & (this.#slots.length - 1)] = undefined;
    this.#size--;
    // After a burst.
    if (this.#size === 0 && this.#slots.length > 16 * MIN_SLOTS) this.#slots = emptySlots(MIN_SLOTS);
  }

  /** The entries at this moment. */
  values(): T[] {
    return this.#slots.filter((entry) => entry !== undefined);
  }

  #grow(): void {
    const entries = this.values();
    this.#slots = emptySlots(2 * this.#slots.length);
    // What differs in the low bits still does with one bit more.
    for (const entry of entries) this.#slots[entry.id & (this.#slots.length - 1)] = entry;
  }
}

function emptySlots<T>(count: number): (T | undefined)[] {
  return Array.from({ length: count }, () => undefined);
}
