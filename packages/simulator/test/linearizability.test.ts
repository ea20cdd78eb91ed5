import {
  checkLinearizable,
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
});
