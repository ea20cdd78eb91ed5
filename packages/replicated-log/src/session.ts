import { backoff, type Deadline, deadline, type Runtime, sleep, type Timer } from '@quorate/runtime';
import type { CallOptions } from './replicated-log.js';
import { type Command } from './core/commands.js';
import { ReplicatedLogError, type ReplicatedLogErrorCode } from './errors.js';
import { type Outcome, SESSION_WINDOW } from './session-machine.js';

/**
 * A client of a replicated log whose commands take effect exactly once: also when an answer was lost, the leader
 * crashed, and the command had to be sent again. The results that duplicates need are part of the replicated state,
 * and of its snapshots.
 *
 * It ends when nothing was heard of it for its time to live, by replicated time; commands are then refused with
 * `SESSION_EXPIRED`. It keeps itself alive while its node runs and a leader can be reached. It belongs to this
 * process: one that crashes begins a new session, and learns the fate of what was under way by reading.
 */
export interface Session<R> extends AsyncDisposable {
  /** The index that opened it; unique for ever in this log. */
  readonly id: number;
  /** Aborts, with the error, once the session is known to have ended. */
  readonly ended: AbortSignal;
  /**
   * Appends a command that takes effect once. Unknown outcomes are resolved by asking again until `timeoutMs` have
   * passed. Rejects with `UNKNOWN_OUTCOME` then, and with `SESSION_EXPIRED` when the session is gone, in which case
   * a command that was under way may have taken effect before. At most 512 are under way; more wait their turn.
   */
  propose(command: Uint8Array, options?: CallOptions): Promise<R>;
  /** Forgets the session everywhere, as far as a leader can be reached. Idempotent. */
  close(): Promise<void>;
}

/** How {@link ReplicatedLog.openSession} opens a session. */
export interface SessionOptions extends CallOptions {
  /**
   * It ends when nothing was heard of it for so long, in milliseconds of replicated time. Danger: below the longest
   * time without a leader, sessions end in every election.
   * @defaultValue 60_000
   */
  readonly ttlMs?: number;
}

/** What a session needs of its node. */
export interface SessionHost<R> {
  readonly runtime: Runtime;
  readonly timeoutMs: number;
  readonly stopped: AbortSignal;
  propose(command: Untimed, options: CallOptions): Promise<Outcome<R>>;
}

/** A command whose time is filled in when it is sent. */
export type Untimed = Command extends infer C ? (C extends Command ? Omit<C, 'timeMs'> : never) : never;

const MAX_UNDER_WAY = SESSION_WINDOW / 2;
/** One attempt; commands are small, and the answer to a repeated one is cheap. */
const ATTEMPT_MS = 2_000;

const REPEATABLE: ReadonlySet<ReplicatedLogErrorCode> = new Set([
  'UNKNOWN_OUTCOME',
  'TIMEOUT',
  'NOT_LEADER',
  'QUEUE_FULL',
]);

/** See {@link Session}. */
export class LogSession<R> implements Session<R> {
  readonly id: number;
  readonly #host: SessionHost<R>;
  readonly #end = new AbortController();
  readonly #keepAliveMs: number;
  #timer: Timer | undefined;
  #sequence = 0;
  /** Sequences whose result is not known, ascending. */
  readonly #open = new Set<number>();
  readonly #waiting = new Set<() => void>();
  #closing: Promise<void> | undefined;

