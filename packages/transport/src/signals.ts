/** Something that ends when a signal aborts. */
export interface Abortable {
  aborted(reason: unknown): void;
}

/**
 * Attaches many requests to a signal with one listener. One signal often stands for a whole process; a listener per
 * request would make Node warn of a leak, and cost more to remove.
 */
export class SignalWatch {
  readonly #watched = new Map<AbortSignal, Set<Abortable>>();

  add(signal: AbortSignal, one: Abortable): void {
    const others = this.#watched.get(signal);
    if (others !== undefined) {
      others.add(one);
      return;
    }
    this.#watched.set(signal, new Set([one]));
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  remove(signal: AbortSignal, one: Abortable): void {
    const all = this.#watched.get(signal);
    if (all === undefined || !all.delete(one) || all.size > 0) return;
    this.#watched.delete(signal);
    signal.removeEventListener('abort', this.#onAbort);
  }

  /** A signal that aborts with any of `sources`, for the same reason, until it is disposed. */
  link(...sources: readonly (AbortSignal | undefined)[]): Disposable & { readonly signal: AbortSignal } {
    const controller = new AbortController();
    const { signal } = controller;
    const given = sources.filter((source) => source !== undefined);
    const one: Abortable = { aborted: (reason) => controller.abort(reason) };
    const done = given.find(({ aborted }) => aborted);
    if (done !== undefined) controller.abort(done.reason);
    else for (const source of given) this.add(source, one);
    return {
      signal,
      [Symbol.dispose]: () => {
        for (const source of given) this.remove(source, one);
      },
    };
  }

  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal;
    const all = this.#watched.get(signal);
    this.#watched.delete(signal);
    for (const one of all ?? []) one.aborted(signal.reason);
  };
}
