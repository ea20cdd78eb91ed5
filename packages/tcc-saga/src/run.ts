import {
  abortable,
  backoffDelayMs,
  deadline,
  linkSignals,
  type LinkedSignal,
  QuorateError,
  type Runtime,
  sleep,
  type Timer,
} from '@quorate/runtime';
import type { SqlDatabase } from '@quorate/sql';
import {
  advance,
  type InvocationResult,
  isTerminal,
  resume,
  type TccCommand,
  type TccMachine,
  type TccOp,
  type TccRecord,
  type TccStatus,
  type TccStep,
} from './core/tcc.js';
import type { TccBranch, TccDefinition, TccOutcome } from './definition.js';
import { BranchRefused, DefinitionMismatchError, LeaseLostError, SuspendedError } from './errors.js';
import { type CoordinatorErrorEvent, type StepPoint, tccSagaEvents } from './events.js';
import { describeError, encodeJson } from './json.js';
import { byBranch, outcomeOf, outputsOf } from './outcome.js';
import type { ClaimedInstance, Store, StoreRow } from './store.js';

/** What a run needs of its coordinator. */
export interface RunHost {
  readonly db: SqlDatabase;
  readonly store: Store;
  readonly runtime: Runtime;
  readonly owner: string;
  readonly leaseMs: number;
  readonly stuckAfter: number;
}

/** How a run came to its end. */
export type RunEnd =
  | { readonly how: 'ended'; readonly outcome: TccOutcome }
  /** Given up until its next attempt. */
  | { readonly how: 'paused'; readonly delayMs: number }
  /** The lease is gone, or was given back on closing. */
  | { readonly how: 'stopped' };

/**
 * One instance in the hands of one coordinator, from claim to end, pause or loss of the lease. It executes what the
 * core commands: the only place where operations are invoked.
 */
export class Run {
  readonly id: string;
  readonly fence: number;
  /** Resolves when this run does nothing more; never rejects. */
  readonly finished: Promise<RunEnd>;

  readonly #host: RunHost;
  readonly #instance: ClaimedInstance;
  readonly #definition: TccDefinition;
  /** Aborts when this run may not go on. */
  readonly #stop = new AbortController();
  #machine: TccMachine | undefined;
  /** Aborts the operations in flight, and not the waiting for them. */
  #round: LinkedSignal | undefined;
  #attempt: number;
  #instanceError: string | undefined;
  #storing = false;
  #writing: Promise<void> | undefined;
  readonly #claimedAt: number;
  #leaseEnd: number;
  #leaseTimer: Timer | undefined;
  #deadlineTimer: Timer | undefined;
  #finish!: (end: RunEnd) => void;

  /** `claimedAt` is the monotonic time before the claim was sent: the lease holds at least from then on. */
  constructor(host: RunHost, instance: ClaimedInstance, definition: TccDefinition, claimedAt: number) {
    this.#host = host;
    this.#instance = instance;
    this.#definition = definition;
    this.id = instance.id;
    this.fence = instance.fence;
    this.#attempt = instance.attempts;
    this.#claimedAt = claimedAt;
    this.#leaseEnd = claimedAt + host.leaseMs;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Whether a renewal makes sense: a write under way renews the lease itself. */
  get renewable(): boolean {
    return !this.#storing && !this.#stop.signal.aborted;
  }

  start(): void {
    this.#point('claimed');
    this.#watchLease();
    const { record, remainingMs } = this.#instance;
    const stored = Object.keys(record.branches);
    const { branchNames, name, version } = this.#definition;
    if (stored.length !== branchNames.length || stored.some((branch) => !branchNames.includes(branch))) {
      this.#giveUp('load', new DefinitionMismatchError(this.id, name, version, stored));
      return;
    }
    if (record.status === 'trying' && remainingMs > 0) {
      this.#deadlineTimer = this.#host.runtime.setTimer(remainingMs, () => {
        if (this.#machine !== undefined) this.#apply(advance(this.#machine, { type: 'deadline' }));
      });
    }
    this.#apply(resume(record, remainingMs <= 0));
  }

  /** The lease holds `leaseMs` from `sentAt` on. */
  renewed(sentAt: number): void {
    this.#leaseEnd = Math.max(this.#leaseEnd, sentAt + this.#host.leaseMs);
  }

