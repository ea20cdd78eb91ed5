/*
 * The search for an order that explains a history of one object.
 *
 * A configuration is: which operations have their moment already, and the state that they led to. Operations with a
 * known answer must all get one; those of an unknown outcome may. Of the operations with known answers, all that were
 * answered before the first answer still open (rank `first`) have theirs, none that were called after it can have, and
 * of those in between the set `early` has. So `first`, `early`, the state and the unknown operations that were used up
 * (`used`) name a configuration, however long the history.
 *
 * Three facts prune the search. From a configuration that used up more of the unknown operations no more can be
 * reached: it is not visited again if one with a subset of them was. An operation that never changes the state can be
 * moved to the front wherever its answer fits, so that no other choice needs to be tried. And an unknown operation that
 * leaves the same state whatever was before, such as a write, can be left out where nobody sees that state.
 *
 * And one guess makes wrong turns rare, because most choices are between writes. A write and the reads that saw it hold the
 * object from the first of their answers to the last of their calls, if that is later, and else for some moment between
 * the two (P. Gibbons and E. Korach, "Testing shared memories", 1997). So writes are tried in the order of whichever of
 * the two is later.
 */
import type { Model, Operation } from './linearizability.js';

/** What a search may cost. */
export interface Limits {
  readonly steps: number;
  readonly states: number;
  readonly stop: (() => boolean) | undefined;
}

/** How a search ended. */
export interface Answer {
  /** Whether some order explains the history. */
  readonly answer: 'yes' | 'no' | 'undecided';
  /** Operations tried. */
  readonly cost: number;
}

/** How often, in steps, somebody is asked whether to stop. */
const STOP_EVERY = 4_096;
/** How many writes are looked at to find the one that a read saw, the latest first. */
const WRITES_PER_READ = 256;

/** Unknown operations that were used up, as bits. */
type Used = Uint32Array | undefined;

/** Operations with known answers that can come next; unless one is forced, unknown ones can too. */
interface Choices {
  readonly forced: boolean;
  readonly known: readonly number[];
  /** Operations with known answers that can be called next and are not blind. */
  readonly observers: readonly number[];
  /** Unknown operations that can be of use next, once somebody asked. */
  unknown: readonly number[] | undefined;
}

interface Frame<State> {
  /** The operation that got its moment here: of the known ones, or of the unknown ones. */
  readonly index: number;
  readonly unknown: boolean;
  readonly choices: Choices;
  /** The next of them to try. */
  readonly at: number;
  readonly state: State;
  readonly first: number;
  readonly early: readonly number[];
  readonly used: Used;
}

export function explain<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: Limits,
): Answer {
  return new Search(model, operations, limits).run();
}

class Search<State, Input, Output> {
  readonly #known: readonly Operation<Input, Output>[];
  readonly #unknown: readonly Operation<Input, Output>[];
  /** Calls (the operation's index) and answers (index + n) of known operations by time; 2n is before all. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** The place of an operation's answer among all answers. */
  readonly #rank: Int32Array;
  readonly #answerTimes: Float64Array;
  /** In which order operations are tried, the lowest first. */
  readonly #urgency: Float64Array;
  readonly #seen = new Map<string, Used[]>();
  #states = 0;
  #cost = 0;
  #askAt = 0;
  readonly #isRead: Uint8Array;
  /** Unknown operations that are not blind. */
  readonly #seeing: readonly number[];
  /** Unknown operations that are blind, and the states that they leave. */
  readonly #blind: readonly { readonly index: number; readonly state: State }[];
  readonly #enabling = new Map<number, readonly number[]>();
  readonly #moving = new Map<number, readonly number[]>();

