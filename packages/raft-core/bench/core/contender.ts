/** Bytes of every command. */
export const COMMAND_BYTES = 256;

/** Entries that a contender keeps behind a snapshot, and after how many applied ones it takes the next. */
export const KEPT_ENTRIES = 1_000;
export const SNAPSHOT_ENTRIES = 10_000;

/** Three nodes in one thread that pass messages in memory and write to memory. One of them leads. */
export interface Contender {
  /** Makes so many more proposals at the leader. */
  propose(count: number): Promise<void> | void;
  /** Lets every node do what it has to do once. Returns how many proposals the leader applied. */
  turn(): Promise<number> | number;
}
