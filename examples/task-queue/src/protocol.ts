/** What a worker gets as its only argument, in JSON. */
export interface WorkerArguments {
  readonly id: string;
  readonly backend: string;
  /** The address of the server; of the nodes, by name, for raft. */
  readonly url: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly directory: string;
  readonly leaseMs: number;
}

/** From a worker to the store of tasks. */
export type Question =
  | { readonly type: 'next'; readonly fence: number }
  /** The task is done, as the holder of this fence. */
  | { readonly type: 'done'; readonly task: number; readonly fence: number };

/** From the store of tasks to a worker. */
export type Answer = { readonly task: number | undefined } | { readonly accepted: boolean };
