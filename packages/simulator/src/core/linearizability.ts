/** How an operation ended, or that nobody knows. */
export type Outcome = 'ok' | 'unknown';

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
  /** What was answered. Ignored for an unknown outcome. */
  readonly output: Output | undefined;
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
}

/** The judgement of a history. */
export interface Verdict<Input, Output> {
  readonly linearizable: boolean;
  /** Where it is not: the partition, and the operations that completed up to the first impossible answer. */
  readonly partition?: string;
  readonly counterexample?: readonly Operation<Input, Output>[];
}

/**
 * Whether a history is linearizable (M. Herlihy and J. Wing, 1990): whether each operation can be given a moment
 * between its call and its answer such that the object, one operation at a time, gives these answers. Searches as
 * J. Wing and C. Gong (1993) do, and remembers which operations led to which state (G. Lowe, "Testing for
 * linearizability", 2017), each partition for itself. In the worst case exponential in the number of operations that
 * overlap. The counterexample is cut after the earliest answer by which the history is impossible.
 */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): Verdict<Input, Output> {
  const partitions = new Map<string, Operation<Input, Output>[]>();
  for (const operation of history) {
    const name = model.partition?.(operation.input) ?? '';
    const members = partitions.get(name);
    if (members === undefined) partitions.set(name, [operation]);
    else members.push(operation);
  }
  for (const [partition, operations] of partitions) {
    if (!explains(model, operations)) {
      return { linearizable: false, partition, counterexample: shortest(model, operations) };
    }
  }
  return { linearizable: true };
}

/** What was known at a time: later answers are not, and later calls were not made. */
function until<Input, Output>(
  operations: readonly Operation<Input, Output>[],
  time: number,
): Operation<Input, Output>[] {
  return operations
    .filter(({ invokedAt }) => invokedAt <= time)
    .map((one) =>
      one.returnedAt <= time ? one : { ...one, outcome: 'unknown', returnedAt: Infinity, output: undefined },
    );
}

/** A history that goes on is no more possible than its beginning, so that halving finds the first impossible answer. */
function shortest<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): Operation<Input, Output>[] {
  const times = operations
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ returnedAt }) => returnedAt)
    .sort((a, b) => a - b);
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (explains(model, until(operations, times[middle] ?? 0))) low = middle + 1;
    else high = middle;
  }
  return until(operations, times[low] ?? 0);
}

/** A call or an answer, in a doubly linked list from which what was given its moment is lifted out. */
interface Point {
  readonly index: number;
  readonly at: number;
  /** The answer that belongs to a call; nothing for an answer, and for the call of an unknown outcome. */
  answer: Point | undefined;
  readonly call: boolean;
  before: Point | undefined;
  after: Point | undefined;
}

function explains<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): boolean {
  const head = link(operations);
  let open = operations.filter(({ outcome }) => outcome === 'ok').length;
  const done = new Uint32Array(Math.ceil(operations.length / 32));
  const seen = new Set<string>();
  const path: { readonly point: Point; readonly state: State }[] = [];
  let state = model.initial;
  let point = head.after;
  while (open > 0) {
    if (point?.call === true) {
      const { index } = point;
      const operation = operations[index];
      if (operation === undefined) return false;
      const known = operation.outcome === 'ok';
      const next = model.apply(state, operation.input, operation.output, known);
      if (next !== undefined) {
        flip(done, index);
        const place = `${done.join()}|${model.key(next.state)}`;
        if (!seen.has(place)) {
          seen.add(place);
          path.push({ point, state });
          state = next.state;
          lift(point);
          if (known) open--;
          point = head.after;
          continue;
        }
        flip(done, index);
      }
      point = point.after;
      continue;
    }
    // An answer whose operation has no moment yet, or the end: the last choice was wrong.
    const last = path.pop();
    if (last === undefined) return false;
    state = last.state;
    flip(done, last.point.index);
    unlift(last.point);
    if (last.point.answer !== undefined) open++;
    point = last.point.after;
  }
  return true;
}

function flip(bits: Uint32Array, index: number): void {
  bits[index >> 5] = (bits[index >> 5] ?? 0) ^ (1 << (index & 31));
}

/** Calls before answers of the same time: such operations overlap. */
function link<Input, Output>(operations: readonly Operation<Input, Output>[]): Point {
  const points: Point[] = [];
  for (const [index, { invokedAt, returnedAt, outcome }] of operations.entries()) {
    const call: Point = {
      index,
      at: invokedAt,
      answer: undefined,
      call: true,
      before: undefined,
      after: undefined,
    };
    points.push(call);
    if (outcome !== 'ok') continue;
    call.answer = {
      index,
      at: returnedAt,
      answer: undefined,
      call: false,
      before: undefined,
      after: undefined,
    };
    points.push(call.answer);
  }
  points.sort((a, b) => a.at - b.at || Number(b.call) - Number(a.call));
  const head: Point = {
    index: -1,
    at: 0,
    answer: undefined,
    call: false,
    before: undefined,
    after: undefined,
  };
  let last = head;
  for (const point of points) {
    last.after = point;
    point.before = last;
    last = point;
  }
  return head;
}

function lift(call: Point): void {
  for (const point of [call, call.answer]) {
    if (point === undefined) continue;
    if (point.before !== undefined) point.before.after = point.after;
    if (point.after !== undefined) point.after.before = point.before;
  }
}

/** The reverse of {@link lift}, in the reverse order. */
function unlift(call: Point): void {
  for (const point of [call.answer, call]) {
    if (point === undefined) continue;
    if (point.before !== undefined) point.before.after = point;
    if (point.after !== undefined) point.after.before = point;
  }
}
