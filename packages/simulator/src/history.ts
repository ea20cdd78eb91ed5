import {
  checkLinearizable,
  type CheckLimits,
  type Model,
  type Operation,
  type Verdict,
} from './core/linearizability.js';
import { SimulationStateError } from './errors.js';

/** One line of a history, in the order in which things happened; the words are Jepsen's. */
export interface HistoryEvent {
  /**
   * - `invoke`: an operation was called
   * - `ok`: it took effect, and this is its answer
   * - `fail`: it certainly did not take effect and never will
   * - `info`: nobody knows whether it took effect, or will
   */
  readonly type: 'invoke' | 'ok' | 'fail' | 'info';
  /** The number of the operation, from 0. */
  readonly operation: number;
  readonly process: string;
  readonly atMs: number;
  /** The input of an `invoke`, the output of an `ok`, the reason of a `fail` or an `info`. */
  readonly value: unknown;
}

/** An operation that was called and has not ended. Ending it twice throws `SIMULATION_STATE`. */
export interface OpenCall<Output> {
  /** It took effect and answered this. */
  ok(output: Output): void;
  /** It certainly did not take effect, and never will. */
  fail(reason?: unknown): void;
  /** Nobody knows: it may have taken effect, may still do so, or never. So is every call that is not ended. */
  info(reason?: unknown): void;
}

interface Entry<Input, Output> {
  readonly process: string;
  readonly input: Input;
  readonly invokedAt: number;
  readonly invokedAtMs: number;
  end:
    | {
        readonly type: 'ok' | 'fail' | 'info';
        readonly at: number;
        readonly atMs: number;
        readonly output: Output | undefined;
        readonly reason: unknown;
      }
    | undefined;
}

/**
 * Records what clients asked and were answered. The order of the events counts, not their times: an answer that came
 * before a call in the same millisecond is before it.
 */
export class History<Input, Output> {
  readonly #entries: Entry<Input, Output>[] = [];
  readonly #events: HistoryEvent[] = [];

  /** `nowMs` is the clock of the pictures; in a simulation use {@link Simulation.history}. */
  constructor(
    readonly name: string,
    readonly model: Model<unknown, Input, Output>,
    private readonly nowMs: () => number,
  ) {}

  /** Everything in the order in which it happened. */
  get events(): readonly HistoryEvent[] {
    return this.#events;
  }

  /** Writes down that `process` calls an operation. */
  invoke(process: string, input: Input): OpenCall<Output> {
    const operation = this.#entries.length;
    const entry: Entry<Input, Output> = {
      process,
      input,
      invokedAt: this.#events.length,
      invokedAtMs: this.nowMs(),
      end: undefined,
    };
    this.#entries.push(entry);
    this.#events.push({ type: 'invoke', operation, process, atMs: entry.invokedAtMs, value: input });
    const end = (type: 'ok' | 'fail' | 'info', output: Output | undefined, reason: unknown): void => {
      if (entry.end !== undefined) {
        throw new SimulationStateError(`operation ${String(operation)} of ${process} ended twice`);
      }
      const atMs = this.nowMs();
      entry.end = { type, at: this.#events.length, atMs, output, reason };
      this.#events.push({ type, operation, process, atMs, value: type === 'ok' ? output : reason });
    };
    return {
      ok: (output) => {
        end('ok', output, undefined);
      },
      fail: (reason) => {
        end('fail', undefined, reason);
      },
      info: (reason) => {
        end('info', undefined, reason);
      },
    };
  }

  /**
   * Calls an operation and records how it ended: `ok` with what `run` resolves to, `fail` where it rejects with an
   * error that says by `definite: true` that nothing happened, else `info`. Passes the answer or the error on.
   */
  async record(process: string, input: Input, run: () => Promise<Output>): Promise<Output> {
    const call = this.invoke(process, input);
    try {
      const output = await run();
      call.ok(output);
      return output;
    } catch (error) {
      if ((error as { definite?: unknown } | undefined)?.definite === true) call.fail(error);
      else call.info(error);
      throw error;
    }
  }

  /** The operations as a checker takes them. */
  operations(): Operation<Input, Output>[] {
    return this.#entries.map(({ process, input, invokedAt, invokedAtMs, end }) => ({
      process,
      input,
      invokedAt,
      returnedAt: end?.type === 'ok' ? end.at : Number.POSITIVE_INFINITY,
      outcome: end?.type === 'ok' ? 'ok' : end?.type === 'fail' ? 'fail' : 'unknown',
      output: end?.output,
      invokedAtMs,
      ...(end !== undefined && { returnedAtMs: end.atMs }),
      ...(end?.reason !== undefined && { reason: reasonOf(end.reason) }),
    }));
  }

  /** Whether the history so far is linearizable. */
  check(limits: CheckLimits = {}): Verdict<Input, Output> {
    return checkLinearizable(this.model, this.operations(), limits);
  }
}

function reasonOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
