/** What a publisher says about one message. */
export type PublishOutcome =
  /** It is safe where it was to go. */
  | 'published'
  /** It was not tried, for instance because an earlier message of its key failed. Costs no attempt. */
  | 'skipped'
  /** It failed, or its outcome is not known. `retryAfterMs` is the least delay before the next attempt. */
  | { readonly failed: unknown; readonly retryAfterMs?: number };

/** What the core needs to know of a message. */
export interface Deliverable {
  readonly topic: string;
  readonly key: string;
  readonly keyHash: number;
  readonly partition: number;
  readonly seq: number;
  /** Failed attempts before this one. */
  readonly attempts: number;
  /** Whether the key is the message's own, so that no later message waits for it. */
  readonly alone: boolean;
}

/** How failures are dealt with. */
export interface RetryPolicy {
  /** Attempts in all before a message is given up. May be infinite. */
  readonly maxAttempts: number;
  /** What becomes of a key after one of its messages was given up. */
  readonly afterDead: 'block-key' | 'continue-key';
  /** The delay before the next attempt, for a message that has failed `attempts` times. */
  delayMs(attempts: number): number;
}

/** What is to be done with a message. */
export type Verdict =
  /** Delete it. */
  | { readonly do: 'ack' }
  /** Leave it as it is; it will be fetched again. */
  | { readonly do: 'release' }
  /** Count the attempt and block its key for a while. */
  | { readonly do: 'retry'; readonly delayMs: number; readonly error: unknown }
  /** Move it to the dead letters. */
  | { readonly do: 'bury'; readonly blockKey: boolean; readonly error: unknown };

const ACK: Verdict = { do: 'ack' };
const RELEASE: Verdict = { do: 'release' };

/**
 * Turns the outcomes of a call into verdicts, each message once. Of a key, only the first failure counts: what
 * follows it in the call waits for it, unless the publisher did publish it.
 */
export class CallJudge<M extends Deliverable> {
  readonly #policy: RetryPolicy;
  readonly #failedKeys = new Set<string>();
  readonly #open: Set<M>;

  constructor(messages: readonly M[], policy: RetryPolicy) {
    this.#policy = policy;
    this.#open = new Set(messages);
  }

  /** The verdict on `message`, or undefined if there is one already. Outcomes of a key come in its order. */
  judge(message: M, outcome: PublishOutcome): Verdict | undefined {
    if (!this.#open.delete(message)) return undefined;
    if (outcome === 'published') return ACK;
    if (outcome === 'skipped') return RELEASE;
    const key = orderKey(message);
    if (this.#failedKeys.has(key)) return RELEASE;
    this.#failedKeys.add(key);
    const attempts = message.attempts + 1;
    if (attempts >= this.#policy.maxAttempts) {
      const blockKey = this.#policy.afterDead === 'block-key' && !message.alone;
      return { do: 'bury', blockKey, error: outcome.failed };
    }
    const delayMs = Math.max(outcome.retryAfterMs ?? 0, this.#policy.delayMs(attempts));
    return { do: 'retry', delayMs, error: outcome.failed };
  }

  /** The messages without a verdict, in order. */
  unjudged(): M[] {
    return [...this.#open];
  }
}

/** What order is kept within: two messages are in order if and only if these are equal. */
export function orderKey(message: Pick<Deliverable, 'topic' | 'key'>): string {
  // Identifiers hold no control characters, so nothing else can be mistaken for the separator.
  return `${message.topic}\u0000${message.key}`;
}

/** How a page is cut into calls of the publisher. */
export interface CallShape {
  /**
   * `page`: all that was fetched is one call. `key`: a call has messages of one key. `apart`: as `page`, but at most
   * one message of a key.
   */
  readonly callOf: 'page' | 'key' | 'apart';
}

/**
 * What is in flight: messages that were handed out, and whose verdicts are not in the database yet.
 *
 * Invariant: of a key, only one call is in flight. A page that was read while a key was in flight may hold messages
 * that are already published and not yet deleted, so nothing of that key is taken from it.
 */
export class InFlight<M extends Deliverable> {
  readonly #shape: CallShape['callOf'];
  readonly #perKey = new Map<number, number>();
  readonly #perPartition = new Map<number, number>();
  #messages = 0;

  constructor(shape: CallShape) {
    this.#shape = shape.callOf;
  }

  /** How many messages are in flight. */
  get messages(): number {
    return this.#messages;
  }

  /** Whether any message of the partition is in flight. */
  holds(partition: number): boolean {
    return this.#perPartition.has(partition);
  }

  /** Hashes of the keys in flight. A page has to be read without them. */
  keyHashes(): number[] {
    return [...this.#perKey.keys()];
  }

  /**
   * Cuts a page into calls and counts their messages as in flight. Messages that failed before travel in a call of
   * their own key, so that one that makes the publisher throw does not fail its neighbours for ever. What is not
   * handed out is left for a later page.
   */
  admit(page: readonly M[]): M[][] {
    const inOrder = page
      .filter((message) => !this.#perKey.has(message.keyHash))
      .sort((a, b) => a.partition - b.partition || a.seq - b.seq);
    const together: M[] = [];
    const byKey = new Map<string, M[]>();
    const healthy = new Set<string>();
    for (const message of inOrder) {
      const key = orderKey(message);
      const own = byKey.get(key);
      if (own !== undefined) {
        if (this.#shape !== 'apart') own.push(message);
      } else if (healthy.has(key)) {
        if (this.#shape === 'page') together.push(message);
      } else if (this.#shape === 'key' || message.attempts > 0) {
        byKey.set(key, [message]);
      } else {
        healthy.add(key);
        together.push(message);
      }
    }
    const calls = together.length > 0 ? [together, ...byKey.values()] : [...byKey.values()];
    for (const call of calls) {
      for (const message of call) {
        this.#count(message, 1);
      }
    }
    return calls;
  }

  /** The verdicts on these messages are in the database, or another relay's business. */
  settle(messages: Iterable<M>): void {
    for (const message of messages) this.#count(message, -1);
  }

  #count(message: M, by: 1 | -1): void {
    this.#messages += by;
    add(this.#perKey, message.keyHash, by);
    add(this.#perPartition, message.partition, by);
  }
}

function add(counts: Map<number, number>, key: number, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
