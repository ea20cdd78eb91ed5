import { integerOption, numberOption } from '@quorate/runtime';
import { Clockwork } from './core/clockwork.js';
import type { DiskOptions } from './disk.js';
import { SimulationStateError, ViolationError } from './errors.js';
import type { CheckLimits, Model } from './core/linearizability.js';
import { type Fault, FaultBook, type FaultRecord } from './faults.js';
import { History } from './history.js';
import { Network, type NetworkOptions, type SimNetwork } from './network.js';
import { type ClockOptions, SimNode, type SimProcess } from './node.js';

/** What a {@link Simulation} is made of. */
export interface SimulationOptions {
  /** Decides everything: two runs of one seed and one program are the same bit for bit. */
  readonly seed: number;
  readonly network?: NetworkOptions;
  readonly disk?: DiskOptions;
  readonly clock?: ClockOptions;
  /**
   * Whether promise callbacks run to their end between two events. Without, only use code that needs no promises.
   * @defaultValue true
   */
  readonly promises?: boolean;
  /** How many of the last records a violation shows. @defaultValue 40 */
  readonly traceTail?: number;
  /** Events after which a run that does not end is a violation of `steps`. @defaultValue 100_000_000 */
  readonly maxSteps?: number;
  /** The numbers of the faults that may happen; without, all do. A smaller run of the same seed has fewer of them. */
  readonly onlyFaults?: readonly number[];
}

/** How many events one turn of Node's event loop takes. Between two of them Node runs the promise callbacks. */
const BATCH = 256;

/**
 * Nodes, a network and disks in virtual time, from one seed. Nothing happens until {@link Simulation.runFor} or
 * {@link Simulation.runUntil}. Code under test must take time, chance, network and files from its {@link SimProcess}
 * and from nowhere else.
 */
export class Simulation {
  readonly seed: number;
  readonly network: SimNetwork;
  readonly nodes = new Map<string, SimNode>();
  readonly #clockwork: Clockwork;
  readonly #options: SimulationOptions;
  readonly #net: Network;
  readonly #book: FaultBook;
  readonly #histories: History<unknown, unknown>[] = [];
  readonly #maxSteps: number;
  readonly #invariants: { readonly name: string; readonly check: () => string | undefined }[] = [];
  #violation: ViolationError | undefined;

  constructor(options: SimulationOptions) {
    this.seed = integerOption('seed', options.seed, { min: Number.MIN_SAFE_INTEGER });
    this.#options = options;
    this.#clockwork = new Clockwork(this.seed, integerOption('traceTail', options.traceTail ?? 40));
    this.#net = new Network(this.#clockwork, options.network ?? {});
    this.network = this.#net;
    this.#maxSteps = integerOption('maxSteps', options.maxSteps ?? 100_000_000, { min: 1 });
    const only = options.onlyFaults;
    this.#book = new FaultBook(this.#clockwork, only === undefined ? undefined : new Set(only));
  }

  /** Virtual time in milliseconds since the start. */
  get nowMs(): number {
    return this.#clockwork.nowMs;
  }

  /** How many events have run. */
  get steps(): number {
    return this.#clockwork.steps;
  }

  /** Of everything that happened so far, as 16 hexadecimal digits. */
  get hash(): string {
    return this.#clockwork.trace.hash;
  }

  /** A uniform number in [0, 1), for the harness. Nodes have chances of their own. */
  random(): number {
    return this.#clockwork.random();
  }

  /** Chance of its own for one purpose: what others draw does not change it. */
  stream(purpose: string): () => number {
    return this.#clockwork.stream(`purpose ${purpose}`);
  }

  /** The faults that were scheduled, in the order of their numbers. */
  get faults(): readonly FaultRecord[] {
    return this.#book.records;
  }

  /** How many faults were scheduled, those included that are left out. */
  get faultCount(): number {
    return this.#book.count;
  }

  /**
   * Schedules a fault. It has a number, so that a run can be repeated without it: that is how a failing run is made
   * smaller. Whatever decides about faults should be drawn when they are scheduled, from a {@link Simulation.stream},
   * so that leaving one out does not change the others. {@link Simulation.heal} ends it, or keeps it from beginning.
   */
  fault(fault: Fault): void {
    this.#book.add(fault);
  }

  /** The histories that were recorded. */
  get histories(): readonly History<unknown, unknown>[] {
    return this.#histories;
  }

  /** A recorder of what clients see. {@link runSeed} judges it at the end of the run; so does {@link Simulation.judge}. */
  history<State, Input, Output>(
    model: Model<State, Input, Output>,
    name = 'history',
  ): History<Input, Output> {
    const history = new History<Input, Output>(name, model, () => this.nowMs);
    this.#histories.push(history);
    return history;
  }

