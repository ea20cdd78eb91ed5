import { seededRandom } from '@quorate/runtime';
import { expect, it } from 'vitest';
import { barrierRows, barrierVerdict, isSuspended } from '../../src/core/barrier.js';
import {
  advance,
  initialRecord,
  type InvocationResult,
  isTerminal,
  resume,
  type TccCommand,
  type TccMachine,
  type TccOp,
  type TccRecord,
  type TccStep,
} from '../../src/core/tcc.js';

/**
 * Coordinators, participants and a database in one thread, without clocks: whatever may happen next is in one list,
 * and chance picks from it.
 *
 * Faults: a coordinator crashes between any two steps and forgets everything; it stalls, so that its lease runs out
 * and another one claims, and then goes on as if nothing had happened; calls to participants are delivered late, twice,
 * out of order, and long after the saga's end; answers are lost; a try is refused; participants fail before or after
 * their effect; hooks fail. Fence and barrier are rules over plain maps, as the database applies them.
 */
class World {
  readonly #random: () => number;
  readonly #branches: readonly string[];
  /** The database's row. */
  record: TccRecord;
  #fence = 0;
  #claimable = true;
  #deadlinePassed = false;
  /** How often a hook was committed. */
  hooks = 0;
  /** What took effect, in order, by branch. */
  readonly effects = new Map<string, TccOp[]>();
  readonly #barrier = new Map<string, string>();
  readonly #pending: (() => void)[] = [];
  #faulty = true;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#branches = ['a', 'b', 'c'].slice(0, 1 + this.#below(3));
    this.record = initialRecord(this.#branches);
    for (const branch of this.#branches) this.effects.set(branch, []);
  }

  /** Runs with faults for a while, then without until nothing is left to do. */
  run(): void {
    for (let step = 0; step < 300; step++) {
      if (this.#chance(0.03)) this.#claimable = true;
      if (this.#chance(0.01)) this.#deadlinePassed = true;
      if (this.#claimable && this.#chance(0.2)) this.#claim();
      this.#deliverOne();
    }
    this.#faulty = false;
    this.#deadlinePassed = true;
    for (let round = 0; round < 100 && !isTerminal(this.record.status); round++) {
      this.#claim();
      while (this.#pending.length > 0) this.#deliverOne();
    }
    while (this.#pending.length > 0) this.#deliverOne();
  }

  #claim(): void {
    if (isTerminal(this.record.status)) return;
    this.#claimable = false;
    const fence = ++this.#fence;
    const coordinator = { dead: false, machine: undefined as TccMachine | undefined };
    const apply = (step: TccStep): void => {
      coordinator.machine = step.machine;
      for (const command of step.commands) execute(command);
    };
    const tell = (event: Parameters<typeof advance>[1]): void => {
      if (!coordinator.dead && coordinator.machine !== undefined) apply(advance(coordinator.machine, event));
    };
    const execute = (command: TccCommand): void => {
      if (command.type === 'interrupt') return;
      if (command.type === 'invoke') {
        for (const branch of command.branches) {
          this.#call(command.op, branch, (result) => {
            tell({ type: 'returned', op: command.op, branch, result });
          });
        }
        return;
      }
      this.#later(() => {
        if (coordinator.dead) return;
        const diesBefore = this.#fault(0.05);
        const fencedOff = fence !== this.#fence || isTerminal(this.record.status);
        if (diesBefore || fencedOff) {
          coordinator.dead = true;
          return;
        }
        if (command.why === 'end' && this.#fault(0.2)) {
          tell({ type: 'end-failed' });
          return;
        }
        this.record = command.record;
        if (command.why === 'end') this.hooks++;
        if (command.why === 'retry') this.#claimable = true;
        // The write takes effect, and the process dies before it hears so.
        coordinator.dead = this.#fault(0.05);
        tell({ type: 'stored' });
      });
    };
    apply(resume(this.record, this.#deadlinePassed));
    if (this.#fault(0.3)) {
      this.#later(() => {
        tell({ type: 'deadline' });
      });
    }
  }

  #call(op: TccOp, branch: string, answer: (result: InvocationResult) => void): void {
    for (let copies = this.#fault(0.3) ? 2 : 1; copies > 0; copies--) {
      this.#later(() => {
        const result = this.#participate(op, branch);
        const lost = this.#fault(0.2);
        this.#later(() => {
          answer(lost ? { outcome: 'failed', error: 'timeout' } : result);
        });
      });
    }
    // The coordinator gives up waiting, and the call arrives all the same.
    if (this.#fault(0.2)) {
      this.#later(() => {
        answer({ outcome: 'failed', error: 'timeout' });
      });
    }
  }

  #participate(op: TccOp, branch: string): InvocationResult {
    if (this.#fault(0.15)) return { outcome: 'failed', error: 'down' };
    const inserted = barrierRows(op).filter((row) => !this.#barrier.has(`${branch} ${row}`));
    // A refusal rolls the participant's transaction back, and its row of the barrier with it.
    if (op === 'try' && inserted.length > 0 && this.#fault(0.05)) return { outcome: 'refused', error: 'no' };
    for (const row of inserted) this.#barrier.set(`${branch} ${row}`, op);
    const verdict = barrierVerdict(op, inserted.length);
    if (verdict === 'execute') this.effects.get(branch)?.push(op);
    if (verdict === 'occupied' && isSuspended(op, this.#barrier.get(`${branch} ${op}`) ?? '')) {
      return { outcome: 'refused', error: 'suspended' };
    }
    return this.#fault(0.1) ? { outcome: 'failed', error: 'answer lost' } : { outcome: 'succeeded' };
  }

  #later(run: () => void): void {
    this.#pending.push(run);
  }

  #deliverOne(): void {
    if (this.#pending.length === 0) return;
    const [run] = this.#pending.splice(this.#below(this.#pending.length), 1);
    run?.();
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #fault(probability: number): boolean {
    return this.#faulty && this.#chance(probability);
  }
}

it('ends every saga whole, over thousands of runs of crashes, stalls, duplicates and late calls', () => {
  const seen = { confirmed: 0, cancelled: 0, untouched: 0, undone: 0 };
  for (let seed = 1; seed <= 6000; seed++) {
    const world = new World(seed);
    world.run();
    const { status } = world.record;
    if (!isTerminal(status)) expect.fail(`seed ${String(seed)} hangs in ${status}`);
    seen[status]++;
    expect(world.hooks, `seed ${String(seed)}: the end is committed once`).toBe(1);
    for (const [branch, effects] of world.effects) {
      const what = `seed ${String(seed)}, branch ${branch} of a saga that is ${status}`;
      if (status === 'confirmed') {
        expect(effects, what).toEqual(['try', 'confirm']);
      } else if (effects.length === 0) {
        seen.untouched++;
      } else {
        expect(effects, what).toEqual(['try', 'cancel']);
        seen.undone++;
      }
    }
  }
  // The faults leave room for every end.
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(300);
});
