import { DeadlineError, type Runtime, type Timer } from '@quorate/runtime';

/**
 * What `AbortController` is, for the inside: it costs next to nothing until somebody asks for its signal. Taking a lock
 * needs several, and most backends look at none of them.
 */
export class Stop {
  #reason: Error | undefined;
  /** Most have one listener at a time. */
  #listener: StopListener | undefined;
  #others: Set<StopListener> | undefined;
  #controller: AbortController | undefined;

  get stopped(): boolean {
    return this.#reason !== undefined;
  }

  /** Why it stopped. */
  get reason(): Error {
    return this.#reason ?? new Error('it has not stopped');
  }

  /** A signal that aborts when this stops. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Stops once; later reasons are ignored. */
  stop(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const first = this.#listener;
    const others = this.#others;
    this.#listener = this.#others = undefined;
    first?.onStop(reason);
    if (others !== undefined) for (const listener of others) listener.onStop(reason);
  }

  /** Tells the listener when it stops, at once if it has. */
  add(listener: StopListener): void {
    if (this.#reason !== undefined) listener.onStop(this.#reason);
    else if (this.#listener === undefined) this.#listener = listener;
    else (this.#others ??= new Set()).add(listener);
  }

  /** Takes back an `add`. */
  remove(listener: StopListener): void {
    if (this.#listener === listener) this.#listener = undefined;
    else this.#others?.delete(listener);
  }
}

/** Who wants to know of a stop. */
export interface StopListener {
  onStop(reason: Error): void;
}

/** Who made a call. */
export interface Caller<T> {
  onGivenUp(made: Promise<T>): void;
}

/**
 * One call, given up after `limitMs` with `DeadlineError`, or when `outer` stops, with its reason. The stop that `make`
 * gets says so to whoever makes the call; what it comes to afterwards is ignored. `caller` is told of a call that is
 * still under way then.
 */
export function bounded<T>(
  runtime: Runtime,
  limitMs: number,
  outer: Stop | undefined,
  what: string,
  make: (stop: Stop) => Promise<T>,
  caller?: Caller<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (outer?.stopped === true) {
      reject(outer.reason);
      return;
    }
    const call = new BoundedCall(outer, resolve, reject, caller);
    // What is sent first is answered first: the rest is done while it is under way.
    call.begin(make);
    if (limitMs !== Number.POSITIVE_INFINITY)
      call.timer = runtime.setTimer(limitMs, () => call.onStop(new DeadlineError(limitMs, what)));
    outer?.add(call);
  });
}

class BoundedCall<T> extends Stop implements StopListener {
  timer: Timer | undefined;
  #made: Promise<T> | undefined;

  constructor(
    readonly outer: Stop | undefined,
    readonly resolve: (value: T) => void,
    readonly reject: (reason: unknown) => void,
    readonly caller: Caller<T> | undefined,
  ) {
    super();
  }

  begin(make: (stop: Stop) => Promise<T>): void {
    let made: Promise<T>;
    try {
      made = make(this);
    } catch (error) {
      // A backend of somebody else may throw before it returns a promise.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it came
      made = Promise.reject(error);
    }
    if (this.stopped) this.caller?.onGivenUp(made);
    else this.#made = made;
    made.then(
      (value) => {
        this.#finish();
        this.resolve(value);
      },
      (error: unknown) => {
        this.#finish();
        this.reject(error);
      },
    );
  }

  onStop(reason: Error): void {
    const made = this.#made;
    this.#finish();
    if (made !== undefined) this.caller?.onGivenUp(made);
    this.stop(reason);
    this.reject(reason);
  }

  #finish(): void {
    this.timer?.cancel();
    this.outer?.remove(this);
    this.#made = undefined;
  }
}