  /**
   * Judges all histories so far. Throws {@link ViolationError} of `linearizability` where one is not linearizable.
   * Returns the names of those that were not decided within the limits.
   */
  judge(limits: CheckLimits = {}): string[] {
    const undecided: string[] = [];
    for (const history of this.#histories) {
      const { result, partition, counterexample = [] } = history.check(limits);
      if (result === 'undecided') undecided.push(history.name);
      if (result !== 'not-linearizable') continue;
      const of = partition === undefined || partition === '' ? '' : ` of ${JSON.stringify(partition)}`;
      const { model } = history;
      const shown = counterexample.slice(-6).map(({ process, input, output }) => {
        const text = model.describe?.(input, output, true) ?? JSON.stringify([input, output]);
        return `${process}: ${text}`;
      });
      this.fail(
        'linearizability',
        `no order explains ${String(counterexample.length)} operations${of} of ${history.name} (${shown.join('; ')})`,
      );
    }
    this.#throwIfViolated();
    return undecided;
  }

  /** Adds a node and starts it. `boot` runs at every start, and finds on the disk what the last life left. */
  node(id: string, boot: (process: SimProcess) => void | Promise<void>): SimNode {
    if (this.nodes.has(id)) throw new SimulationStateError(`there is a node ${JSON.stringify(id)} already`);
    const node = new SimNode(id, {
      clockwork: this.#clockwork,
      network: this.#net,
      disk: this.#options.disk ?? {},
      clock: this.#options.clock ?? {},
      boot,
      failed: (error) => {
        this.fail('node', `${id} failed: ${error instanceof Error ? error.message : String(error)}`, error);
      },
    });
    this.nodes.set(id, node);
    node.start();
    return node;
  }

  /** Runs something of the harness after `delayMs` milliseconds, whatever happens to the nodes. */
  after(delayMs: number, run: () => void): void {
    this.#clockwork.schedule(numberOption('delayMs', delayMs), undefined, 'harness', '', 0, run);
  }

  /** Waits `delayMs` milliseconds of virtual time, in a client of the harness. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  /** Checks after every event. `check` returns what is wrong, or nothing; it may throw too. */
  invariant(name: string, check: () => string | undefined): void {
    this.#invariants.push({ name, check });
  }

  /** Reports a violation from code of the harness. The run ends at this event; the first report counts. */
  fail(invariant: string, what: string, cause?: unknown): void {
    this.#violation ??= new ViolationError(
      invariant,
      what,
      { seed: this.seed, atMs: this.nowMs, step: this.steps, tail: this.#clockwork.trace.tail() },
      cause,
    );
  }

  /**
   * Undoes every fault: opens the network, repairs disks, resumes and starts the nodes. Clocks keep the time that they
   * have, and damage to files stays.
   */
  heal(): void {
    this.#clockwork.trace.record(this.nowMs, 'heal', '', 0);
    this.#book.heal();
    this.network.heal();
    for (const node of this.nodes.values()) {
      node.disk.heal();
      node.resume();
      if (!node.up) node.start();
    }
  }

  /** Lets virtual time pass. Rejects with {@link ViolationError} when an invariant breaks. */
  async runFor(durationMs: number): Promise<void> {
    const until = this.nowMs + numberOption('durationMs', durationMs);
    await this.#pump(until, () => false);
    this.#clockwork.nowMs = Math.max(this.nowMs, until);
  }

  /** Lets time pass until `done` holds. Rejects with {@link ViolationError} of `progress` after `withinMs`. */
  async runUntil(done: () => boolean, withinMs: number): Promise<void> {
    if (await this.#pump(this.nowMs + numberOption('withinMs', withinMs), done)) return;
    this.fail('progress', `not within ${String(withinMs)} ms`);
    this.#throwIfViolated();
  }

  #throwIfViolated(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Runs events up to a time; true where `done` held. */
  async #pump(until: number, done: () => boolean): Promise<boolean> {
    const clockwork = this.#clockwork;
    let reached = false;
    const step = (): boolean => {
      this.#check();
      if (this.steps >= this.#maxSteps) {
        this.fail('steps', `the run did not end within ${String(this.#maxSteps)} events`);
        this.#throwIfViolated();
      }
      reached = done();
      return !reached && clockwork.step(until);
    };
    if (this.#options.promises === false) while (step());
    else await drained(step);
    this.#throwIfViolated();
    return reached;
  }

  #check(): void {
    for (const { name, check } of this.#invariants) {
      try {
        const wrong = check();
        if (wrong !== undefined) this.fail(name, wrong);
      } catch (error) {
        this.fail(name, error instanceof Error ? error.message : String(error), error);
      }
    }
    this.#throwIfViolated();
  }
}

/**
 * Calls `step` until it returns false, each time in an immediate of its own: Node runs all promise callbacks between
 * two immediates of one batch, and a batch costs one turn of the event loop.
 */
function drained(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let over = false;
    const once = (): void => {
      if (over) return;
      try {
        if (step()) return;
        over = true;
        resolve();
      } catch (error) {
        over = true;
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const batch = (): void => {
      if (over) return;
      for (let one = 0; one < BATCH; one++) setImmediate(once);
      setImmediate(batch);
    };
    batch();
  });
}
