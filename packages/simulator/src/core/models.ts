import type { Model } from './linearizability.js';

/** What a register or a map holds. */
export type RegisterValue = string | number | boolean | null;

/** What a register is asked; answers are the value read, or whether a `cas` took effect, or nothing for a write. */
export type RegisterInput =
  | { readonly type: 'read' }
  | { readonly type: 'write'; readonly value: RegisterValue }
  | { readonly type: 'cas'; readonly expected: RegisterValue | undefined; readonly value: RegisterValue };
/** What a register answers. A register that was never written reads as undefined. */
export type RegisterOutput = RegisterValue | undefined;

type RegisterState = RegisterValue | undefined;

/** One value, at first undefined, with reads and writes, and with compare-and-set (a `cas-register`). */
export const registerModel: Model<RegisterState, RegisterInput, RegisterOutput> = {
  initial: undefined,
  key: (state) => (typeof state === 'string' ? `"${state}` : String(state)),
  isRead: ({ type }, output) => type === 'read' || (type === 'cas' && output === false),
  isBlind: ({ type }) => type === 'write',
  apply(state, input, output, known) {
    switch (input.type) {
      case 'read':
        return !known || output === state ? { state } : undefined;
      case 'write':
        return { state: input.value };
      case 'cas': {
        const succeeds = state === input.expected;
        if (known && output !== succeeds) return undefined;
        return { state: succeeds ? input.value : state };
      }
    }
  },
  describe(input, output, known) {
    switch (input.type) {
      case 'read':
        return known ? `read → ${show(output)}` : 'read';
      case 'write':
        return `write ${show(input.value)}`;
      case 'cas':
        return `cas ${show(input.expected)} → ${show(input.value)}${known && output === false ? ' ✗' : ''}`;
    }
  },
};

/** {@link registerModel}, under the name that Jepsen gives to one with compare-and-set. */
export const casRegisterModel: typeof registerModel = { ...registerModel };

/** What a map is asked: a register's input with its key, or to remove the key; then it reads as undefined. */
export type MapInput = (RegisterInput | { readonly type: 'remove' }) & { readonly key: string };

/** A register for each key, each checked for itself. */
export const mapModel: Model<RegisterState, MapInput, RegisterOutput> = {
  initial: undefined,
  key: (state) => registerModel.key(state),
  isRead: ({ type }, output) => type === 'read' || (type === 'cas' && output === false),
  isBlind: ({ type }) => type === 'write' || type === 'remove',
  partition: ({ key }) => key,
  apply: (state, input, output, known) =>
    input.type === 'remove' ? { state: undefined } : registerModel.apply(state, input, output, known),
  describe: (input, output, known) =>
    input.type === 'remove' ? 'remove' : (registerModel.describe?.(input, output, known) ?? input.type),
};

/**
 * What a lock is asked. An `acquire` answers the fencing token, or `false` if somebody else has it; a `release`
 * whether the lock was the owner's to release. A lease may run out without anybody noticing: where locks are leases,
 * record an `expire` with an unknown outcome for each `acquire` that may have been granted, called when the lease can
 * end at the earliest, of its fence or, where that is not known, of its owner.
 */
export type LockInput =
  | { readonly type: 'acquire'; readonly owner: string; readonly lock?: string }
  | {
      readonly type: 'release' | 'expire';
      readonly owner: string;
      readonly fence?: number;
      readonly lock?: string;
    };
/** What a lock answers: see {@link LockInput}. */
export type LockOutput = number | boolean | undefined;

/** Who has a lock, and the highest fence that is known to have been given. */
export interface LockState {
  readonly owner: string | undefined;
  /** Nothing where the holder's fence is not known. */
  readonly fence: number | undefined;
  readonly highest: number;
}

/** Mutual exclusion, each lock for itself: one owner at a time, and each fence is greater than all before it. */
export const lockModel: Model<LockState, LockInput, LockOutput> = {
  initial: { owner: undefined, fence: undefined, highest: Number.NEGATIVE_INFINITY },
  key: ({ owner, fence, highest }) =>
    `${String(fence)} ${String(highest)} ${owner === undefined ? '' : `"${owner}`}`,
  partition: ({ lock = '' }) => lock,
  isRead: ({ type }, output) => type !== 'expire' && output === false,
  apply(state, input, output, known) {
    const free: LockState = { ...state, owner: undefined, fence: undefined };
    switch (input.type) {
      case 'acquire': {
        if (!known) return { state: state.owner === undefined ? { ...state, owner: input.owner } : state };
        if (typeof output !== 'number') return state.owner === undefined ? undefined : { state };
        if (state.owner !== undefined || output <= state.highest) return undefined;
        return { state: { owner: input.owner, fence: output, highest: output } };
      }
      case 'release':
      case 'expire': {
        const holds =
          state.owner === input.owner &&
          (input.fence === undefined || state.fence === undefined || input.fence === state.fence);
        if (known && output !== holds) return undefined;
        return { state: holds ? free : state };
      }
    }
  },
  describe(input, output, known) {
    const answer = typeof output === 'number' ? ` → #${String(output)}` : output === false ? ' ✗' : '';
    return `${input.type}${known ? answer : ''}`;
  },
};

/** What a queue is asked; a `dequeue` answers the value, or nothing of an empty queue. */
export type QueueInput =
  | { readonly type: 'enqueue'; readonly value: RegisterValue; readonly queue?: string }
  | { readonly type: 'dequeue'; readonly queue?: string };

/** First in, first out, each queue for itself. */
export const queueModel: Model<readonly RegisterValue[], QueueInput, RegisterOutput> = {
  initial: [],
  key: (state) => JSON.stringify(state),
  partition: ({ queue = '' }) => queue,
  apply(state, input, output, known) {
    if (input.type === 'enqueue') return { state: [...state, input.value] };
    return !known || output === state[0] ? { state: state.slice(1) } : undefined;
  },
  describe: (input, output, known) =>
    input.type === 'enqueue' ? `enqueue ${show(input.value)}` : `dequeue${known ? ` → ${show(output)}` : ''}`,
};

function show(value: unknown): string {
  return value === undefined ? '∅' : JSON.stringify(value);
}
