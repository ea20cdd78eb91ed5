import { abortable, backoff, type Deadline, deadline, sleep } from '@quorate/runtime';
import { CallJudge, type InFlight, type PublishOutcome } from './core/delivery.js';
import { LeaseLostError, RelayClosedError } from './errors.js';
import { relayErrors, relayFailed, relaySettled } from './events.js';
import type { RelaySettings } from './relay-options.js';
import type { Fetched, Judged, RelayStore } from './relay-store.js';

interface Call<T extends object> {
  readonly messages: readonly Fetched<T>[];
  readonly deadline: Deadline;
}

/**
 * Carries messages to the publisher and its verdicts to the database.
 *
 * Calls wait in `ready` until one of the `concurrency` places is free. Verdicts gather while the previous ones are
 * being written, so that many small calls share one statement. A message stays in flight from `accept` until its
 * verdict is written.
 */
export class Courier<T extends object> {
  readonly #settings: RelaySettings<T>;
  readonly #store: RelayStore<T>;
  readonly #inFlight: InFlight<Fetched<T>>;
  readonly #onSettled: () => void;
  #ready: (readonly Fetched<T>[])[] = [];
  readonly #active = new Set<Call<T>>();
  #verdicts: Judged<T>[] = [];
  #writing = false;
  #idle: (() => void) | undefined;
  #closing: AbortSignal | undefined;

  constructor(
    settings: RelaySettings<T>,
    store: RelayStore<T>,
    inFlight: InFlight<Fetched<T>>,
    onSettled: () => void,
  ) {
    this.#settings = settings;
    this.#store = store;
    this.#inFlight = inFlight;
    this.#onSettled = onSettled;
  }

  /** Whether more should be fetched: places would stay empty, and the bound on messages leaves room for a page. */
  get hungry(): boolean {
    const { concurrency, batchSize, maxInFlight } = this.#settings;
    return this.#ready.length < concurrency && this.#inFlight.messages + batchSize <= maxInFlight;
  }

  /** Takes calls whose messages were admitted as in flight. */
  accept(calls: readonly (readonly Fetched<T>[])[]): void {
    this.#ready.push(...calls);
    this.#pump();
  }

  /** Ends what is under way for partitions that are lost. */
  drop(partitions: readonly number[]): void {
    const lost = new Set(partitions);
    const isLost = ({ partition }: Fetched<T>): boolean => lost.has(partition);
    this.#ready = this.#ready.flatMap((call) => {
      this.#inFlight.settle(call.filter(isLost));
      const kept = call.filter((message) => !isLost(message));
      return kept.length > 0 ? [kept] : [];
    });
    for (const call of this.#active) {
      const gone = new Set(call.messages.filter(isLost).map(({ partition }) => partition));
      if (gone.size > 0) call.deadline.abort(new LeaseLostError([...gone]));
    }
    this.#checkIdle();
  }

  /** Lets the calls under way end, aborts them after `drainMs`, and writes down what became of them. */
  async close(drainMs: number): Promise<void> {
    for (const call of this.#ready.splice(0)) this.#inFlight.settle(call);
    const drain = deadline(this.#settings.runtime, drainMs);
    this.#closing = drain.signal;
    drain.signal.addEventListener(
      'abort',
      () => {
        for (const call of this.#active) call.deadline.abort(new RelayClosedError(drainMs));
      },
      { once: true },
    );
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      this.#checkIdle();
    });
    drain[Symbol.dispose]();
  }

  #pump(): void {
    while (this.#active.size < this.#settings.concurrency) {
      const messages = this.#ready.shift();
      if (messages === undefined) return;
      void this.#carry(messages);
    }
  }

  async #carry(messages: readonly Fetched<T>[]): Promise<void> {
    const { runtime, publish, publishTimeoutMs, policy } = this.#settings;
    const limit = deadline(runtime, publishTimeoutMs, { what: 'publish' });
    const call: Call<T> = { messages, deadline: limit };
    this.#active.add(call);
    const judge = new CallJudge(messages, policy);
    const report = (fetched: Fetched<T> | undefined, outcome: PublishOutcome): void => {
      const verdict = fetched && judge.judge(fetched, outcome);
      if (fetched === undefined || verdict === undefined) return;
      this.#verdicts.push({ fetched, verdict });
      void this.#write();
    };
    let rest: PublishOutcome = 'skipped';
    try {
      const published = publish(
        messages.map(({ message }) => message),
        limit.signal,
        (index, outcome) => {
          report(messages[index], outcome);
        },
      );
      // A publisher that does not heed its signal is left alone: what it still sends arrives twice, in order.
      await abortable(published, limit.signal);
    } catch (error) {
      const ours = error instanceof LeaseLostError || error instanceof RelayClosedError;
      if (!ours) rest = { failed: error };
    }
    for (const message of judge.unjudged()) report(message, rest);
    limit[Symbol.dispose]();
    this.#active.delete(call);
    this.#pump();
    this.#checkIdle();
  }

  async #write(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    const { runtime, owner } = this.#settings;
    const delays = backoff(runtime, { minMs: 20, maxMs: 1_000 });
    // Verdicts that come in the same turn share the statement.
    await Promise.resolve();
    while (this.#verdicts.length > 0) {
      const judged = this.#verdicts;
      this.#verdicts = [];
      try {
        const startedAt = runtime.monotonic();
        const fenced = await this.#store.settle(judged);
        delays.reset();
        this.#announce(judged, fenced, runtime.monotonic() - startedAt);
      } catch (error) {
        relayErrors.publish({ owner, during: 'settle', error });
        if (this.#closing?.aborted !== true) {
          this.#verdicts = [...judged, ...this.#verdicts];
          await sleep(runtime, delays.nextMs(), { signal: this.#closing, keepAlive: true }).catch(
            () => undefined,
          );
          continue;
        }
      }
      this.#inFlight.settle(judged.map(({ fetched }) => fetched));
      this.#onSettled();
    }
    this.#writing = false;
    this.#checkIdle();
  }

  #announce(judged: readonly Judged<T>[], fenced: number, durationMs: number): void {
    const { owner } = this.#settings;
    if (relaySettled.active) {
      const count = (what: string): number => judged.filter(({ verdict }) => verdict.do === what).length;
      const [published, failed, dead] = [count('ack'), count('retry'), count('bury')];
      relaySettled.publish({ owner, published, failed, dead, fenced, durationMs });
    }
    if (!relayFailed.active) return;
    for (const { fetched, verdict } of judged) {
      if (verdict.do !== 'retry' && verdict.do !== 'bury') continue;
      const { topic, key, attempts, message } = fetched;
      const retryAfterMs = verdict.do === 'retry' ? verdict.delayMs : undefined;
      const { error } = verdict;
      relayFailed.publish({ owner, id: message.id, topic, key, attempts: attempts + 1, error, retryAfterMs });
    }
  }

  #checkIdle(): void {
    if (this.#active.size === 0 && this.#ready.length === 0 && !this.#writing && this.#verdicts.length === 0)
      this.#idle?.();
  }
}
