/**
 * Turns single calls into batches: what is asked for while a batch is under way goes into the next one. One batch
 * runs at a time, so an idle caller waits for nobody, and a busy one shares its round trips and commits.
 *
 * `flush` answers each item at its place; when it rejects, so does every call of the batch.
 */
export function coalesce<Item, Answer>(
  flush: (items: readonly Item[]) => Promise<readonly Answer[]>,
  maxItems: number,
): (item: Item) => Promise<Answer> {
  interface Call {
    readonly item: Item;
    readonly resolve: (answer: Answer) => void;
    readonly reject: (error: unknown) => void;
  }
  const waiting: Call[] = [];
  let running = false;

  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const calls = waiting.splice(0, maxItems);
      try {
        const answers = await flush(calls.map((call) => call.item));
        calls.forEach((call, index) => {
          call.resolve(answers[index] as Answer);
        });
      } catch (error) {
        for (const call of calls) call.reject(error);
      }
    }
    running = false;
  };

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (running) return;
      running = true;
      // What else this turn of the event loop asks for joins the batch.
      setImmediate(() => void run());
    });
}
