import { InvalidOptionError } from '@quorate/runtime';
import type { SqlConnection, SqlDatabase } from '@quorate/sql';
import {
  type BarrierCall,
  type BarrierResult,
  barrier,
  BranchRefused,
  type CoordinatorOptions,
  createCoordinator,
  defineTcc,
  type InputOf,
  type OutputsOf,
  SuspendedError,
} from '@quorate/tcc-saga';
import { describe, expect, expectTypeOf, it } from 'vitest';

const branch = { try: () => undefined, confirm: () => undefined, cancel: () => undefined };
const options = { name: 'order', deadlineMs: 1000, branches: { stock: branch } };
const db = { dialect: 'postgres' } as SqlDatabase;

function optionOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidOptionError) return error.option;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('defineTcc', () => {
  it('fills in what is not given', () => {
    expect(defineTcc(options)).toMatchObject({
      version: 1,
      timeoutMs: 10_000,
      retry: { minMs: 100, maxMs: 60_000 },
      branchNames: ['stock'],
    });
  });

  it.each([
    ['name', { name: '' }],
    ['name', { name: 'x'.repeat(256) }],
    ['version', { version: 1.5 }],
    ['version', { version: 2 ** 31 }],
    ['deadlineMs', { deadlineMs: 0 }],
    ['deadlineMs', { deadlineMs: Number.POSITIVE_INFINITY }],
    ['timeoutMs', { timeoutMs: -1 }],
    ['maxMs', { retry: { minMs: 10, maxMs: 5 } }],
    ['branches', { branches: {} }],
    ['branches', { branches: { 'a b': branch } }],
    ['branches', { branches: JSON.parse('{"__proto__": {}}') as object }],
    ['branches.stock.cancel', { branches: { stock: { ...branch, cancel: undefined } } }],
    ['onConfirmed', { onConfirmed: 'yes' }],
    ['onCancelled', { onCancelled: undefined }],
  ])('names the option %s when it cannot be honoured: %o', (option, bad) => {
    expect(optionOf(() => defineTcc({ ...options, ...bad } as never))).toBe(option);
  });

  it('infers what travels from what is declared', () => {
    const definition = defineTcc<{ sku: string }, { stock: { shelf: number }; money: string }>({
      name: 'typed',
      deadlineMs: 1000,
      branches: {
        stock: {
          try: ({ input, op }) => {
            expectTypeOf(input.sku).toBeString();
            expectTypeOf(op).toEqualTypeOf<'try'>();
            return { shelf: 1 };
          },
          confirm: ({ outputs }) => {
            expectTypeOf(outputs.money).toBeString();
          },
          cancel: ({ outputs }) => {
            expectTypeOf(outputs.money).toEqualTypeOf<string | undefined>();
          },
        },
        money: { ...branch, try: () => 'frozen' },
      },
    });
    expectTypeOf<InputOf<typeof definition>>().toEqualTypeOf<{ sku: string }>();
    expectTypeOf<OutputsOf<typeof definition>['stock']>().toEqualTypeOf<{ shelf: number }>();
    const coordinator = createCoordinator({ db, definitions: [definition], owner: 'typed' });
    expect(coordinator.owner).toBe('typed');
    type Outcome = Awaited<ReturnType<typeof coordinator.wait<typeof definition>>>;
    expectTypeOf<Outcome['input']>().toEqualTypeOf<{ sku: string }>();
    expectTypeOf<Outcome['outputs']['money']>().toEqualTypeOf<string | undefined>();
    // @ts-expect-error -- the input has no sku
    expectTypeOf({}).toExtend<Parameters<typeof coordinator.begin<typeof definition>>[1]['input']>();
    type Try = BarrierCall<'try'>;
    const guarded = (tx: SqlConnection, call: Try) => barrier(tx, call, () => 7);
    expectTypeOf(guarded).returns.resolves.toEqualTypeOf<BarrierResult<number>>();
  });
});

describe('createCoordinator', () => {
  const definition = defineTcc(options);
  it.each<[string, object]>([
    ['db.dialect', { db: { dialect: 'mysql' } }],
    ['owner', { owner: 'a\0b' }],
    ['leaseMs', { leaseMs: 5 }],
    ['pollMs', { pollMs: 0 }],
    ['concurrency', { concurrency: 0 }],
    ['stuckAfter', { stuckAfter: 0 }],
    ['definitions', { definitions: [definition, defineTcc(options)] }],
  ])('names the option %s when it cannot be honoured', (option, bad) => {
    const given: CoordinatorOptions = { db, definitions: [definition], ...bad };
    expect(optionOf(() => createCoordinator(given))).toBe(option);
  });

  it('touches no database until it is started', async () => {
    await using coordinator = createCoordinator({ db, definitions: [definition] });
    expect(coordinator.owner).toMatch(/^coordinator-[0-9a-f]{32}$/);
  });
});

describe('errors', () => {
  it('say their code first, and are told apart', () => {
    const refused = new BranchRefused('no funds', { cause: 1 });
    expect(refused).toMatchObject({ code: 'BRANCH_REFUSED', reason: 'no funds', cause: 1 });
    expect(refused.message).toBe('BRANCH_REFUSED: no funds');
    expect(refused).not.toBeInstanceOf(SuspendedError);
    expect(new SuspendedError('g', 'b').message).toMatch(/^BARRIER_SUSPENDED: .*"b" of "g"/);
  });
});
