/** Lets any number of waiters know of the next change, through one promise. */
export class Progress {
  #next: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  /** Resolves at the next `made`. */
  next(): Promise<void> {
    if (this.#next === undefined) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((settle) => (resolve = settle));
      this.#next = { promise, resolve };
    }
    return this.#next.promise;
  }

  made(): void {
    this.#next?.resolve();
    this.#next = undefined;
  }
}
