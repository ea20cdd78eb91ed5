import type { KvItem } from './core/kv-format.js';

/** A change that a node applied. */
export type KvEvent =
  | { readonly type: 'put'; readonly key: string; readonly item: KvItem }
  /** Deleted or expired. */
  | { readonly type: 'delete'; readonly key: string }
  /** The whole state was replaced: read again. */
  | { readonly type: 'reset' };

/** Hands changes to those who watch. */
export class KvFeed {
  readonly #readers = new Set<Reader>();

  publish(event: KvEvent): void {
    for (const reader of this.#readers) reader.offer(event);
  }

  watch(prefix: string): AsyncIterable<KvEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const reader = new Reader(prefix, (gone) => this.#readers.delete(gone));
        this.#readers.add(reader);
        return reader;
      },
    };
  }
}

/** One who watches, with the latest change of each key that was not taken: no more than there are keys. */
class Reader implements AsyncIterator<KvEvent, undefined> {
  readonly #prefix: string;
  readonly #leave: (reader: Reader) => void;
  readonly #pending = new Map<string, KvEvent>();
  readonly #asking: ((result: IteratorResult<KvEvent, undefined>) => void)[] = [];
  #reset = false;
  #ended = false;

  constructor(prefix: string, leave: (reader: Reader) => void) {
    this.#prefix = prefix;
    this.#leave = leave;
  }

  offer(event: KvEvent): void {
    if (event.type !== 'reset' && !event.key.startsWith(this.#prefix)) return;
    const asking = this.#asking.shift();
    if (asking !== undefined) {
      asking({ done: false, value: event });
    } else if (event.type === 'reset') {
      this.#reset = true;
      this.#pending.clear();
    } else {
      // Behind the others: the order is that of the latest changes.
      this.#pending.delete(event.key);
      this.#pending.set(event.key, event);
    }
  }

  next(): Promise<IteratorResult<KvEvent, undefined>> {
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    if (this.#reset) {
      this.#reset = false;
      return Promise.resolve({ done: false, value: { type: 'reset' } });
    }
    for (const [key, value] of this.#pending) {
      this.#pending.delete(key);
      return Promise.resolve({ done: false, value });
    }
    return new Promise((resolve) => this.#asking.push(resolve));
  }

  return(): Promise<IteratorResult<KvEvent, undefined>> {
    this.#ended = true;
    this.#leave(this);
    this.#pending.clear();
    for (const asking of this.#asking.splice(0)) asking({ done: true, value: undefined });
    return Promise.resolve({ done: true, value: undefined });
  }
}
