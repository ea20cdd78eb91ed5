import {
  createMemoryLog,
  createMemoryMedium,
  type LogStorage,
  type PersistBatch,
  type SnapshotMeta,
  type StagedSnapshot,
} from '@quorate/durable-log';
import { type Runtime, sleep } from '@quorate/runtime';

/** A disk of a test: it outlives its logs, takes its time, and fails when it is told to. */
export class Disk {
  readonly medium = createMemoryMedium();
  /** How long a write takes, after which it is durable. */
  readonly syncMs = 1;
  /** Every write from now on rejects with this. */
  failure: Error | undefined;
  /** What the newest installed snapshot stands for. */
  snapshotIndex = 0;
  /** How many chunks of snapshots were staged, installed or not. */
  stagedChunks = 0;
  compactedTo = 0;
  isOpen = false;

  constructor(readonly runtime: Runtime) {}

  open(): LogStorage {
    this.isOpen = true;
    return new SlowLog(this, createMemoryLog({ medium: this.medium }));
  }

  /** What is not durable is lost, and the log that was open never touches the disk again. */
  crash(): void {
    this.medium.crash();
  }
}

class SlowLog implements LogStorage {
  #order: Promise<unknown> = Promise.resolve();

  constructor(
    readonly disk: Disk,
    readonly log: LogStorage,
  ) {}

  load() {
    return this.log.load();
  }

  write(batch: PersistBatch, options: { readonly sync: boolean }): Promise<void> {
    return this.#later(() => this.log.write(batch, options));
  }

  read(from: number, to: number, maxBytes: number) {
    return this.log.read(from, to, maxBytes);
  }

  async stageSnapshot(
    meta: SnapshotMeta,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<StagedSnapshot> {
    const staged = await this.log.stageSnapshot(meta, this.#counted(chunks), options);
    return {
      meta,
      sizeBytes: staged.sizeBytes,
      chunks: () => staged.chunks(),
      discard: () => staged.discard(),
      install: () =>
        this.#later(async () => {
          await staged.install();
          this.disk.snapshotIndex = meta.index;
        }),
    };
  }

  openSnapshot() {
    return this.log.openSnapshot();
  }

  compact(to: number): Promise<void> {
    return this.#later(async () => {
      await this.log.compact(to);
      this.disk.compactedTo = to;
    });
  }

  async close(): Promise<void> {
    await this.#order;
    await this.log.close();
    this.disk.isOpen = false;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async *#counted(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of chunks) {
      this.disk.stagedChunks++;
      yield chunk;
    }
  }

  /** Everything in the order in which it was asked for. */
  #later(work: () => Promise<void>): Promise<void> {
    const done = this.#order.then(async () => {
      await sleep(this.disk.runtime, this.disk.syncMs, { keepAlive: false });
      if (this.disk.failure !== undefined) throw this.disk.failure;
      await work();
    });
    this.#order = done.catch(() => undefined);
    return done;
  }
}
