import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  type BranchRecord,
  initialRecord,
  type InvocationResult,
  isTerminal,
  resume,
  type TccCommand,
  type TccEvent,
  type TccMachine,
  type TccOp,
  type TccRecord,
  type TccStep,
} from '../src/core/tcc.js';

const succeeded: InvocationResult = { outcome: 'succeeded' };
const refused: InvocationResult = { outcome: 'refused', error: 'no' };
const failed: InvocationResult = { outcome: 'failed', error: 'who knows' };

function returned(op: TccOp, branch: string, result: InvocationResult): TccEvent {
  return { type: 'returned', op, branch, result };
}

/** The answers of one round, in this order. */
function round(op: TccOp, answers: Readonly<Record<string, InvocationResult>>): TccEvent[] {
  return Object.entries(answers).map(([branch, result]) => returned(op, branch, result));
}

/** Feeds events and collects all commands. */
function feed(
  start: TccStep,
  ...events: readonly TccEvent[]
): { machine: TccMachine; commands: TccCommand[] } {
  let { machine } = start;
  const commands = [...start.commands];
  for (const event of events) {
    const step = advance(machine, event);
    machine = step.machine;
    commands.push(...step.commands);
  }
  return { machine, commands };
}

const shown = (commands: readonly TccCommand[]): string[] =>
  commands.map((command) => {
    switch (command.type) {
      case 'invoke':
        return `${command.op} ${command.branches.join('+')}`;
      case 'interrupt':
        return 'interrupt';
      case 'store':
        return `store ${command.why} ${command.record.status}`;
    }
  });

describe('the life of an instance', () => {
  const begin = (): TccStep => resume(initialRecord(['stock', 'money']), false);
  const stored: TccEvent = { type: 'stored' };
  const allTried = round('try', { stock: succeeded, money: succeeded });

  it('confirms when all tries succeeded', () => {
    const allConfirmed = round('confirm', { money: succeeded, stock: succeeded });
    const { commands } = feed(begin(), ...allTried, stored, ...allConfirmed, stored);
    expect(shown(commands)).toEqual([
      'try stock+money',
      'store decision confirming',
      'confirm stock+money',
      'store end confirmed',
    ]);
  });

  it('invokes no confirm before the decision is stored', () => {
    expect(shown(feed(begin(), ...allTried).commands)).toEqual([
      'try stock+money',
      'store decision confirming',
    ]);
  });

  it('interrupts the other tries at a refusal, waits for them, and cancels every branch', () => {
    const { commands, machine } = feed(begin(), ...round('try', { stock: refused, money: failed }), stored);
    expect(shown(commands)).toEqual([
      'try stock+money',
      'interrupt',
      'store decision cancelling',
      'cancel stock+money',
    ]);
    expect(machine.record.reason).toBe('refused');
  });

  it('cancels at a refusal even when the other try succeeds afterwards', () => {
    const { commands } = feed(begin(), ...round('try', { stock: refused, money: succeeded }));
    expect(shown(commands).at(-1)).toBe('store decision cancelling');
  });

  it('pauses after an unknown outcome, and repeats only that try', () => {
    const first = feed(begin(), ...round('try', { stock: succeeded, money: failed }));
    expect(shown(first.commands).at(-1)).toBe('store retry trying');
    expect(shown(resume(first.machine.record, false).commands)).toEqual(['try money']);
  });

  it('cancels at the deadline while a try is in flight, once that has returned', () => {
    const late = feed(begin(), returned('try', 'stock', succeeded), { type: 'deadline' });
    expect(shown(late.commands)).toEqual(['try stock+money', 'interrupt']);
    const rest = feed({ machine: late.machine, commands: [] }, returned('try', 'money', failed));
    expect(shown(rest.commands)).toEqual(['store decision cancelling']);
    expect(rest.machine.record.reason).toBe('deadline');
  });

  it('confirms when the last try in flight at the deadline turns out to have succeeded', () => {
    const [stock, money] = allTried;
    const { commands } = feed(
      begin(),
      ...[stock, { type: 'deadline' } as const, money].flatMap((e) => e ?? []),
    );
    expect(shown(commands).at(-1)).toBe('store decision confirming');
  });

  it('begins no try after the deadline', () => {
    expect(shown(resume(initialRecord(['stock']), true).commands)).toEqual(['store decision cancelling']);
  });

  it('treats a refusal of a confirm as a failure, for ever', () => {
    const confirming = feed(begin(), ...allTried).machine.record;
    const answers = round('confirm', { stock: refused, money: succeeded });
    const { commands, machine } = feed(resume(confirming, true), ...answers);
    expect(shown(commands)).toEqual(['confirm stock+money', 'store retry confirming']);
    expect(shown(resume(machine.record, true).commands)).toEqual(['confirm stock']);
  });

  it('does not take a late answer to a try for one to a cancel', () => {
    const { machine } = feed(
      begin(),
      ...round('try', { stock: refused, money: failed }),
      stored,
      returned('try', 'money', succeeded),
    );
    expect([...machine.inFlight]).toEqual(['stock', 'money']);
  });

  it('keeps why a branch refused to the end', () => {
    const { machine } = feed(
      begin(),
      ...round('try', { stock: refused, money: succeeded }),
      stored,
      ...round('cancel', { stock: succeeded, money: failed }),
    );
    expect(machine.record.branches).toEqual({
      stock: { try: 'refused', second: 'done', tryError: 'no' },
      money: { try: 'succeeded', second: 'pending', secondError: 'who knows' },
    });
  });

  it('repeats the end alone when the hook failed', () => {
    const confirming = feed(begin(), ...allTried).machine.record;
    const { commands, machine } = feed(
      resume(confirming, false),
      ...round('confirm', { stock: succeeded, money: succeeded }),
      { type: 'end-failed' },
    );
    expect(shown(commands).slice(-2)).toEqual(['store end confirmed', 'store retry confirming']);
    expect(shown(resume(machine.record, false).commands)).toEqual(['store end confirmed']);
  });
});

