/**
 * The decision function of one TCC instance: durable state and an event in, next state and commands out.
 *
 * An instance runs in rounds. A round invokes the operation of its phase (try, confirm or cancel) on every branch
 * that has not finished it, and is over when each invocation has returned. Then exactly one state is stored:
 *
 * ```text
 * trying ──all tries succeeded──────────▶ confirming ──all confirms done──▶ confirmed
 *   │└─some try unknown: retry later┐        └─some unknown: retry later, for ever
 *   │◀──────────────────────────────┘
 *   └──a try refused, or the deadline──▶ cancelling ──all cancels done───▶ cancelled
 *                                            └─some unknown: retry later, for ever
 * ```
 *
 * Invariants, whatever the order of events, and wherever a crash falls between two writes:
 * - the move out of `trying` is one write, so no instance ever confirms and cancels;
 * - `confirming` is stored only when every try is known to have succeeded;
 * - nothing is invoked whose intent is not stored: the status is the intent for every branch of its phase;
 * - `cancelling` cancels every branch, because any try may have run: an invocation that failed, timed out, or was
 *   refused after an earlier attempt of unknown outcome, may still have had its effect.
 */

/** Where an instance stands. */
export type TccStatus = 'trying' | 'confirming' | 'cancelling' | 'confirmed' | 'cancelled';

/** The three operations of a branch. */
export type TccOp = 'try' | 'confirm' | 'cancel';

/** Why an instance was cancelled: a branch refused, or the tries had not all succeeded by the deadline. */
export type CancelReason = 'refused' | 'deadline';

/** What is known of one branch. */
export interface BranchRecord {
  /** `pending` also stands for an attempt of unknown outcome. */
  readonly try: 'pending' | 'succeeded' | 'refused';
  /** The operation that follows the decision: confirm or cancel. */
  readonly second: 'pending' | 'done';
  /** What the try answered. */
  readonly output?: unknown;
  /** Why the try refused, or why its last attempt failed. */
  readonly tryError?: string;
  /** Why the last attempt at the confirm or cancel failed. */
  readonly secondError?: string;
}

/** The durable state of an instance. */
export interface TccRecord {
  readonly status: TccStatus;
  readonly reason?: CancelReason;
  readonly branches: Readonly<Record<string, BranchRecord>>;
}

/** How an invocation came back. `failed` means that its effect is unknown. */
export type InvocationResult =
  | { readonly outcome: 'succeeded'; readonly output?: unknown }
  | { readonly outcome: 'refused' | 'failed'; readonly error: string };

export type TccEvent =
  /** An invocation returned. */
  | {
      readonly type: 'returned';
      readonly op: TccOp;
      readonly branch: string;
      readonly result: InvocationResult;
    }
  /** The deadline of the tries has passed. */
  | { readonly type: 'deadline' }
  /** The state of the last `store` command is durable. */
  | { readonly type: 'stored' }
  /** The transaction of the last write was rolled back, because its hook failed. */
  | { readonly type: 'end-failed' };

export type TccCommand =
  /** Invoke `op` on these branches, all at once. */
  | { readonly type: 'invoke'; readonly op: TccOp; readonly branches: readonly string[] }
  /** What is in flight can no longer change the decision: ask it to stop, and wait for it all the same. */
  | { readonly type: 'interrupt' }
  /**
   * Make `record` durable in one fenced write, and answer with `stored`. `decision` goes on at once; `retry` gives
   * the instance up until its next attempt is due; `end` is the last write, in one transaction with the hook.
   */
  | { readonly type: 'store'; readonly why: 'decision' | 'retry' | 'end'; readonly record: TccRecord };

/** An instance in the hands of one coordinator. Immutable. */
export interface TccMachine {
  /** What is durable, and what came back in the present round. */
  readonly record: TccRecord;
  /** Branches whose invocation has not returned. */
  readonly inFlight: ReadonlySet<string>;
  readonly deadlinePassed: boolean;
  /** The write that is under way. */
  readonly storing: 'decision' | 'retry' | 'end' | undefined;
}

export interface TccStep {
  readonly machine: TccMachine;
  readonly commands: readonly TccCommand[];
}

/** The state with which an instance begins. */
export function initialRecord(branches: readonly string[]): TccRecord {
  return {
    status: 'trying',
    branches: Object.fromEntries(branches.map((branch) => [branch, { try: 'pending', second: 'pending' }])),
  };
}

/** Whether nothing will ever change again. */
export function isTerminal(status: TccStatus): status is 'confirmed' | 'cancelled' {
  return status === 'confirmed' || status === 'cancelled';
}

/** Takes an instance up from its durable state, after a claim. */
export function resume(record: TccRecord, deadlinePassed: boolean): TccStep {
  const machine: TccMachine = { record, inFlight: new Set(), deadlinePassed, storing: undefined };
  if (isTerminal(record.status)) return { machine, commands: [] };
  // Once the deadline has passed no further try begins.
  if (record.status === 'trying' && deadlinePassed) return settle(machine);
  return invokePending(machine);
}

