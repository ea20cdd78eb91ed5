/** What a worker gets as its only argument, in JSON. */
export interface WorkerArguments {
  readonly id: string;
  readonly backend: string;
  /** The addresses of the servers, none for raft. */
  readonly urls: readonly string[];
  /** Of the nodes, by name, for raft. */
  readonly ports: Readonly<Record<string, number>>;
  readonly directory: string;
  readonly leaseMs: number;
}

/** From a worker to the store of tasks. Without a fence where the lock has none. */
export type Question =
  | { readonly type: 'next'; readonly fence: number | undefined }
  /** The task is done, as the holder of this fence, who was given it at this version. */
  | {
      readonly type: 'done';
      readonly task: number;
      readonly fence: number | undefined;
      readonly version: number;
    };

/** The next task, none when all are done, and the version of the row that it was read from. */
export interface Given {
  readonly task: number | undefined;
  readonly version: number;
}

/** From the store of tasks to a worker. */
export type Answer = Given | { readonly accepted: boolean };