  /** Stops at once: what is in flight is aborted and no longer waited for, and nothing more is written. */
  stop(reason: Error): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(reason);
    this.#end({ how: 'stopped' });
  }

  /** Stops because somebody else holds the lease, or may. */
  lose(): void {
    if (this.#stop.signal.aborted) return;
    if (tccSagaEvents.leaseLost.active)
      tccSagaEvents.leaseLost.publish({ id: this.id, owner: this.#host.owner });
    this.stop(new LeaseLostError(this.id));
  }

  /** Resolves when no write is under way, after a stop too. */
  async quiet(): Promise<void> {
    await this.#writing;
  }

  #apply(step: TccStep): void {
    if (this.#stop.signal.aborted) return;
    this.#machine = step.machine;
    for (const command of step.commands) this.#execute(command);
  }

  #execute(command: TccCommand): void {
    switch (command.type) {
      case 'invoke':
        this.#round?.[Symbol.dispose]();
        this.#round = linkSignals(this.#stop.signal);
        for (const branch of command.branches) {
          void this.#invoke(command.op, branch, this.#round.signal).then((result) => {
            if (this.#machine !== undefined)
              this.#apply(advance(this.#machine, { type: 'returned', op: command.op, branch, result }));
          });
        }
        return;
      case 'interrupt':
        this.#round?.abort(
          new QuorateError('ATTEMPT_ABANDONED', `saga ${this.id} will be cancelled whatever this try does`),
        );
        return;
      case 'store':
        this.#writing = this.#write(command.why, command.record);
    }
  }

  async #invoke(op: TccOp, branch: string, round: AbortSignal): Promise<InvocationResult> {
    const { runtime } = this.#host;
    const { timeoutMs, name: definition } = this.#definition;
    const limit = deadline(runtime, timeoutMs, {
      signal: this.#stop.signal,
      what: `the ${op} of branch ${branch} of saga ${this.id}`,
    });
    const linked = linkSignals(limit.signal, round);
    this.#point('invoking', branch, op);
    try {
      const answer = await abortable(this.#call(op, branch, linked.signal), limit.signal);
      this.#point('returned', branch, op);
      if (op !== 'try' || answer === undefined) return { outcome: 'succeeded' };
      return {
        outcome: 'succeeded',
        output: JSON.parse(encodeJson(`the output of branch ${branch}`, answer)),
      };
    } catch (error) {
      const refused = op === 'try' && (error instanceof BranchRefused || error instanceof SuspendedError);
      this.#point('returned', branch, op);
      if (!refused && !this.#stop.signal.aborted && tccSagaEvents.attemptFailed.active) {
        const attempt = this.#attempt;
        tccSagaEvents.attemptFailed.publish({ id: this.id, definition, branch, op, attempt, error });
      }
      return { outcome: refused ? 'refused' : 'failed', error: describeError(error) };
    } finally {
      linked[Symbol.dispose]();
      limit[Symbol.dispose]();
    }
  }

  // Async, so that what an operation throws synchronously becomes a rejection.
  async #call(op: TccOp, branch: string, signal: AbortSignal): Promise<unknown> {
    const branches: Readonly<Record<string, TccBranch>> = this.#definition.branches;
    const operations = branches[branch];
    const record = this.#machine?.record;
    const outputs = op === 'try' || record === undefined ? {} : outputsOf(record);
    const context = {
      gid: this.id,
      branch,
      input: this.#instance.input,
      outputs,
      attempt: this.#attempt,
      signal,
    };
    switch (op) {
      case 'try':
        return await operations?.try({ ...context, op });
      case 'confirm':
        return await operations?.confirm({ ...context, op });
      case 'cancel':
        return await operations?.cancel({ ...context, op });
    }
  }

  async #write(why: StoreRow['why'], record: TccRecord): Promise<void> {
    if (this.#machine === undefined) return;
    this.#storing = true;
    this.#deadlineTimer?.cancel();
    const row = this.#row(why, record);
    const before = why === 'decision' ? 'deciding' : why === 'retry' ? 'pausing' : 'ending';
    this.#point(before);
    const hooked = why === 'end' && hasHook(this.#definition, record.status);
    const result = hooked ? await this.#writeWithHook(row) : await this.#writeAlone(row);
    this.#storing = false;
    if (this.#stop.signal.aborted) return;
    switch (result) {
      case 'fenced':
        this.lose();
        return;
      case 'hook-failed':
        this.#apply(advance(this.#machine, { type: 'end-failed' }));
        return;
      case 'stored':
        break;
    }
    switch (why) {
      case 'decision':
        this.#watchLease();
        this.#attempt = 1;
        this.#instanceError = undefined;
        this.#point('decided');
        this.#apply(advance(this.#machine, { type: 'stored' }));
        return;
      case 'retry':
        this.#point('paused');
        this.#reportStuck(record);
        this.#end({ how: 'paused', delayMs: row.delayMs });
        return;
      case 'end':
        this.#point('ended');
        this.#end({ how: 'ended', outcome: outcomeOf({ ...this.#instance, record }) });
    }
  }

  #row(why: StoreRow['why'], record: TccRecord): StoreRow {
    const { runtime, leaseMs } = this.#host;
    const common = { id: this.id, fence: this.fence, why, record };
    if (why === 'decision') return { ...common, error: undefined, attempts: 1, delayMs: leaseMs };
    if (why === 'end') return { ...common, error: undefined, attempts: this.#attempt, delayMs: 0 };
    const delayMs = backoffDelayMs(runtime, this.#attempt, this.#definition.retry);
    const leftMs = record.status === 'trying' ? Math.max(0, this.#untilDeadline()) : Number.POSITIVE_INFINITY;
    return {
      ...common,
      error: this.#instanceError,
      attempts: this.#attempt,
      delayMs: Math.min(delayMs, leftMs),
    };
  }

  /** Writes until it is known whether the fence held: the write says the same however often it is repeated. */
  async #writeAlone(row: StoreRow): Promise<'stored' | 'fenced'> {
    for (let attempt = 1; ; attempt++) {
      const sentAt = this.#host.runtime.monotonic();
      try {
        if (!(await this.#host.store.store(row))) return 'fenced';
        this.renewed(sentAt);
        return 'stored';
      } catch (error) {
        this.#report('store', error);
        if (!(await this.#pauseBeforeRepeat(attempt))) return 'fenced';
      }
    }
  }

  /**
   * The last write and the hook, in one transaction. The write comes first: its row lock keeps everybody else away
   * for as long as the hook takes, and a lease that is gone is noticed before the hook runs.
   */
  async #writeWithHook(row: StoreRow): Promise<'stored' | 'fenced' | 'hook-failed'> {
    const outcome = outcomeOf({ ...this.#instance, record: row.record });
    try {
      return await this.#host.db.transaction(async (tx) => {
        if (!(await this.#host.store.storeIn(tx, row))) return 'fenced';
        await (outcome.status === 'confirmed'
          ? this.#definition.onConfirmed?.(tx, outcome)
          : this.#definition.onCancelled?.(tx, outcome));
        this.#point('hooked');
        return 'stored';
      });
    } catch (error) {
      this.#report('hook', error);
      this.#instanceError = describeError(error);
      return 'hook-failed';
    }
  }

  async #pauseBeforeRepeat(attempt: number): Promise<boolean> {
    const { runtime } = this.#host;
    const delayMs = backoffDelayMs(runtime, attempt, { minMs: 50, maxMs: 2000 });
    try {
      await sleep(runtime, delayMs, { signal: this.#stop.signal });
      return true;
    } catch {
      return false;
    }
  }

  /** Gives an instance up that cannot even begin, until its next attempt. */
  #giveUp(during: CoordinatorErrorEvent['during'], error: unknown): void {
    this.#report(during, error);
    this.#instanceError = describeError(error);
    const { record } = this.#instance;
    this.#machine = { record, inFlight: new Set(), deadlinePassed: false, storing: 'retry' };
    this.#writing = this.#write('retry', record);
  }

  #untilDeadline(): number {
    return this.#instance.remainingMs - (this.#host.runtime.monotonic() - this.#claimedAt);
  }

  #watchLease(): void {
    const { runtime } = this.#host;
    this.#leaseTimer?.cancel();
    this.#leaseTimer = runtime.setTimer(this.#leaseEnd - runtime.monotonic(), () => {
      if (this.#leaseEnd > runtime.monotonic()) this.#watchLease();
      // Whether a write under way still counts is decided by its fence; nothing is being invoked meanwhile.
      else if (!this.#storing) this.lose();
    });
  }

  #end(end: RunEnd): void {
    this.#leaseTimer?.cancel();
    this.#deadlineTimer?.cancel();
    this.#round?.[Symbol.dispose]();
    this.#finish(end);
  }

  #reportStuck(record: TccRecord): void {
    if (this.#attempt < this.#host.stuckAfter || isTerminal(record.status) || !tccSagaEvents.stuck.active)
      return;
    const errors = byBranch(record, (known) => known.secondError ?? known.tryError);
    if (this.#instanceError !== undefined) errors[''] = this.#instanceError;
    tccSagaEvents.stuck.publish({
      id: this.id,
      definition: this.#definition.name,
      status: record.status,
      attempts: this.#attempt,
      errors,
    });
  }

  #report(during: CoordinatorErrorEvent['during'], error: unknown): void {
    if (!tccSagaEvents.error.active) return;
    tccSagaEvents.error.publish({ owner: this.#host.owner, during, error, id: this.id });
  }

  #point(point: StepPoint, branch?: string, op?: TccOp): void {
    if (!tccSagaEvents.step.active) return;
    const event = { point, id: this.id, definition: this.#definition.name, owner: this.#host.owner };
    tccSagaEvents.step.publish(branch === undefined || op === undefined ? event : { ...event, branch, op });
  }
}

function hasHook(definition: TccDefinition, status: TccStatus): boolean {
  return (status === 'confirmed' ? 'onConfirmed' : 'onCancelled') in definition;
}