const PHASES = { try: 'trying', confirm: 'confirming', cancel: 'cancelling' } as const;

/** A coordinator that checks what it is commanded, over a store that remembers what was written and no more. */
class CheckedInstance {
  /** What a crash leaves. */
  durable: TccRecord;
  machine: TccMachine;
  #writing: TccRecord | undefined;
  readonly #branches: readonly string[];
  readonly #trySucceeded = new Set<string>();
  readonly #invoked = new Set<TccOp>();

  constructor(branches: readonly string[]) {
    this.#branches = branches;
    this.durable = initialRecord(branches);
    this.machine = resume(this.durable, false).machine;
    this.restart(false);
  }

  restart(late: boolean): void {
    this.#writing = undefined;
    this.#apply(resume(this.durable, late));
  }

  /** An answer to what is in flight, or with `stale` to an operation of another phase. */
  answer(branch: string, result: InvocationResult, stale: TccOp | undefined): void {
    const { status } = this.machine.record;
    const op = stale ?? (status === 'trying' ? 'try' : status === 'confirming' ? 'confirm' : 'cancel');
    const heard = this.machine.inFlight.has(branch) && PHASES[op] === status;
    if (heard && op === 'try' && result.outcome === 'succeeded') this.#trySucceeded.add(branch);
    const before = this.machine;
    this.#apply(advance(this.machine, returned(op, branch, result)));
    if (!heard) expect(this.machine).toBe(before);
  }

  deadline(): void {
    this.#apply(advance(this.machine, { type: 'deadline' }));
  }

  written(): void {
    if (this.#writing === undefined) return;
    const { storing } = this.machine;
    this.durable = this.#writing;
    this.#writing = undefined;
    this.#apply(advance(this.machine, { type: 'stored' }));
    if (storing === 'retry') this.restart(false);
  }

  hookFailed(): void {
    if (this.machine.storing === 'end') this.#writing = undefined;
    this.#apply(advance(this.machine, { type: 'end-failed' }));
  }

  #apply(step: TccStep): void {
    this.machine = step.machine;
    for (const command of step.commands) {
      if (command.type === 'store') this.#checkWrite(command.why, command.record);
      if (command.type === 'invoke') this.#checkInvocation(command.op, command.branches);
    }
  }

