import { type Channel, channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { InvalidOptionError } from './errors.js';

/**
 * A typed event channel on `node:diagnostics_channel`, so that any tool of the process can listen without the
 * package knowing it. A thrown error of a subscriber becomes an uncaught exception, as Node defines; it does
 * not reach the publisher.
 */
export interface EventChannel<T> {
  /** `quorate:<package>:<event>`. */
  readonly name: string;
  /** Whether anybody listens. Guard the making of a message with it: `if (sent.active) sent.publish({ ... })`. */
  readonly active: boolean;
  /** Hands `message` to the subscribers, synchronously. */
  publish(message: T): void;
  /** Listens until the returned function is called. */
  subscribe(listen: (message: T) => void): () => void;
}

const SEGMENT = /^[a-z][a-z0-9-]*$/;

/** The channel `quorate:<packageName>:<event>`. Channels of one name are one channel, across copies of a package. */
export function eventChannel<T>(packageName: string, event: string): EventChannel<T> {
  for (const [option, value] of [
    ['packageName', packageName],
    ['event', event],
  ] as const) {
    if (!SEGMENT.test(value))
      throw new InvalidOptionError(option, value, 'lower-case letters, digits and dashes');
  }
  return new DiagnosticsEventChannel<T>(`quorate:${packageName}:${event}`);
}

class DiagnosticsEventChannel<T> implements EventChannel<T> {
  readonly name: string;
  readonly #channel: Channel;

  constructor(name: string) {
    this.name = name;
    this.#channel = channel(name);
  }

  get active(): boolean {
    return this.#channel.hasSubscribers;
  }

  publish(message: T): void {
    this.#channel.publish(message);
  }

  subscribe(listen: (message: T) => void): () => void {
    const listener = (message: unknown): void => {
      listen(message as T);
    };
    subscribe(this.name, listener);
    return () => {
      unsubscribe(this.name, listener);
    };
  }
}
