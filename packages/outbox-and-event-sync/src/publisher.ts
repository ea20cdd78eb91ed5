import { describeValue } from '@quorate/runtime';
import type { PublishOutcome } from './core/delivery.js';
import { InvalidOutcomeError, NoHandlerError } from './errors.js';
import type { Message, TopicMessage, Topics } from './message.js';

/**
 * Hands messages over to where they shall go, and says what became of each, in the same order.
 *
 * Messages of one topic and key have to be published in the order given; after a failure, later ones of that key
 * are `skipped`. A publisher that throws, or returns something else, has failed on every message of the call.
 * When `signal` aborts the lease is about to end or the call took too long: stop, another relay takes over. What
 * is published after that arrives twice.
 */
export type PublishBatch<T extends object = Topics> = (
  messages: readonly Message<T>[],
  signal: AbortSignal,
) => Promise<readonly PublishOutcome[]>;

/** Handles one message; it is published when this resolves, and failed when it throws. */
export type MessageHandler<K extends string = string, P = unknown> = {
  // A method, because its parameter then need not fit the message of every topic: without known topics TypeScript
  // takes the name of the property for the topic, and compares the handler with one for any string.
  handle(message: TopicMessage<K, P>, signal: AbortSignal): unknown;
}['handle'];

/** A handler per topic. Messages of one topic and key are handled one after the other, others side by side. */
export type Handlers<T extends object = Topics> = {
  readonly [K in keyof T & string]?: MessageHandler<K, T[K]>;
};

/** Receives the outcome of each message as soon as it is known. */
export type Report = (index: number, outcome: PublishOutcome) => void;

/** Publishes one call. Reports every outcome before it resolves; when it rejects the rest has failed. */
export type PublishCall<T extends object> = (
  messages: readonly Message<T>[],
  signal: AbortSignal,
  report: Report,
) => Promise<void>;

/** A batch publisher as the relay calls it. */
export function callBatch<T extends object>(publish: PublishBatch<T>): PublishCall<T> {
  return async (messages, signal, report) => {
    const outcomes: unknown = await publish(messages, signal);
    if (!Array.isArray(outcomes) || outcomes.length !== messages.length)
      throw new InvalidOutcomeError(
        `publish returned ${Array.isArray(outcomes) ? `${String(outcomes.length)} outcomes` : typeof outcomes} ` +
          `for ${String(messages.length)} messages; return one outcome per message, in their order`,
      );
    outcomes.forEach((outcome: unknown, index) => {
      report(index, isOutcome(outcome) ? outcome : { failed: notAnOutcome(outcome) });
    });
  };
}

/** Handlers as the relay calls them, with the messages of one key. */
export function callHandlers<T extends object>(handlers: Handlers<T>): PublishCall<T> {
  const known = Object.keys(handlers);
  return async (messages, signal, report) => {
    for (const [index, message] of messages.entries()) {
      signal.throwIfAborted();
      // The handler of a message's topic takes that topic's messages: the pair that the index type cannot express.
      const handler = Object.hasOwn(handlers, message.topic)
        ? (handlers[message.topic] as MessageHandler | undefined)
        : undefined;
      try {
        if (handler === undefined) throw new NoHandlerError(message.topic, known);
        await handler(message, signal);
      } catch (failed) {
        report(index, { failed });
        return;
      }
      report(index, 'published');
    }
  };
}

function isOutcome(value: unknown): value is PublishOutcome {
  if (value === 'published' || value === 'skipped') return true;
  if (typeof value !== 'object' || value === null || !('failed' in value)) return false;
  const { retryAfterMs } = value as { retryAfterMs?: unknown };
  return retryAfterMs === undefined || (typeof retryAfterMs === 'number' && retryAfterMs >= 0);
}

function notAnOutcome(value: unknown): InvalidOutcomeError {
  return new InvalidOutcomeError(
    `publish returned ${describeValue(value)} for a message; ` +
      `return 'published', 'skipped' or { failed: error, retryAfterMs? }`,
  );
}