  #checkWrite(why: string, record: TccRecord): void {
    expect(this.#writing, 'one write at a time').toBeUndefined();
    expect(this.machine.inFlight.size, 'a write while something is in flight').toBe(0);
    this.#writing = record;
    if (record.status === 'confirming') {
      expect([...this.#trySucceeded].sort()).toEqual([...this.#branches].sort());
    }
    expect(isTerminal(record.status)).toBe(why === 'end');
    if (why === 'end') {
      expect(Object.values(record.branches).map((one) => one.second)).toEqual(
        this.#branches.map(() => 'done'),
      );
    }
  }

  #checkInvocation(op: TccOp, branches: readonly string[]): void {
    expect(this.durable.status, 'nothing is invoked for a state that a crash would forget').toBe(PHASES[op]);
    this.#invoked.add(op);
    expect(this.#invoked.has('confirm') && this.#invoked.has('cancel'), 'never both').toBe(false);
    if (op === 'try') return;
    for (const branch of this.#branches) {
      const done = this.machine.record.branches[branch]?.second === 'done';
      expect(branches.includes(branch) || done, 'every branch is confirmed or cancelled').toBe(true);
    }
  }
}

describe('any order of events', () => {
  const branchNames = ['a', 'b', 'c'];
  const actions = fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .record({
          branch: fc.constantFrom(...branchNames, 'x'),
          result: fc.oneof(
            { weight: 8, arbitrary: fc.constant(succeeded) },
            { weight: 1, arbitrary: fc.constantFrom(refused, failed) },
          ),
          stale: fc.option(fc.constantFrom<TccOp>('try', 'confirm', 'cancel'), { nil: undefined, freq: 4 }),
        })
        .map(({ branch, result, stale }) => (instance: CheckedInstance) => {
          instance.answer(branch, result, stale);
        }),
    },
    {
      weight: 5,
      arbitrary: fc.constant((instance: CheckedInstance) => {
        instance.written();
      }),
    },
    {
      weight: 1,
      arbitrary: fc.oneof(
        fc.boolean().map((late) => (instance: CheckedInstance) => {
          instance.restart(late);
        }),
        fc.constant((instance: CheckedInstance) => {
          instance.deadline();
        }),
        fc.constant((instance: CheckedInstance) => {
          instance.hookFailed();
        }),
      ),
    },
  );

  it('keeps the invariants, whatever arrives, twice or never, and wherever it crashes', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom(...branchNames), { minLength: 1 }),
        fc.array(actions, { minLength: 5, maxLength: 60, size: 'max' }),
        (branches, acts) => {
          const instance = new CheckedInstance(branches);
          for (const act of acts) act(instance);
          reached.add(instance.durable.status);
        },
      ),
      { numRuns: 2000 },
    );
    // Every state was reached; else the invariants would have held for nothing.
    expect([...reached].sort()).toEqual(['cancelled', 'cancelling', 'confirmed', 'confirming', 'trying']);
  });

  it('ends from any durable state once everything succeeds', () => {
    const branchArb = fc.record({
      try: fc.constantFrom<BranchRecord['try']>('pending', 'succeeded'),
      second: fc.constant('pending' as const),
    });
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...branchNames), branchArb, { minKeys: 1 }),
        fc.boolean(),
        (branches, late) => {
          let step = resume({ status: 'trying', branches }, late);
          for (let turns = 0; turns < 50 && step.commands.length > 0; turns++) {
            let next: TccStep = { machine: step.machine, commands: [] };
            for (const command of step.commands) {
              if (command.type === 'store') next = advance(next.machine, { type: 'stored' });
              if (command.type === 'invoke') {
                for (const branch of command.branches)
                  next = advance(next.machine, returned(command.op, branch, succeeded));
              }
            }
            step = next;
          }
          const complete = Object.values(branches).every((one) => one.try === 'succeeded');
          expect(step.machine.record.status).toBe(late && !complete ? 'cancelled' : 'confirmed');
        },
      ),
    );
  });
});
