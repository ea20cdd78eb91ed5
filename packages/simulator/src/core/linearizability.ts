import { type Answer, explain, type Limits } from './linearization-search.js';

/** How an operation ended: it took effect, it certainly did not, or nobody knows. */
export type Outcome = 'ok' | 'fail' | 'unknown';

/** One operation of a history. */
export interface Operation<Input, Output> {
  /** Who called; operations of one process do not overlap, except after an unknown outcome. */
  readonly process: string;
  readonly input: Input;
  /** When it was called, in any unit in which later is larger. */
  readonly invokedAt: number;
  /** When its answer came. Of an unknown outcome nothing is known: it may take effect at any time later, or never. */
  readonly returnedAt: number;
  readonly outcome: Outcome;
  /** What was answered. Ignored for any outcome but `ok`. */
  readonly output: Output | undefined;
  /** When it was called, in milliseconds, for pictures. */
  readonly invokedAtMs?: number;
  /** When it was answered or given up, in milliseconds, for pictures. */
  readonly returnedAtMs?: number;
  /** Why it failed or why its outcome is unknown, for pictures. */
  readonly reason?: string;
}

/** A sequential object: what each operation may answer, and what it leaves. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * The state after the operation, or nothing where the answer is impossible in this state. With `known` false the
   * answer is not known, and any is possible. Never changes `state`.
   */
  apply(
    state: State,
    input: Input,
    output: Output | undefined,
    known: boolean,
  ): { readonly state: State } | undefined;
  /** Equal for equal states, and only for those. */
  key(state: State): string;
  /** Operations of different partitions have nothing to do with each other. Without, there is one partition. */
  partition?(input: Input): string;
  /**
   * Whether an operation with this answer never changes any state. Such a one is given its moment as soon as its
   * answer fits, without trying later ones: the search gets much shorter.
   */
  isRead?(input: Input, output: Output | undefined): boolean;
  /**
   * Whether an operation is always possible and leaves the same state whatever was before, as a write does. Where its
   * outcome is unknown, it is considered only where somebody sees its effect: again the search gets shorter.
   */
  isBlind?(input: Input): boolean;
  /** An operation as a picture shows it, in a few characters. By default its input and output as JSON. */
  describe?(input: Input, output: Output | undefined, known: boolean): string;
}

/** What a check may cost, for each partition. What is not decided within that is `undecided`. */
export interface CheckLimits {
  /** Operations tried. @defaultValue 10_000_000 */
  readonly maxSteps?: number;
  /** States of the search that are remembered; each takes some hundred bytes. @defaultValue 1_000_000 */
  readonly maxStates?: number;
  /** Called now and then; true ends the search. With a clock behind it, it is a limit of time. */
  readonly stop?: () => boolean;
}

/** The judgement of a history. */
export interface Verdict<Input, Output> {
  /** `undecided` where the limits were reached before an answer was found; no partition is known to be wrong then. */
  readonly result: 'linearizable' | 'not-linearizable' | 'undecided';
  /** Whether the history was proven linearizable. */
  readonly linearizable: boolean;
  /** The partition that is wrong or, else, the first that is undecided. */
  readonly partition?: string;
  /**
   * Operations that no order explains, whatever all the others did and answered; with any of them left out some order
   * does, unless the limits were reached before that was certain.
   */
  readonly counterexample?: readonly Operation<Input, Output>[];
  /** All operations of the partition up to the first answer by which it is impossible: what surrounds the counterexample. */
  readonly considered?: readonly Operation<Input, Output>[];
}

/** The smaller limits of one attempt at a smaller counterexample, and of all of them. */
const ATTEMPT_STEPS = 300_000;
const ATTEMPTS_STEPS = 6_000_000;

