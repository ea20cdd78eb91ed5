import { abortable, functionOption } from '@quorate/runtime';
import {
  type CausalInbox,
  type CausalInboxOptions,
  createCausalInbox,
  type MissingEvents,
} from './core/causal-inbox.js';
import type { CausalEvent } from './core/event.js';
import { type VersionVector } from './core/version-vector.js';
import { CausalBufferFullError, CausalReceiverClosedError } from './errors.js';

/** A {@link CausalInbox} that waits: for room in its buffer, and for a handler that takes its time. */
export interface CausalReceiver<T> extends AsyncDisposable {
  /** What the handler has finished, in full. */
  readonly handled: VersionVector;
  /** How many events wait for their causes. */
  readonly buffered: number;
  /** What those events lack, and whom to ask. */
  missing(): MissingEvents;
  /**
   * Takes an event. Resolves when it is buffered, or when it and all events that it released were handled. While the
   * buffer is full it waits, unless the event lacks nothing: such an event is always taken.
   *
   * One call at a time for each source whose events come in order cannot get stuck: the earliest event that is
   * still to come is then always the next of its source. If events can be lost, give a signal with a deadline
   * and ask for {@link CausalReceiver.missing}.
   * @throws {@link CausalReceiverClosedError} after `close`, or when the handler threw (its error is the cause)
   */
  receive(event: CausalEvent<T>, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Refuses further events, and those that wait for room, and resolves when the handler is done. Buffered events are dropped. */
  close(): Promise<void>;
}

/** How a {@link CausalReceiver} handles events. */
export interface CausalReceiverOptions<T> extends CausalInboxOptions {
  /**
   * Called for each event, one at a time and in causal order. If it throws, the receiver closes: later events may
   * depend on this one. Start another one from the `handled` that was stored.
   */
  readonly deliver: (event: CausalEvent<T>) => void | Promise<void>;
}

/** A receiver that goes on after `delivered`. */
export function createCausalReceiver<T>(options: CausalReceiverOptions<T>): CausalReceiver<T> {
  return new Receiver(options);
}

class Receiver<T> implements CausalReceiver<T> {
  readonly #inbox: CausalInbox<T>;
  readonly #deliver: CausalReceiverOptions<T>['deliver'];
  /** Settles when the handler is done with all events that were released so far. */
  #handling: Promise<void> = Promise.resolve();
  #handled: VersionVector;
  #closed: CausalReceiverClosedError | undefined;
  /** Wakes those that wait for room. */
  readonly #waiters = new Set<() => void>();

  constructor(options: CausalReceiverOptions<T>) {
    this.#inbox = createCausalInbox<T>(options);
    this.#handled = this.#inbox.delivered;
    this.#deliver = functionOption('deliver', options.deliver);
  }

  get handled(): VersionVector {
    return this.#handled;
  }

  get buffered(): number {
    return this.#inbox.buffered;
  }

  missing(): MissingEvents {
    return this.#inbox.missing();
  }

  async receive(event: CausalEvent<T>, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    for (;;) {
      options.signal?.throwIfAborted();
      if (this.#closed !== undefined) throw this.#closed;
      try {
        await this.#release(this.#inbox.offer(event));
        return;
      } catch (error) {
        if (!(error instanceof CausalBufferFullError)) throw error;
      }
      await this.#room(options.signal);
    }
  }

  /** Waits until the buffer may have room again. Nobody who gave up is kept. */
  async #room(signal: AbortSignal | undefined): Promise<void> {
    let wake: (() => void) | undefined;
    const room = new Promise<void>((resolve) => {
      wake = resolve;
      this.#waiters.add(resolve);
    });
    try {
      await abortable(room, signal);
    } finally {
      if (wake !== undefined) this.#waiters.delete(wake);
    }
  }

  async #release(events: readonly CausalEvent<T>[]): Promise<void> {
    if (events.length === 0) return;
    this.#wake();
    this.#handling = this.#handling.then(() => this.#handle(events));
    await this.#handling;
    if (this.#closed !== undefined) throw this.#closed;
  }

  async #handle(events: readonly CausalEvent<T>[]): Promise<void> {
    for (const event of events) {
      if (this.#closed !== undefined) return;
      try {
        await this.#deliver(event);
      } catch (error) {
        const { node, counter } = event.dot;
        this.#stop(`the handler failed at event ${String(counter)} of ${node}`, error);
        return;
      }
      this.#handled = this.#handled.with(event.dot.node, event.dot.counter);
    }
  }

  #stop(why: string, cause?: unknown): void {
    this.#closed ??= new CausalReceiverClosedError(why, cause);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  async close(): Promise<void> {
    this.#stop('the receiver is closed');
    await this.#handling;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
