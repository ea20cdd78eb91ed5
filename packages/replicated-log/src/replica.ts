import type { Entry, Index, LogStorage, SnapshotMeta } from '@quorate/durable-log';
import { QuorateError } from '@quorate/runtime';
import type { ConsensusCore } from './contract.js';
import { refusal } from './errors.js';
import type { CheckedNodeOptions } from './options.js';
import type { Outcome, SessionMachine } from './session-machine.js';

/** What a {@link Replica} needs of its node. */
export interface ReplicaHost<M, R, Q, A> {
  readonly core: ConsensusCore<M>;
  readonly machine: SessionMachine<R, Q, A>;
  readonly storage: LogStorage;
  readonly options: CheckedNodeOptions;
  /** Aborted: nothing is applied any more. */
  readonly stopped: AbortSignal;
  /** Whether a snapshot of a peer is being installed. */
  installing(): boolean;
  /** The proposal `id` was applied. */
  outcome(id: string, outcome: Outcome<R>): void;
  /** A change of membership was applied, under this id if it had one. */
  configured(id: string | undefined): void;
  /** The state machine stands at `index`. */
  reached(index: Index): void;
  failed(code: 'STATE_MACHINE_FAILED' | 'STORAGE_FAILED', message: string, cause: unknown): void;
}

/** The state machine of a node, with where it stands, its snapshots, and those that replace it. */
export class Replica<M, R, Q, A> {
  readonly #host: ReplicaHost<M, R, Q, A>;
  #applied: Index;
  #lastSnapshot: Index;
  #bytesSinceSnapshot = 0;
  #snapshotting: Promise<Index> | undefined;
  /** Committed entries that wait until a snapshot is in force. */
  #waiting: Entry[] = [];

  constructor(host: ReplicaHost<M, R, Q, A>, applied: Index) {
    this.#host = host;
    this.#applied = applied;
    this.#lastSnapshot = applied;
  }

  get applied(): Index {
    return this.#applied;
  }

  /** Applies committed entries, or keeps them where they build on a snapshot that is being installed. */
  apply(entries: readonly Entry[]): void {
    const { core, machine, stopped } = this.#host;
    if (stopped.aborted) return;
    if (entries[0]?.index !== this.#applied + 1) {
      // Not as arguments: there may be more than a call can take.
      for (const entry of entries) this.#waiting.push(entry);
      return;
    }
    let outcomes: Outcome<R>[];
    try {
      outcomes = machine.apply(entries.filter(({ kind }) => kind === 'command'));
    } catch (error) {
      const message = `applying entries ${String(entries[0].index)} to ${String(entries.at(-1)?.index)} failed, and with it this node`;
      this.#host.failed('STATE_MACHINE_FAILED', message, error);
      return;
    }
    const last = this.#applied + entries.length;
    this.#applied = last;
    core.applied(last);
    let at = 0;
    for (const { kind, id, data } of entries) {
      this.#bytesSinceSnapshot += data.length;
      if (kind === 'config') this.#host.configured(id);
      if (kind !== 'command') continue;
      const outcome = outcomes[at++];
      if (id !== undefined && outcome !== undefined) this.#host.outcome(id, outcome);
    }
    this.#host.reached(last);
    this.#snapshotIfDue();
  }

  /** The storage has installed a peer's snapshot: the state machine takes it over. */
  async installed(meta: SnapshotMeta): Promise<void> {
    const { core, machine, storage } = this.#host;
    const snapshot = await storage.openSnapshot();
    if (snapshot?.meta.index !== meta.index) {
      throw new Error('the storage does not have the snapshot that it installed');
    }
    await machine.restore(snapshot.chunks());
    this.#applied = meta.index;
    this.#lastSnapshot = Math.max(this.#lastSnapshot, meta.index);
    this.#bytesSinceSnapshot = 0;
    core.applied(meta.index);
    this.#host.reached(meta.index);
    const waiting = this.#waiting.filter(({ index }) => index > meta.index);
    this.#waiting = [];
    if (waiting.length > 0) this.apply(waiting);
  }

  /** Takes a snapshot and compacts the log behind it. One at a time: another call gets the one under way. */
  snapshot(): Promise<Index> {
    this.#snapshotting ??= this.#take().finally(() => {
      this.#snapshotting = undefined;
    });
    return this.#snapshotting;
  }

  /** Resolves when no snapshot is being taken. */
  async idle(): Promise<void> {
    await this.#snapshotting?.catch(() => undefined);
  }

  #snapshotIfDue(): void {
    const { snapshotEntries, snapshotBytes } = this.#host.options;
    const entries = this.#applied - this.#lastSnapshot;
    const due = entries >= snapshotEntries || this.#bytesSinceSnapshot >= snapshotBytes;
    if (!due || this.#snapshotting !== undefined || this.#host.stopped.aborted) return;
    this.snapshot().catch(() => {
      // It stopped the node, or the node was stopped.
    });
  }

  async #take(): Promise<Index> {
    const { core, machine, storage, options, stopped } = this.#host;
    const meta = core.snapshotMeta();
    if (meta === undefined || meta.index <= this.#lastSnapshot || this.#host.installing()) {
      return this.#lastSnapshot;
    }
    this.#lastSnapshot = meta.index;
    this.#bytesSinceSnapshot = 0;
    try {
      // The state is frozen in this turn, in which `meta` is true of it.
      const staged = await storage.stageSnapshot(meta, machine.snapshot(), { signal: stopped });
      stopped.throwIfAborted();
      await staged.install();
      const to = Math.max(0, meta.index - options.keepEntries);
      core.compact(meta, to);
      if (to > 0) await storage.compact(to);
    } catch (error) {
      // A peer's snapshot that covers more came in between.
      if (error instanceof QuorateError && error.code === 'SNAPSHOT_OUTDATED') return this.#lastSnapshot;
      if (!stopped.aborted) {
        this.#host.failed('STORAGE_FAILED', 'taking a snapshot failed, and with it this node', error);
      }
      throw refusal('closed');
    }
    return meta.index;
  }
}
