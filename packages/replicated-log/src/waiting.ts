import type { Index } from '@quorate/durable-log';
import { DeadlineError, numberOption, type Runtime, type Timer } from '@quorate/runtime';
import type { ProposalId, Result } from './contract.js';
import { refusal, ReplicatedLogError, type ReplicatedLogErrorCode } from './errors.js';

/** One call of a user that waits for the core. */
interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: ReplicatedLogError) => void;
  readonly ask: () => void;
  readonly bytes: number;
  /** Ends the waiting, as the abort of `signal` does. */
  timer: Timer | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  /** Whether the core may be acting on it. */
  asked: boolean;
  /** What is known to settle it: the state machine reaching this index. */
  index: Index | undefined;
}

/** How long a call waits, and how much memory it holds meanwhile. */
export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly bytes?: number;
}

/**
 * The calls that wait for an answer from the core, by id. Each settles once: with its value, with the core's refusal,
 * or when its time is over; and then the error says whether it may still happen.
 */
export class WaitingCalls<T> {
  readonly #runtime: Runtime;
  readonly #what: string;
  /** Whether giving up leaves the outcome open: it does for a proposal, and not for a read. */
  readonly #hasEffect: boolean;
  readonly #calls = new Map<ProposalId, Waiter<T>>();
  /** Refused for a reason that passes, without having had an effect. */
  readonly #again = new Set<ProposalId>();
  /** Those that wait for an index. */
  readonly #indexed = new Set<ProposalId>();
  /** None of them waits for less, so that applying costs them nothing until then. */
  #lowest = Number.POSITIVE_INFINITY;
  #bytes = 0;

  constructor(runtime: Runtime, what: string, hasEffect: boolean) {
    this.#runtime = runtime;
    this.#what = what;
    this.#hasEffect = hasEffect;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Bytes of the calls that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  has(id: ProposalId): boolean {
    return this.#calls.has(id);
  }

  /** Asks, and waits for {@link WaitingCalls.resolve} or a refusal. */
  add(id: ProposalId, ask: () => void, options: WaitOptions): Promise<T> {
    const { timeoutMs, signal, bytes = 0 } = options;
    numberOption('timeoutMs', timeoutMs);
    return new Promise<T>((resolve, reject) => {
      // A timer and at most one listener: an `AbortController` for each call costs more than the protocol does.
      const giveUp = (cause: unknown): void => {
        this.#take(id)?.reject(this.#givenUp(waiter, cause));
      };
      const onAbort = signal && ((): void => giveUp(signal.reason));
      const waiter: Waiter<T> = {
        resolve,
        reject,
        ask,
        bytes,
        timer: undefined,
        signal,
        onAbort,
        asked: false,
        index: undefined,
      };
      this.#calls.set(id, waiter);
      this.#bytes += bytes;
      if (signal?.aborted === true) {
        giveUp(signal.reason);
        return;
      }
      if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true });
      waiter.timer = this.#runtime.setTimer(timeoutMs, () =>
        giveUp(new DeadlineError(timeoutMs, this.#what)),
      );
      waiter.asked = true;
      ask();
    });
  }

  resolve(id: ProposalId, value: T): void {
    this.#take(id)?.resolve(value);
  }

  reject(id: ProposalId, error: ReplicatedLogError): void {
    this.#take(id)?.reject(error);
  }

  /** Settles once {@link WaitingCalls.reached} tells of `index`. */
  waitFor(id: ProposalId, index: Index): void {
    const waiter = this.#calls.get(id);
    if (waiter === undefined) return;
    waiter.index = index;
    this.#indexed.add(id);
    this.#lowest = Math.min(this.#lowest, index);
  }

  /** The state machine stands at `index`. */
  reached(this: WaitingCalls<Index>, index: Index): void {
    if (index < this.#lowest) return;
    this.#lowest = Number.POSITIVE_INFINITY;
    for (const id of this.#indexed) {
      const wanted = this.#calls.get(id)?.index;
      if (wanted === undefined) continue;
      if (wanted <= index) this.resolve(id, index);
      else this.#lowest = Math.min(this.#lowest, wanted);
    }
  }

  /** The core refused: the call ends, or waits until the reason has passed where that is sure to do no harm. */
  refuse(result: Extract<Result, { ok: false }>): void {
    const waiter = this.#calls.get(result.id);
    if (waiter === undefined) return;
    const { reason, leader, detail } = result;
    const passes =
      reason === 'transferring' ||
      reason === 'superseded' ||
      // Where a leader is named, a call with effect was refused because this node does not hand it on.
      (reason === 'not-leader' && (leader === undefined || !this.#hasEffect));
    if (passes) {
      waiter.asked = false;
      this.#again.add(result.id);
    } else {
      this.reject(result.id, refusal(reason, leader, detail));
    }
  }

  /** Asks again for those that were refused for a reason that may have passed. Returns whether there were any. */
  askAgain(): boolean {
    if (this.#again.size === 0) return false;
    const ids = [...this.#again];
    this.#again.clear();
    for (const id of ids) {
      const waiter = this.#calls.get(id);
      if (waiter === undefined) continue;
      waiter.asked = true;
      waiter.ask();
    }
    return true;
  }

  /** Rejects everything that waits. */
  fail(code: ReplicatedLogErrorCode, message: string, cause: unknown): void {
    for (const [id, { asked }] of [...this.#calls]) {
      const definite = !(this.#hasEffect && asked);
      this.reject(id, new ReplicatedLogError(code, message, { definite, cause }));
    }
  }

  #take(id: ProposalId): Waiter<T> | undefined {
    const waiter = this.#calls.get(id);
    if (waiter === undefined) return undefined;
    this.#calls.delete(id);
    this.#again.delete(id);
    this.#indexed.delete(id);
    this.#bytes -= waiter.bytes;
    waiter.timer?.cancel();
    if (waiter.onAbort !== undefined) waiter.signal?.removeEventListener('abort', waiter.onAbort);
    return waiter;
  }

  #givenUp({ asked }: Waiter<T>, cause: unknown): ReplicatedLogError {
    const open = this.#hasEffect && asked;
    if (!(cause instanceof DeadlineError)) {
      const message = `${this.#what} was aborted${open ? '; it may still happen' : ''}`;
      return new ReplicatedLogError('ABORTED', message, { definite: !open, cause });
    }
    if (open) {
      const message = `${this.#what} did not end in time; it may still happen`;
      return new ReplicatedLogError('UNKNOWN_OUTCOME', message, {
        definite: false,
        cause,
      });
    }
    return asked
      ? new ReplicatedLogError('TIMEOUT', `${this.#what} did not end in time`, { definite: true, cause })
      : new ReplicatedLogError('NOT_LEADER', `${this.#what} found no leader in time`, {
          definite: true,
          cause,
        });
  }
}