/**
 * Whether a history is linearizable (M. Herlihy and J. Wing, 1990): whether each operation can be given a moment
 * between its call and its answer such that the object, one operation at a time, gives these answers. Searches as
 * J. Wing and C. Gong (1993) do, and remembers what was tried (G. Lowe, "Testing for linearizability", 2017), each
 * partition for itself (A. Horn and D. Kroening, "Faster linearizability checking via P-compositionality", 2015). In
 * the worst case exponential in the number of operations that overlap; `limits` bound it.
 */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  limits: CheckLimits = {},
): Verdict<Input, Output> {
  const bounds = (): Limits => ({
    steps: limits.maxSteps ?? 10_000_000,
    states: limits.maxStates ?? 1_000_000,
    stop: limits.stop,
  });
  const partitions = new Map<string, Operation<Input, Output>[]>();
  for (const operation of history) {
    if (operation.outcome === 'fail') continue;
    const name = model.partition?.(operation.input) ?? '';
    const members = partitions.get(name);
    if (members === undefined) partitions.set(name, [operation]);
    else members.push(operation);
  }
  let undecided: string | undefined;
  for (const [partition, operations] of partitions) {
    const { answer } = explain(model, operations, bounds());
    if (answer === 'undecided') undecided ??= partition;
    if (answer !== 'no') continue;
    const considered = shortestPrefix(model, operations, bounds());
    const counterexample = smallestCore(model, considered, limits.stop);
    return { result: 'not-linearizable', linearizable: false, partition, counterexample, considered };
  }
  if (undecided !== undefined) return { result: 'undecided', linearizable: false, partition: undecided };
  return { result: 'linearizable', linearizable: true };
}

/** What was known at a time: later answers are not, and later calls were not made. */
function until<Input, Output>(
  operations: readonly Operation<Input, Output>[],
  time: number,
): Operation<Input, Output>[] {
  return operations
    .filter(({ invokedAt }) => invokedAt <= time)
    .map((one) => (one.outcome === 'ok' && one.returnedAt > time ? forgotten(one) : one));
}

/** An operation of which it is known that it was called, and nothing more. */
function forgotten<Input, Output>(operation: Operation<Input, Output>): Operation<Input, Output> {
  return { ...operation, outcome: 'unknown', returnedAt: Infinity, output: undefined };
}

/** A history that goes on is no more possible than its beginning, so that halving finds the first impossible answer. */
function shortestPrefix<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: Limits,
): Operation<Input, Output>[] {
  const times = operations
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ returnedAt }) => returnedAt)
    .sort((a, b) => a - b);
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    // What is undecided does not prove it impossible: then a later answer does.
    const { answer } = explain(model, until(operations, times[middle] ?? 0), { ...limits });
    if (answer === 'no') high = middle;
    else low = middle + 1;
  }
  return until(operations, times[low] ?? 0);
}

/**
 * Forgets how operations ended as long as the rest stays impossible, in pieces that get smaller (A. Zeller and R.
 * Hildebrandt, "Simplifying and isolating failure-inducing input", 2002). An operation that is forgotten may have
 * taken effect at any time after its call or never, so that what is left contradicts itself whatever it did.
 */
function smallestCore<State, Input, Output>(
  model: Model<State, Input, Output>,
  prefix: readonly Operation<Input, Output>[],
  stop: (() => boolean) | undefined,
): Operation<Input, Output>[] {
  let core = prefix.filter(({ outcome }) => outcome === 'ok');
  let steps = ATTEMPTS_STEPS;
  const impossible = (kept: readonly Operation<Input, Output>[]): boolean => {
    const members = new Set(kept);
    const relaxed = prefix.flatMap((one) => {
      if (members.has(one)) return [one];
      // A read of which nothing is known says nothing.
      return model.isRead?.(one.input, undefined) === true ? [] : [forgotten(one)];
    });
    const limits = { steps: Math.min(ATTEMPT_STEPS, steps), states: 100_000, stop };
    const { answer, cost }: Answer = explain(model, relaxed, limits);
    steps -= cost;
    return answer === 'no';
  };
  for (
    let size = Math.ceil(core.length / 2);
    size >= 1 && steps > 0;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < core.length && steps > 0;) {
      const rest = [...core.slice(0, at), ...core.slice(at + size)];
      if (impossible(rest)) core = rest;
      else at += size;
    }
  }
  return core;
}