  constructor(
    readonly model: Model<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    readonly limits: Limits,
  ) {
    this.#known = operations.filter(({ outcome }) => outcome === 'ok');
    this.#unknown = operations
      .filter(({ outcome }) => outcome === 'unknown')
      .sort((a, b) => a.invokedAt - b.invokedAt);
    const unknown = [...this.#unknown.keys()];
    const isBlind = (index: number): boolean => {
      const operation = this.#unknown[index];
      return operation !== undefined && model.isBlind?.(operation.input) === true;
    };
    this.#seeing = unknown.filter((index) => !isBlind(index));
    this.#blind = unknown.filter(isBlind).flatMap((index) => {
      const operation = this.#unknown[index];
      const next = operation && model.apply(model.initial, operation.input, undefined, false);
      return next === undefined ? [] : [{ index, state: next.state }];
    });
    this.#isRead = Uint8Array.from(this.#known, ({ input, output }) =>
      model.isRead?.(input, output) === true ? 1 : 0,
    );
    const n = this.#known.length;
    const time = new Float64Array(2 * n);
    for (const [index, { invokedAt, returnedAt }] of this.#known.entries()) {
      time[index] = invokedAt;
      time[index + n] = returnedAt;
    }
    // Calls before answers of the same time: such operations overlap.
    const order = Array.from({ length: 2 * n }, (_, point) => point).sort(
      (a, b) => (time[a] ?? 0) - (time[b] ?? 0) || Number(a >= n) - Number(b >= n) || a - b,
    );
    this.#next = new Int32Array(2 * n + 1).fill(-1);
    this.#previous = new Int32Array(2 * n + 1).fill(-1);
    this.#rank = new Int32Array(n);
    this.#answerTimes = new Float64Array(n);
    let last = 2 * n;
    let answers = 0;
    for (const point of order) {
      this.#next[last] = point;
      this.#previous[point] = last;
      last = point;
      if (point < n) continue;
      this.#answerTimes[answers] = time[point] ?? 0;
      this.#rank[point - n] = answers++;
    }
    this.#urgency = this.#urgencies(time);
  }

  /** The later of the first answer and the last call among an operation and the reads that seem to have seen it. */
  #urgencies(time: Float64Array): Float64Array {
    const { model } = this;
    const n = this.#known.length;
    const answer = time.slice(n);
    const call = time.slice(0, n);
    const writes = [...this.#known.entries()]
      .flatMap(([index, { input, output }]) => {
        const left =
          model.isBlind?.(input) === true ? model.apply(model.initial, input, output, true) : undefined;
        return left === undefined ? [] : [{ index, state: left.state, at: time[index] ?? 0 }];
      })
      .sort((one, other) => one.at - other.at);
    for (const [read, { input, output }] of this.#known.entries()) {
      if (this.#isRead[read] === 0) continue;
      const end = time[read + n] ?? 0;
      let [low, high] = [0, writes.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((writes[middle]?.at ?? 0) <= end) low = middle + 1;
        else high = middle;
      }
      for (const { index, state } of writes.slice(Math.max(0, low - WRITES_PER_READ), low).reverse()) {
        if (model.apply(state, input, output, true) === undefined) continue;
        answer[index] = Math.min(answer[index] ?? 0, end);
        call[index] = Math.max(call[index] ?? 0, time[read] ?? 0);
        break;
      }
    }
    return answer.map((first, index) => Math.max(first, call[index] ?? 0));
  }

  run(): Answer {
    const { model, limits } = this;
    const head = 2 * this.#known.length;
    const path: Frame<State>[] = [];
    let state = model.initial;
    let first = 0;
    let early: readonly number[] = [];
    let used: Used;
    let open = this.#known.length;
    let choices = this.#choices(head, state);
    let at = 0;
    while (open > 0) {
      if (this.#cost >= limits.steps || this.#states >= limits.states) return this.#end('undecided');
      if (this.#cost >= this.#askAt) {
        this.#askAt = this.#cost + STOP_EVERY;
        if (limits.stop?.() === true) return this.#end('undecided');
      }
      const { forced, known } = choices;
      const choice = at++;
      const index = known[choice];
      if (index !== undefined) {
        const operation = this.#known[index];
        const next = operation && model.apply(state, operation.input, operation.output, true);
        this.#cost++;
        if (next === undefined) continue;
        const after = this.#after(first, early, index);
        if (!this.#isNew(after.first, after.early, next.state, used)) continue;
        path.push({ index, unknown: false, choices, at, state, first, early, used });
        this.#lift(index);
        ({ first, early } = after);
        state = next.state;
        open--;
        choices = this.#choices(head, state);
        at = 0;
        continue;
      }
      choices.unknown ??= forced ? [] : this.#unknownChoices(choices, path.at(-1)?.unknown === true);
      const unknown = choices.unknown[choice - known.length];
      const candidate = unknown === undefined ? undefined : this.#unknown[unknown];
      if (unknown !== undefined && candidate !== undefined) {
        this.#cost++;
        if (candidate.invokedAt > (this.#answerTimes[first] ?? 0) || has(used, unknown)) continue;
        const next = model.apply(state, candidate.input, undefined, false);
        if (next === undefined) continue;
        const more = withBit(used, unknown, this.#unknown.length);
        if (!this.#isNew(first, early, next.state, more)) continue;
        path.push({ index: unknown, unknown: true, choices, at, state, first, early, used });
        used = more;
        state = next.state;
        choices = this.#choices(head, state);
        at = 0;
        continue;
      }
      // Everything was tried here: the last choice was wrong.
      const last = path.pop();
      if (last === undefined) return this.#end('no');
      if (!last.unknown) {
        this.#unlift(last.index);
        open++;
      }
      ({ choices, at, state, first, early, used } = last);
    }
    return this.#end('yes');
  }

  /**
   * What can come next: an operation that changes nothing and whose answer fits, and then no other; or all that were
   * called before the first answer that is still open, the most urgent first.
   */
  #choices(head: number, state: State): Choices {
    const { model } = this;
    const known: number[] = [];
    const observers: number[] = [];
    for (
      let point = this.#next[head] ?? -1;
      point >= 0 && point < this.#known.length;
      point = this.#next[point] ?? -1
    ) {
      const operation = this.#known[point];
      if (operation === undefined) break;
      const { input, output } = operation;
      this.#cost++;
      if (this.#isRead[point] === 0) known.push(point);
      else if (model.apply(state, input, output, true) !== undefined) {
        return { forced: true, known: [point], observers, unknown: undefined };
      }
      if (model.isBlind?.(input) !== true) observers.push(point);
    }
    if (known.length > 1) {
      known.sort(
        (a, b) =>
          (this.#urgency[a] ?? 0) - (this.#urgency[b] ?? 0) || (this.#rank[a] ?? 0) - (this.#rank[b] ?? 0),
      );
    }
    return { forced: false, known, observers, unknown: undefined };
  }

  /**
   * Unknown operations that can be of use next. A blind one is of use only if what comes right after it sees its
   * effect: an operation that is possible then, or an unknown one that is not blind and changes something then.
   */
  #unknownChoices({ observers }: Choices, afterUnknown: boolean): readonly number[] {
    if (this.#unknown.length === 0) return this.#seeing;
    if (afterUnknown && this.#seeing.length === this.#unknown.length) return this.#seeing;
    const useful = new Set<number>();
    if (!afterUnknown) {
      for (const observer of observers) for (const one of this.#enablers(observer)) useful.add(one);
      for (const one of this.#seeing) for (const other of this.#movers(one)) useful.add(other);
    }
    for (const one of this.#seeing) useful.add(one);
    this.#cost += useful.size;
    return [...useful];
  }

  /** Blind unknown operations after which a known one is possible. */
  #enablers(point: number): readonly number[] {
    let found = this.#enabling.get(point);
    const operation = this.#known[point];
    if (found === undefined && operation !== undefined) {
      const { input, output } = operation;
      found = this.#blind.flatMap(({ index, state }) =>
        this.model.apply(state, input, output, true) === undefined ? [] : [index],
      );
      this.#cost += this.#blind.length;
      this.#enabling.set(point, found);
    }
    return found ?? [];
  }

  /** Blind unknown operations after which an unknown one changes the state. */
  #movers(unknown: number): readonly number[] {
    let found = this.#moving.get(unknown);
    const operation = this.#unknown[unknown];
    if (found === undefined && operation !== undefined) {
      found = this.#blind.flatMap(({ index, state }) => {
        const next = this.model.apply(state, operation.input, undefined, false);
        return next === undefined || this.model.key(next.state) === this.model.key(state) ? [] : [index];
      });
      this.#cost += this.#blind.length;
      this.#moving.set(unknown, found);
    }
    return found ?? [];
  }

  #end(answer: Answer['answer']): Answer {
    return { answer, cost: this.#cost };
  }

  /** `first` and `early` once one more operation has its moment. */
  #after(
    first: number,
    early: readonly number[],
    index: number,
  ): { readonly first: number; readonly early: readonly number[] } {
    const rank = this.#rank[index] ?? 0;
    if (rank !== first) {
      let at = early.length;
      while (at > 0 && (early[at - 1] ?? 0) > rank) at--;
      return { first, early: [...early.slice(0, at), rank, ...early.slice(at)] };
    }
    let gone = 0;
    while (early[gone] === first + 1 + gone) gone++;
    return { first: first + 1 + gone, early: gone === 0 ? early : early.slice(gone) };
  }

  /** Whether a configuration was not visited, nor one from which more can be reached. Remembers it. */
  #isNew(first: number, early: readonly number[], state: State, used: Used): boolean {
    const key = `${String(first)};${early.join()};${this.model.key(state)}`;
    const visited = this.#seen.get(key);
    // A long key takes the memory of several.
    const size = 1 + (key.length >> 7);
    if (visited === undefined) {
      this.#seen.set(key, [used]);
      this.#states += size;
      return true;
    }
    for (const one of visited) if (isSubset(one, used)) return false;
    visited.push(used);
    this.#states += size;
    return true;
  }

  #lift(index: number): void {
    this.#drop(index);
    this.#drop(index + this.#known.length);
  }

  /** The reverse of lifting, in the reverse order. */
  #unlift(index: number): void {
    this.#restore(index + this.#known.length);
    this.#restore(index);
  }

  #drop(point: number): void {
    const before = this.#previous[point] ?? -1;
    const after = this.#next[point] ?? -1;
    this.#next[before] = after;
    if (after >= 0) this.#previous[after] = before;
  }

  #restore(point: number): void {
    const before = this.#previous[point] ?? -1;
    const after = this.#next[point] ?? -1;
    this.#next[before] = point;
    if (after >= 0) this.#previous[after] = point;
  }
}

function has(used: Used, index: number): boolean {
  return used !== undefined && (((used[index >> 5] ?? 0) >>> (index & 31)) & 1) === 1;
}

function withBit(used: Used, index: number, count: number): Uint32Array {
  const bits = used === undefined ? new Uint32Array((count + 31) >> 5) : used.slice();
  bits[index >> 5] = (bits[index >> 5] ?? 0) | (1 << (index & 31));
  return bits;
}

function isSubset(one: Used, other: Used): boolean {
  if (one === undefined || one === other) return true;
  if (other === undefined) return false;
  for (let word = 0; word < one.length; word++)
    if (((one[word] ?? 0) & ~(other[word] ?? 0)) !== 0) return false;
  return true;
}
