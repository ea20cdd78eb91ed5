import {
  checkLinearizable,
  type LockInput,
  lockModel,
  type LockOutput,
  type MapInput,
  mapModel,
  type Model,
  type Operation,
  type QueueInput,
  queueModel,
  type RegisterInput,
  registerModel,
  type RegisterOutput,
  type RegisterValue,
} from '@quorate/simulator';
import { seededRandom } from '@quorate/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

function op<Input, Output = undefined>(
  process: string,
  invokedAt: number,
  returnedAt: number,
  input: Input,
  output?: Output,
): Operation<Input, Output> {
  return {
    process,
    input,
    invokedAt,
    returnedAt,
    outcome: returnedAt === Infinity ? 'unknown' : 'ok',
    output,
  };
}
const write = (value: number): RegisterInput => ({ type: 'write', value });
const read: RegisterInput = { type: 'read' };
const enqueue = (value: number) => ({ type: 'enqueue', value }) as const;
const dequeue = { type: 'dequeue' } as const;

/** Tries every order that time allows: slow, and too plain to be wrong. */
function bruteForce<State, Input, Output>(
  model: Model<State, Input, Output>,
  left: readonly Operation<Input, Output>[],
  state: State,
): boolean {
  if (left.every(({ outcome }) => outcome === 'unknown')) return true;
  return left.some((operation) => {
    if (left.some((other) => other.outcome === 'ok' && other.returnedAt < operation.invokedAt)) return false;
    const next = model.apply(state, operation.input, operation.output, operation.outcome === 'ok');
    if (next === undefined) return false;
    return bruteForce(
      model,
      left.filter((other) => other !== operation),
      next.state,
    );
  });
}

