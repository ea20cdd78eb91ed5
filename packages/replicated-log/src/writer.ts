import type { LogStorage, StagedSnapshot } from '@quorate/durable-log';
import type { Effects } from './contract.js';

/** What a {@link Writer} does with effects that are durable. */
export interface WriterHost<M> {
  /** Everything up to these effects is durable. Called in the order of `seq`. */
  durable(effects: Effects<M>): void;
  /** Takes the received snapshot that the effects install, for installation. */
  staged(effects: Effects<M>): StagedSnapshot | undefined;
  /** The snapshot is in force in the storage: the state machine takes it over. */
  installed(effects: Effects<M>): Promise<void>;
  /** The storage rejected: nothing more is written. */
  failed(error: unknown): void;
}

interface Job<M> {
  readonly effects: Effects<M>;
  done: boolean;
}

/**
 * Brings effects to the storage in order, without waiting for one write before the next is handed over: the storage
 * lets concurrent writes share a sync. A snapshot to install is the exception; it waits for the writes before it, and
 * those behind wait for it.
 */
export class Writer<M> {
  readonly #storage: LogStorage;
  readonly #host: WriterHost<M>;
  /** Handed to the storage, oldest first; told as durable from the front. */
  readonly #underWay: Job<M>[] = [];
  /** Behind a snapshot that is being installed. */
  #waiting: Effects<M>[] = [];
  #installing = false;
  #failed = false;
  #onIdle: (() => void) | undefined;

  constructor(storage: LogStorage, host: WriterHost<M>) {
    this.#storage = storage;
    this.#host = host;
  }

  /** Whether a snapshot is being installed. */
  get installing(): boolean {
    return this.#installing;
  }

  add(effects: Effects<M>): void {
    if (this.#failed) return;
    if (this.#installing) this.#waiting.push(effects);
    else this.#begin(effects);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.length > 0 && !this.#failed) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  #begin(effects: Effects<M>): void {
    const { persist } = effects;
    const job: Job<M> = { effects, done: effects.installSnapshot === undefined && persist === undefined };
    this.#underWay.push(job);
    if (effects.installSnapshot !== undefined) {
      this.#installing = true;
      void this.#install(job);
    } else if (persist === undefined) {
      this.#settle();
    } else {
      this.#storage.write(persist, { sync: effects.mustSync }).then(
        () => this.#finish(job),
        (error: unknown) => this.#fail(error),
      );
    }
  }

  async #install(job: Job<M>): Promise<void> {
    try {
      const { effects } = job;
      const staged = this.#host.staged(effects);
      if (staged === undefined) throw new Error('the core installs a snapshot that was not received');
      // The storage keeps it in order with the writes before.
      await staged.install();
      await this.#host.installed(effects);
      if (effects.persist !== undefined)
        await this.#storage.write(effects.persist, { sync: effects.mustSync });
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#installing = false;
    this.#finish(job);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const effects of waiting) this.add(effects);
  }

  #finish(job: Job<M>): void {
    job.done = true;
    this.#settle();
  }

  #settle(): void {
    for (let job = this.#underWay[0]; job?.done === true && !this.#failed; job = this.#underWay[0]) {
      this.#underWay.shift();
      this.#host.durable(job.effects);
    }
    if (this.#underWay.length === 0) this.#onIdle?.();
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#waiting = [];
    this.#underWay.length = 0;
    this.#onIdle?.();
    this.#host.failed(error);
  }
}
