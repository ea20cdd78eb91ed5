import type { SqlTransaction } from '@quorate/sql';
import {
  type BackoffOptions,
  backoffDelayMs,
  functionOption,
  identifierOption,
  integerOption,
  InvalidOptionError,
  numberOption,
} from '@quorate/runtime';
import type { CancelReason, TccOp } from './core/tcc.js';

/** What an operation of a branch is called with. */
export interface TccContext<Input, Outputs, Op extends TccOp = TccOp> {
  /** The global transaction id: the id of the saga. With `branch` and `op` it is what a barrier asks for. */
  readonly gid: string;
  readonly branch: string;
  readonly op: Op;
  /** What the saga was begun with, after a round trip through JSON. */
  readonly input: Input;
  /** What the tries answered, by branch: all of them in a confirm, those known to have succeeded in a cancel, none in a try. */
  readonly outputs: Outputs;
  /** Counts the rounds of this operation from 1. A round whose coordinator died counts. */
  readonly attempt: number;
  /**
   * Aborts when this attempt's time is over, when its outcome no longer matters, or when the coordinator may not go
   * on. Pass it on to whatever waits.
   */
  readonly signal: AbortSignal;
}

/**
 * The three operations of one participant.
 *
 * Each may be called several times, also at once, and a `cancel` may arrive before its `try`, or without one. A
 * participant with an SQL database wraps each in {@link barrier}, which makes all of that harmless.
 */
export interface TccBranch<Input = unknown, Outputs = Record<string, unknown>, Output = unknown> {
  /**
   * Reserves what is needed and checks everything that could forbid it. Throw {@link BranchRefused} for a definite
   * no; any other error is an unknown outcome. What it answers is stored, and handed to `confirm` and `cancel`.
   */
  try(context: TccContext<Input, Partial<Outputs>, 'try'>): Output | Promise<Output>;
  /** Makes the reservation final. It must succeed in the end: it is repeated until it does. */
  confirm(context: TccContext<Input, Outputs, 'confirm'>): unknown;
  /** Gives the reservation back, also when there may be none. It must succeed in the end. */
  cancel(context: TccContext<Input, Partial<Outputs>, 'cancel'>): unknown;
}

/** A saga at its end, as hooks and waiters see it. */
export interface TccOutcome<Input = unknown, Outputs = Readonly<Record<string, unknown>>> {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly status: 'confirmed' | 'cancelled';
  /** Why it was cancelled; undefined when it was confirmed. */
  readonly reason: CancelReason | undefined;
  readonly input: Input;
  /** What the tries answered, by branch: all of them when it was confirmed. */
  readonly outputs: Partial<Outputs>;
  /** The error of each branch that refused or whose try never succeeded. */
  readonly errors: Readonly<Record<string, string>>;
}

/** What {@link defineTcc} is given. */
export interface TccOptions<Input, Outputs extends object> {
  /** Names the definition in the database: at most 255 bytes, the same in every process. */
  readonly name: string;
  /**
   * A coordinator works only on instances of versions that it holds. Give a changed definition a new version, and
   * keep the old one until its instances have ended.
   * @defaultValue 1
   */
  readonly version?: number;
  /** From the begin on: when the tries have not all succeeded by then, the saga is cancelled. In milliseconds. */
  readonly deadlineMs: number;
  /**
   * How long one attempt at one operation may take, in milliseconds, before it counts as failed.
   * @defaultValue 10_000
   */
  readonly timeoutMs?: number;
  /**
   * The delay between attempts.
   * @defaultValue full jitter from 100 ms to 60_000 ms
   */
  readonly retry?: BackoffOptions;
  /** The participants, by name: a letter, then up to 63 letters, digits, `_` or `-`. */
  readonly branches: { readonly [Branch in keyof Outputs]: TccBranch<Input, Outputs, Outputs[Branch]> };
  /**
   * Runs in the transaction that ends a confirmed saga: what it writes through `tx` is committed with the end or not
   * at all. It may run again after a rollback. When it throws, the end is rolled back and tried again later.
   */
  onConfirmed?(tx: SqlTransaction, saga: TccOutcome<Input, Outputs>): unknown;
  /** Like {@link TccOptions.onConfirmed}, for a cancelled saga. */
  onCancelled?(tx: SqlTransaction, saga: TccOutcome<Input, Outputs>): unknown;
}

/** A checked definition. Made by {@link defineTcc}. */
export interface TccDefinition<
  Input = unknown,
  Outputs extends object = Record<string, unknown>,
> extends TccOptions<Input, Outputs> {
  readonly version: number;
  readonly timeoutMs: number;
  readonly retry: BackoffOptions;
  /** The names of the branches, in the order in which they were given. */
  readonly branchNames: readonly string[];
}

/** What a definition's sagas are begun with. */
export type InputOf<Definition> = TypesOf<Definition>['input'];

/** What a definition's tries answer, by branch. */
export type OutputsOf<Definition> = TypesOf<Definition>['outputs'];

type TypesOf<Definition> =
  Definition extends TccOptions<infer Input, infer Outputs> ? { input: Input; outputs: Outputs } : never;

const BRANCH_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/**
 * Defines a TCC transaction: operations on several participants that all are confirmed, or all are cancelled.
 *
 * `Input` is what an instance is begun with and `Outputs` what its tries answer, by branch; both travel as JSON.
 * @throws InvalidOptionError naming the option that cannot be honoured
 */
export function defineTcc<Input = unknown, Outputs extends object = Record<string, unknown>>(
  options: TccOptions<Input, Outputs>,
): TccDefinition<Input, Outputs> {
  const branchNames = Object.keys(options.branches);
  if (branchNames.length === 0) {
    throw new InvalidOptionError('branches', options.branches, 'an object with at least one branch');
  }
  for (const name of branchNames) {
    if (!BRANCH_NAME.test(name)) {
      throw new InvalidOptionError(
        'branches',
        name,
        'named by a letter and up to 63 letters, digits, _ or -',
      );
    }
    const branch = (options.branches as Record<string, Partial<Record<TccOp, unknown>>>)[name];
    for (const op of ['try', 'confirm', 'cancel'] as const) {
      functionOption(`branches.${name}.${op}`, branch?.[op]);
    }
  }
  for (const hook of ['onConfirmed', 'onCancelled'] as const) {
    if (hook in options) functionOption(hook, (options as Partial<Record<typeof hook, unknown>>)[hook]);
  }
  const retry = { minMs: 100, maxMs: 60_000, ...options.retry };
  backoffDelayMs({ random: () => 0 }, 1, retry);
  return Object.freeze({
    ...options,
    name: identifierOption('name', options.name),
    version: integerOption('version', options.version ?? 1, { max: 2 ** 31 - 1 }),
    deadlineMs: numberOption('deadlineMs', options.deadlineMs, { min: 1, max: MAX_MS }),
    timeoutMs: numberOption('timeoutMs', options.timeoutMs ?? 10_000, { min: 1, max: MAX_MS }),
    retry,
    branchNames,
  });
}

/** A hundred years, which the database's timestamps can hold. */
const MAX_MS = 100 * 365 * 86_400_000;