  constructor(host: SessionHost<R>, id: number, ttlMs: number) {
    this.#host = host;
    this.id = id;
    this.#keepAliveMs = ttlMs / 3;
    this.#scheduleKeepAlive();
    host.stopped.addEventListener('abort', this.#onStopped, { once: true });
  }

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  async propose(data: Uint8Array, options: CallOptions = {}): Promise<R> {
    const { timeoutMs = this.#host.timeoutMs, signal } = options;
    const limit = deadline(this.#host.runtime, timeoutMs, { signal, what: 'the proposal' });
    try {
      const sequence = await this.#turn(limit);
      try {
        const outcome = await this.#repeat(
          () => ({ kind: 'session', session: this.id, sequence, acknowledged: this.#acknowledged(), data }),
          limit,
        );
        if (outcome.kind === 'result') return outcome.result;
        if (outcome.kind === 'expired') throw this.#expire();
        throw new ReplicatedLogError('UNKNOWN_OUTCOME', 'the result of the command is not kept any more', {
          definite: false,
        });
      } finally {
        this.#open.delete(sequence);
        this.#wake();
      }
    } finally {
      limit[Symbol.dispose]();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #onStopped = (): void => {
    this.#finish(this.#host.stopped.reason);
  };

  async #close(): Promise<void> {
    if (this.#end.signal.aborted) return;
    this.#finish(new ReplicatedLogError('CLOSED', 'the session was closed', { definite: true }));
    await this.#host.propose({ kind: 'close', session: this.id }, {}).catch(() => {
      // It ends by itself when its time to live is over.
    });
  }

  #finish(reason: unknown): void {
    this.#timer?.cancel();
    this.#host.stopped.removeEventListener('abort', this.#onStopped);
    this.#end.abort(reason);
    for (const wake of [...this.#waiting]) wake();
  }

  #expire(): ReplicatedLogError {
    const message = `session ${String(this.id)} has expired; open another`;
    const error = new ReplicatedLogError('SESSION_EXPIRED', message, { definite: false });
    if (!this.#end.signal.aborted) this.#finish(error);
    return error;
  }

  /** Waits until fewer are under way: what is acknowledged may not fall behind by more than the window. */
  async #turn(limit: Deadline): Promise<number> {
    for (;;) {
      if (this.#end.signal.aborted) throw this.#end.signal.reason as Error;
      if (limit.signal.aborted) {
        throw new ReplicatedLogError('TIMEOUT', 'too many commands of the session are under way', {
          definite: true,
          cause: limit.signal.reason,
        });
      }
      if (this.#room > 0) {
        const sequence = ++this.#sequence;
        this.#open.add(sequence);
        return sequence;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          limit.signal.removeEventListener('abort', wake);
          this.#waiting.delete(wake);
          resolve();
        };
        limit.signal.addEventListener('abort', wake, { once: true });
        this.#waiting.add(wake);
      });
    }
  }

  /** How many more may be under way. */
  get #room(): number {
    const [oldest = this.#sequence + 1] = this.#open;
    return MAX_UNDER_WAY - (this.#sequence + 1 - oldest);
  }

  #wake(): void {
    let room = this.#room;
    for (const wake of this.#waiting) {
      if (room-- <= 0) return;
      wake();
    }
  }

  /** Everything below the oldest that is under way. */
  #acknowledged(): number {
    const [oldest = this.#sequence + 1] = this.#open;
    return oldest - 1;
  }

  /** Proposes until the outcome is known or the time is over. */
  async #repeat(command: () => Untimed, limit: Deadline): Promise<Outcome<R>> {
    const delays = backoff(this.#host.runtime, { minMs: 20, maxMs: 500 });
    let open = false;
    for (;;) {
      const timeoutMs = Math.max(1, Math.min(ATTEMPT_MS, limit.remainingMs()));
      try {
        return await this.#host.propose(command(), { timeoutMs, signal: limit.signal });
      } catch (error) {
        if (!(error instanceof ReplicatedLogError)) throw error;
        open ||= !error.definite;
        if (limit.signal.aborted || !REPEATABLE.has(error.code)) throw withOutcome(error, open);
        await sleep(this.#host.runtime, delays.nextMs(), { signal: limit.signal, keepAlive: false }).catch(
          () => {
            throw withOutcome(error, open);
          },
        );
      }
    }
  }

  #scheduleKeepAlive(): void {
    this.#timer = this.#host.runtime.setTimer(this.#keepAliveMs, () => {
      this.#scheduleKeepAlive();
      this.#host.propose({ kind: 'keep-alive', session: this.id }, { timeoutMs: this.#keepAliveMs }).then(
        ({ kind }) => {
          if (kind === 'expired') this.#expire();
        },
        () => {
          // The next one may arrive; commands keep it alive as well.
        },
      );
    });
  }
}

/** An earlier attempt may have taken effect also where the last one certainly did not. */
function withOutcome(error: ReplicatedLogError, open: boolean): ReplicatedLogError {
  if (!open || !error.definite) return error;
  const message = 'the command did not end in time; it may have happened';
  return new ReplicatedLogError('UNKNOWN_OUTCOME', message, { definite: false, cause: error });
}