describe('checkLinearizable', () => {
  // Herlihy and Wing, figure 1: H1 and H3 are linearizable queues, H2 and H4 are not.
  it.each([
    [
      'H1',
      true,
      [
        op('A', 0, 2, enqueue(1)),
        op('B', 1, 3, enqueue(2)),
        op('B', 4, 6, dequeue, 2),
        op('A', 5, 7, dequeue, 1),
      ],
    ],
    ['H2', false, [op('A', 0, 1, enqueue(1)), op('B', 2, 3, enqueue(2)), op('B', 4, 5, dequeue, 2)]],
    ['H3', true, [op('A', 0, Infinity, enqueue(1)), op('B', 1, 2, dequeue, 1)]],
    [
      'H4',
      false,
      [
        op('A', 0, 2, enqueue(1)),
        op('B', 1, 3, enqueue(2)),
        op('A', 4, 6, dequeue, 2),
        op('C', 5, 7, dequeue, 2),
      ],
    ],
  ])('judges the queue %s of Herlihy and Wing: %s', (_name, linearizable, history) => {
    expect(
      checkLinearizable<readonly RegisterValue[], QueueInput, RegisterOutput>(queueModel, history)
        .linearizable,
    ).toBe(linearizable);
  });

  it('refuses a stale read, and cuts the history off after it', () => {
    const history = [
      op('a', 0, 1, write(1)),
      op('a', 2, 3, write(2)),
      op('b', 4, 5, read, 1),
      op('a', 6, 7, write(3)),
    ];
    const verdict = checkLinearizable(registerModel, history);
    expect(verdict).toEqual({
      result: 'not-linearizable',
      linearizable: false,
      partition: '',
      counterexample: history.slice(0, 3),
      considered: history.slice(0, 3),
    });
  });

  it('lets an unknown write take effect late or never, and not twice', () => {
    const unknown = op('a', 0, Infinity, write(1));
    const check = (...reads: number[]): boolean =>
      checkLinearizable<RegisterValue | undefined, RegisterInput, RegisterOutput>(registerModel, [
        unknown,
        op('b', 1, 2, write(0)),
        ...reads.map((value, at) => op('b', 3 + 2 * at, 4 + 2 * at, read, value)),
      ]).linearizable;
    expect([check(0, 0), check(0, 1), check(1, 1), check(1, 0)]).toEqual([true, true, true, false]);
  });

  it('checks each key for itself, and names the one that is wrong', () => {
    const history = [
      op('a', 0, 1, { ...write(1), key: 'good' }),
      op('a', 2, 3, { ...read, key: 'good' }, 1),
      op('a', 4, 5, { ...read, key: 'bad' }, 7),
    ];
    expect(checkLinearizable(mapModel, history)).toMatchObject({ linearizable: false, partition: 'bad' });
  });

  it('agrees with trying every order, and its counterexample is impossible too', () => {
    const inputs = fc.oneof(
      fc.constant({ input: read, output: undefined }),
      fc.integer({ min: 0, max: 2 }).map((value) => ({ input: read, output: value })),
      fc.integer({ min: 0, max: 2 }).map((value) => ({ input: write(value), output: undefined })),
      fc
        .tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 }), fc.boolean())
        .map(([expected, value, output]) => ({
          input: { type: 'cas', expected, value },
          output,
        })),
    );
    const operation = fc
      .tuple(inputs, fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 6 }), fc.nat(4))
      .map(([{ input, output }, at, takes, ends]) =>
        op('p', at, ends === 0 ? Infinity : at + takes, input, output),
      );
    let refused = 0;
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (history) => {
        const verdict = checkLinearizable(registerModel, history);
        expect(verdict.linearizable).toBe(bruteForce(registerModel, history, registerModel.initial));
        if (verdict.linearizable) accepted++;
        else {
          refused++;
          expect(bruteForce(registerModel, verdict.counterexample ?? [], registerModel.initial)).toBe(false);
        }
      }),
      { numRuns: 2_000, seed: 1 },
    );
    expect(Math.min(refused, accepted)).toBeGreaterThan(200);
  });

  it('judges a thousand operations of one register by ten processes at once', () => {
    const history = Array.from({ length: 1_000 }, (_, at) =>
      at % 2 === 0 ? op(`p${at % 10}`, at, at + 10, write(at)) : op(`p${at % 10}`, at, at + 10, read, at - 1),
    );
    expect(checkLinearizable(registerModel, history).linearizable).toBe(true);
  });

  const small = fc.integer({ min: 0, max: 2 });
  const timed = <Input, Output>(called: fc.Arbitrary<{ input: Input; output: Output }>) =>
    fc
      .tuple(called, fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 6 }), fc.nat(4))
      .map(([{ input, output }, at, takes, ends]) =>
        op('p', at, ends === 0 ? Infinity : at + takes, input, output),
      );

  it.each([
    [
      'queues',
      queueModel,
      fc.oneof(
        small.map((value) => ({ input: enqueue(value), output: undefined })),
        fc.option(small, { nil: undefined }).map((output) => ({ input: dequeue, output })),
      ),
    ],
    [
      'locks',
      lockModel,
      fc.oneof(
        fc.tuple(fc.constantFrom('a', 'b'), fc.oneof(small, fc.constant(false))).map(([owner, output]) => ({
          input: { type: 'acquire', owner },
          output,
        })),
        fc
          .tuple(fc.constantFrom('a', 'b'), fc.option(small, { nil: undefined }), fc.boolean())
          .map(([owner, fence, output]) => ({
            input: { type: 'release', owner, ...(fence !== undefined && { fence }) },
            output,
          })),
        fc.constantFrom('a', 'b').map((owner) => ({ input: { type: 'expire', owner }, output: true })),
      ),
    ],
    [
      'maps',
      mapModel,
      fc.oneof(
        fc.option(small, { nil: undefined }).map((output) => ({ input: { type: 'read', key: 'k' }, output })),
        small.map((value) => ({ input: { type: 'write', key: 'k', value }, output: undefined })),
        fc.constant({ input: { type: 'remove', key: 'k' }, output: undefined }),
      ),
    ],
  ] as const)('agrees with trying every order of %s', (_name, anyModel, called) => {
    const model = anyModel as Model<unknown, unknown, unknown>;
    const judged = { right: 0, wrong: 0 };
    fc.assert(
      fc.property(
        fc.array(timed(called as fc.Arbitrary<{ input: unknown; output: unknown }>), { maxLength: 6 }),
        (history) => {
          const verdict = checkLinearizable(model, history);
          expect(verdict.linearizable).toBe(bruteForce(model, history, model.initial));
          judged[verdict.linearizable ? 'right' : 'wrong']++;
          if (verdict.linearizable) return;
          const core = verdict.counterexample ?? [];
          expect(bruteForce(model, core, model.initial)).toBe(false);
          // Each is needed: with one of them forgotten, the rest of what was considered is possible.
          for (const one of core) {
            const relaxed = (verdict.considered ?? []).map((other) =>
              core.includes(other) && other !== one
                ? other
                : { ...other, outcome: 'unknown' as const, returnedAt: Infinity, output: undefined },
            );
            expect(bruteForce(model, relaxed, model.initial)).toBe(true);
          }
        },
      ),
      { numRuns: 800, seed: 2 },
    );
    expect(Math.min(judged.right, judged.wrong)).toBeGreaterThan(50);
  });

  const lock = (type: 'acquire' | 'release' | 'expire', owner: string) => ({ type, owner });
  const acquired = op('a', 0, 1, lock('acquire', 'a'), 7);
  it.each([
    ['two owners at a time', false, [acquired, op('b', 2, 3, lock('acquire', 'b'), 8)]],
    [
      'one after the other',
      true,
      [acquired, op('a', 2, 3, lock('release', 'a'), true), op('b', 4, 5, lock('acquire', 'b'), 8)],
    ],
    [
      'a fence that is not greater',
      false,
      [acquired, op('a', 2, 3, lock('release', 'a'), true), op('b', 4, 5, lock('acquire', 'b'), 7)],
    ],
    ['a refusal by nobody', false, [op('b', 0, 1, lock('acquire', 'b'), false)]],
    [
      'a lease that may have run out',
      true,
      [acquired, op('', 1.5, Infinity, lock('expire', 'a')), op('b', 2, 3, lock('acquire', 'b'), 8)],
    ],
    [
      'a lease that cannot have run out yet',
      false,
      [acquired, op('', 4, Infinity, lock('expire', 'a')), op('b', 2, 3, lock('acquire', 'b'), 8)],
    ],
    ['a release by somebody else', false, [acquired, op('b', 2, 3, lock('release', 'b'), true)]],
  ] as const)('judges a lock with %s: %s', (_name, linearizable, history) => {
    expect(
      checkLinearizable(lockModel, history as readonly Operation<LockInput, LockOutput>[]).linearizable,
    ).toBe(linearizable);
  });

  /** What a register says to clients that each wait for an answer, with unknown outcomes; keys are chosen at random. */
  function clients(count: number, keys: number, unknown: number): Operation<MapInput, RegisterOutput>[] {
    const random = seededRandom(7);
    const free = Array.from({ length: 20 }, () => 0);
    const planned = Array.from({ length: count }, (_, at) => {
      const process = at % free.length;
      const invokedAt = (free[process] ?? 0) + random();
      const takesEffectAt = invokedAt + random() * 5;
      const returnedAt = takesEffectAt + random() * 5;
      free[process] = returnedAt + 0.01;
      const key = `k${Math.floor(random() * keys)}`;
      const input: MapInput = random() < 0.5 ? { type: 'read', key } : { type: 'write', key, value: at };
      return {
        process: `p${process}`,
        input,
        invokedAt,
        returnedAt,
        takesEffectAt,
        lost: random() < unknown,
        never: random() < 0.5,
      };
    });
    const values = new Map<string, RegisterValue>();
    return planned
      .sort((a, b) => a.takesEffectAt - b.takesEffectAt)
      .map(({ process, input, invokedAt, returnedAt, lost, never }) => {
        const output = input.type === 'read' ? values.get(input.key) : undefined;
        if (input.type === 'write' && !(lost && never)) values.set(input.key, input.value);
        return {
          process,
          input,
          invokedAt,
          returnedAt: lost ? Infinity : returnedAt,
          outcome: lost ? 'unknown' : 'ok',
          output: lost ? undefined : output,
        };
      });
  }

  it('judges a hundred thousand operations on a thousand keys, and on ten', () => {
    expect(checkLinearizable(mapModel, clients(100_000, 1_000, 0.02)).result).toBe('linearizable');
    expect(checkLinearizable(mapModel, clients(100_000, 10, 0.02)).result).toBe('linearizable');
  });

  it.each([10, 50])(
    'judges a hundred thousand operations on one key, of %i clients that never rest',
    (width) => {
      // No moment at which nothing is open: order is found by whose value was seen when, not by trying.
      const random = seededRandom(7);
      const moments: { readonly at: number; readonly between: readonly [string, number, number] }[] = [];
      for (let client = 0; client < width; client++) {
        for (let time = random(), count = 0; count < 100_000 / width; count++) {
          const end = time + 0.5 + random();
          moments.push({ at: time + random() * (end - time), between: [`c${String(client)}`, time, end] });
          time = end + 1e-9;
        }
      }
      let value: number | undefined;
      const history = moments
        .sort((one, other) => one.at - other.at)
        .map(({ between }, at) => {
          if (random() < 0.5) return op(...between, { type: 'read' } as const, value);
          value = at;
          return op(...between, { type: 'write', value: at } as const);
        });
      expect(checkLinearizable(registerModel, history).result).toBe('linearizable');
    },
  );

  it('finds the one wrong answer among a hundred thousand', () => {
    const history = clients(100_000, 1_000, 0.02);
    const at = history.findLastIndex(({ input, outcome }) => input.type === 'read' && outcome === 'ok');
    const changed = history.map((operation, index) =>
      index === at ? { ...operation, output: -1 } : operation,
    );
    const verdict = checkLinearizable(mapModel, changed);
    expect(verdict).toMatchObject({ result: 'not-linearizable', counterexample: [changed[at]] });
  });

  it('is undecided when its limits are reached, and says of which partition', () => {
    // No order gives these answers, and there are 2^20 sets of enqueued values to try before that is certain.
    const overlapping = Array.from({ length: 20 }, (_, at) => op(`p${at}`, 0, 100, enqueue(at)));
    const history = [...overlapping, op('p', 101, 102, dequeue, 99)] as Operation<
      QueueInput,
      RegisterOutput
    >[];
    const undecided = { result: 'undecided', linearizable: false, partition: '' };
    expect(checkLinearizable(queueModel, history, { maxSteps: 10_000 })).toEqual(undecided);
    expect(checkLinearizable(queueModel, history, { maxStates: 1_000 })).toEqual(undecided);
    let asked = 0;
    expect(checkLinearizable(queueModel, history, { stop: () => ++asked > 2 })).toEqual(undecided);
  });
});
