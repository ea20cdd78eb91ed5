import { LogStorageError, StorageFailedError, StorageStateError } from './errors.js';
import { storageFailed } from './events.js';

/** What may be called when: nothing before `load`, nothing but `close` after a failure, nothing after `close`. */
export class Lifecycle {
  readonly #place: string;
  #state: 'new' | 'loading' | 'open' = 'new';
  #failure: LogStorageError | undefined;
  #settled: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  /** `place` is what errors call the storage. */
  constructor(place: string) {
    this.#place = place;
  }

  /** Runs `load`, once. What it throws is the error of all later calls. */
  async load<T>(load: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new StorageStateError('STORAGE_CLOSED');
    if (this.#state !== 'new') throw new StorageStateError('STORAGE_LOADED');
    this.#state = 'loading';
    const loading = load();
    this.#settled = loading.catch(() => undefined);
    try {
      const loaded = await loading;
      this.#state = 'open';
      return loaded;
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Throws unless the storage is open and well. */
  check(): void {
    if (this.#closing !== undefined) throw new StorageStateError('STORAGE_CLOSED');
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state !== 'open') throw new StorageStateError('STORAGE_NOT_LOADED');
  }

  /** From now on everything is refused with one error, which is returned: that of the first failure. */
  fail(cause: unknown): LogStorageError {
    if (this.#failure === undefined) {
      this.#failure = cause instanceof LogStorageError ? cause : new StorageFailedError(this.#place, cause);
      if (storageFailed.active) storageFailed.publish({ place: this.#place, error: this.#failure });
    }
    return this.#failure;
  }

  /** Runs `close`, once, and not while `load` is under way. */
  close(close: () => Promise<void>): Promise<void> {
    this.#closing ??= (this.#settled ?? Promise.resolve()).then(close);
    return this.#closing;
  }
}