/** What an event does. An event that cannot be meant for the present state, such as a duplicate, does nothing. */
export function advance(machine: TccMachine, event: TccEvent): TccStep {
  switch (event.type) {
    case 'returned':
      return returned(machine, event);
    case 'deadline': {
      if (machine.record.status !== 'trying' || machine.deadlinePassed) return { machine, commands: [] };
      const late = { ...machine, deadlinePassed: true };
      return { machine: late, commands: late.inFlight.size > 0 ? [{ type: 'interrupt' }] : [] };
    }
    case 'stored': {
      const { storing } = machine;
      const idle = { ...machine, storing: undefined };
      return storing === 'decision' ? invokePending(idle) : { machine: idle, commands: [] };
    }
    case 'end-failed': {
      if (machine.storing !== 'end') return { machine, commands: [] };
      const status = machine.record.status === 'confirmed' ? 'confirming' : 'cancelling';
      return store(machine, 'retry', { ...machine.record, status });
    }
  }
}

function returned(machine: TccMachine, event: Extract<TccEvent, { type: 'returned' }>): TccStep {
  const { op, branch, result } = event;
  const known = machine.record.branches[branch];
  // A late answer to a try must not be taken for that to a cancel.
  const expected = op === opOf(machine.record.status) && machine.inFlight.has(branch);
  if (known === undefined || !expected) return { machine, commands: [] };
  const inFlight = new Set(machine.inFlight);
  inFlight.delete(branch);
  const trying = machine.record.status === 'trying';
  const next: TccMachine = {
    ...machine,
    inFlight,
    record: {
      ...machine.record,
      branches: { ...machine.record.branches, [branch]: after(known, result, trying) },
    },
  };
  if (inFlight.size === 0) return settle(next);
  const refused = trying && result.outcome === 'refused';
  return { machine: next, commands: refused ? [{ type: 'interrupt' }] : [] };
}

function after(known: BranchRecord, result: InvocationResult, trying: boolean): BranchRecord {
  if (result.outcome === 'succeeded') {
    const { try: tried, second, output, tryError } = known;
    if (!trying) return branchRecord({ try: tried, second: 'done', output, tryError });
    return branchRecord({ try: 'succeeded', second, output: result.output });
  }
  // Only a try may refuse: a confirm or a cancel has to succeed in the end, so that there a refusal is a failure.
  if (!trying) return { ...known, secondError: result.error };
  const tried = result.outcome === 'refused' ? 'refused' : known.try;
  return { ...known, try: tried, tryError: result.error };
}

/** A record without the fields that are undefined. */
function branchRecord(fields: {
  readonly [Key in keyof BranchRecord]: BranchRecord[Key] | undefined;
}): BranchRecord {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as unknown as BranchRecord;
}

/** The next write of an instance of which nothing is in flight. */
function settle(machine: TccMachine): TccStep {
  const { record } = machine;
  const branches = Object.values(record.branches);
  switch (record.status) {
    case 'trying':
      if (branches.every((branch) => branch.try === 'succeeded')) {
        return store(machine, 'decision', { ...record, status: 'confirming' });
      }
      if (branches.some((branch) => branch.try === 'refused')) {
        return store(machine, 'decision', { ...record, status: 'cancelling', reason: 'refused' });
      }
      if (machine.deadlinePassed) {
        return store(machine, 'decision', { ...record, status: 'cancelling', reason: 'deadline' });
      }
      return store(machine, 'retry', record);
    case 'confirming':
    case 'cancelling':
      if (branches.every((branch) => branch.second === 'done')) {
        const status = record.status === 'confirming' ? 'confirmed' : 'cancelled';
        return store(machine, 'end', { ...record, status });
      }
      return store(machine, 'retry', record);
    case 'confirmed':
    case 'cancelled':
      return { machine, commands: [] };
  }
}

function store(machine: TccMachine, why: 'decision' | 'retry' | 'end', record: TccRecord): TccStep {
  return { machine: { ...machine, record, storing: why }, commands: [{ type: 'store', why, record }] };
}

function invokePending(machine: TccMachine): TccStep {
  const { status, branches } = machine.record;
  const trying = status === 'trying';
  const pending = Object.entries(branches)
    .filter(([, branch]) => (trying ? branch.try !== 'succeeded' : branch.second === 'pending'))
    .map(([name]) => name);
  if (pending.length === 0) return settle(machine);
  return {
    machine: { ...machine, inFlight: new Set(pending) },
    commands: [{ type: 'invoke', op: opOf(status), branches: pending }],
  };
}

/** The operation of a phase that is not over. */
function opOf(status: TccStatus): TccOp {
  return status === 'trying'
    ? 'try'
    : status === 'confirming' || status === 'confirmed'
      ? 'confirm'
      : 'cancel';
}
