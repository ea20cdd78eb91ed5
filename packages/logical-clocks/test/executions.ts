import fc from 'fast-check';
import { type CausalEvent, VersionVector } from '@quorate/logical-clocks';

/** A step of a random run: a local event, or the receipt of an earlier event of another process. */
interface Step {
  readonly process: number;
  readonly receives: number | undefined;
}

/** A run of some processes, with happened-before as the reachability in its graph. */
export interface Execution {
  readonly processes: number;
  readonly steps: readonly Step[];
  /** Whether the event of step a happened before that of step b. */
  readonly before: (a: number, b: number) => boolean;
}

/** Random runs of up to `maxProcesses` processes and `maxSteps` events. */
export function executions(maxProcesses = 5, maxSteps = 40): fc.Arbitrary<Execution> {
  return fc
    .tuple(
      fc.integer({ min: 1, max: maxProcesses }),
      fc.array(fc.tuple(fc.nat(), fc.boolean(), fc.nat()), { minLength: 1, maxLength: maxSteps }),
    )
    .map(([processes, raw]) => {
      const steps = raw.map(([process, local, from], at): Step => {
        const receives = local || at === 0 ? undefined : from % at;
        return { process: process % processes, receives };
      });
      return { processes, steps, before: reachability(steps) };
    });
}

function reachability(steps: readonly Step[]): (a: number, b: number) => boolean {
  const past: ReadonlySet<number>[] = [];
  const latest = new Map<number, number>();
  steps.forEach(({ process, receives }, at) => {
    const causes = new Set<number>();
    for (const cause of [latest.get(process), receives]) {
      if (cause === undefined) continue;
      causes.add(cause);
      for (const earlier of past[cause] ?? []) causes.add(earlier);
    }
    past.push(causes);
    latest.set(process, at);
  });
  return (a, b) => past[b]?.has(a) === true;
}

/** The item at an index that exists. */
export function item<T>(list: ArrayLike<T>, index: number): T {
  const found = list[index];
  if (found === undefined) throw new RangeError(`no item ${index} of ${list.length}`);
  return found;
}

/** The events of a random run, with true causes, in an order in which they can have happened. */
export function history(maxProcesses = 4, maxSteps = 30): fc.Arbitrary<readonly CausalEvent<number>[]> {
  return executions(maxProcesses, maxSteps).map(({ processes, steps }) => {
    const known = Array.from({ length: processes }, () => VersionVector.empty);
    const after: VersionVector[] = [];
    return steps.map(({ process, receives }, payload) => {
      const node = `p${process}`;
      const causes = item(known, process).merge(
        receives === undefined ? VersionVector.empty : item(after, receives),
      );
      const next = causes.increment(node);
      known[process] = next;
      after.push(next);
      // Clocks that agree on nothing: causal order must not lean on them.
      const hlc = { wall: 1000 + ((payload * 7919) % 13), logical: payload, node };
      return { dot: { node, counter: next.get(node) }, causes, hlc, payload };
    });
  });
}

/** The items in a random order. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((one) => ({ one, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ one }) => one);
}
