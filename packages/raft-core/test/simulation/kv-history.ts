import type { Model, Operation } from '@quorate/simulator';

/** What clients ask of one key. Every value is written once, so that a version stands for a value. */
export type KvInput =
  | { readonly type: 'get'; readonly key: string }
  | { readonly type: 'put'; readonly key: string; readonly value: number }
  | { readonly type: 'delete'; readonly key: string }
  | {
      readonly type: 'cas';
      readonly key: string;
      readonly expected: number | undefined;
      readonly value: number;
    };

/** The value of a `get`, whether a `cas` took effect. */
export type KvOutput = number | boolean | undefined;

/** The key-value store as its documentation has it, key by key. */
export const kvModel: Model<number | undefined, KvInput, KvOutput> = {
  initial: undefined,
  key: String,
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

export type KvOperation = Operation<KvInput, KvOutput>;

/** Operations as clients saw them. A call and an answer never have the same time, so that their order is known. */
export class KvHistory {
  readonly operations: KvOperation[] = [];
  #time = 0;

  /** Runs a call. An error that is `definite` says that nothing happened; any other leaves the outcome open. */
  async record(
    process: string,
    input: KvInput,
    call: () => Promise<KvOutput | typeof UNKNOWN>,
  ): Promise<void> {
    const invokedAt = ++this.#time;
    const end = (outcome: 'ok' | 'unknown', output?: KvOutput): void => {
      if (outcome === 'unknown' && input.type === 'get') return; // It says nothing.
      const returnedAt = outcome === 'ok' ? ++this.#time : Number.POSITIVE_INFINITY;
      this.operations.push({ process, input, invokedAt, returnedAt, outcome, output });
    };
    try {
      const output = await call();
      if (output === UNKNOWN) end('unknown');
      else end('ok', output);
    } catch (error) {
      if (!(error instanceof Error && 'definite' in error)) throw error;
      if (error.definite !== true) end('unknown');
    }
  }
}

/** What a call gives whose node is gone. */
export const UNKNOWN = Symbol('unknown');
