import type { Model } from './linearizability.js';

/** What a register is asked; answers are the value read, or whether a `cas` took effect, or nothing for a write. */
export type RegisterInput =
  | { readonly type: 'read' }
  | { readonly type: 'write'; readonly value: number }
  | { readonly type: 'cas'; readonly expected: number | undefined; readonly value: number };
export type RegisterOutput = number | boolean | undefined;

/** One value, at first undefined, with reads, writes and compare-and-set. */
export const registerModel: Model<number | undefined, RegisterInput, RegisterOutput> = {
  initial: undefined,
  key: String,
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
};

/** A register's input with the key of the register. */
export type MapInput = RegisterInput & { readonly key: string };

/** A register for each key, each checked for itself. */
export const mapModel: Model<number | undefined, MapInput, RegisterOutput> = {
  ...registerModel,
  partition: ({ key }) => key,
};

/** What a queue is asked; a `dequeue` answers the value, or nothing of an empty queue. */
export type QueueInput = { readonly type: 'enqueue'; readonly value: number } | { readonly type: 'dequeue' };

/** First in, first out. */
export const queueModel: Model<readonly number[], QueueInput, number | undefined> = {
  initial: [],
  key: (state) => state.join(),
  apply(state, input, output, known) {
    if (input.type === 'enqueue') return { state: [...state, input.value] };
    return !known || output === state[0] ? { state: state.slice(1) } : undefined;
  },
};
