import type { Model, Operation } from '@quorate/simulator';

/** What clients ask of one key. Every value is written once, so that a version stands for a value. */
export type Input =
  | { readonly type: 'get'; readonly key: string }
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string }
  | {
      readonly type: 'cas';
      readonly key: string;
      readonly expected: string | undefined;
      readonly value: string;
    };

/** The value of a `get`, whether a `cas` took effect. */
export type Output = string | boolean | undefined;

/** A map of keys to values as its users understand it. */
export const model: Model<string | undefined, Input, Output> = {
  initial: undefined,
  key: (state) => (state === undefined ? '' : `=${state}`),
  partition: ({ key }) => key,
  apply(state, input, output, known) {
    switch (input.type) {
      case 'get':
        return !known || output === state ? { state } : undefined;
      case 'put':
        return { state: input.value };
      case 'delete':
        return { state: undefined };
      case 'cas': {
        const takes = state === input.expected;
        if (known && output !== takes) return undefined;
        return { state: takes ? input.value : state };
      }
    }
  },
};

/** What clients asked and were told, in the order in which it happened in this process. */
export type Record = Operation<Input, Output>;
