import { abortable, InvalidOptionError } from '@quorate/runtime';

/** The same chunks, each checked to be one; an abort also ends the waiting for the next. */
export async function* receiveChunks(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const iterator =
    Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await abortable(Promise.resolve(iterator.next()), signal);
      if (next.done === true) {
        ended = true;
        return;
      }
      const chunk: unknown = next.value;
      if (!(chunk instanceof Uint8Array))
        throw new InvalidOptionError('chunks', chunk, 'a source of Uint8Arrays');
      yield chunk;
    }
  } finally {
    // A source that is stuck must not hold up the one who gave it up.
    if (!ended) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
