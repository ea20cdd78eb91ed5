import { ReplicatedLogError } from './errors.js';

/**
 * What `chunks` yields behind `first`. The first chunk is asked for at once, so that a generator has copied its state
 * before anything else happens.
 */
export function frozen(
  first: readonly Uint8Array[],
  chunks: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const begun = iterator.next();
  // It is looked at when its turn comes, and by then it may have been rejected for long.
  begun.catch(() => undefined);
  return (async function* rest() {
    try {
      yield* first;
      for (let next = await begun; next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  })();
}

/** Takes a number of bytes off the front of a stream of chunks that are cut anywhere. */
export class ChunkReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #left: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async take(size: number): Promise<Uint8Array> {
    const pieces = [this.#left];
    let held = this.#left.length;
    while (held < size) {
      const next = await this.#chunks.next();
      if (next.done === true) {
        throw new ReplicatedLogError('INVALID_SNAPSHOT', 'the snapshot ends within its header', {
          definite: true,
        });
      }
      pieces.push(next.value);
      held += next.value.length;
    }
    const all = pieces.length === 1 ? this.#left : Buffer.concat(pieces);
    this.#left = all.subarray(size);
    return all.subarray(0, size);
  }

  async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      if (this.#left.length > 0) yield this.#left;
      for (;;) {
        const next = await this.#chunks.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await this.#chunks.return?.();
    }
  }
}
