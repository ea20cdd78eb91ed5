import { createHash } from 'node:crypto';
import { describeValue, identifierOption, InvalidOptionError, type Runtime } from '@quorate/runtime';
import { InvalidMessageError } from './errors.js';

/** Topics and the payloads that they carry; `Record<string, unknown>` where nothing is known about them. */
export type Topics = Record<string, unknown>;

/** A message to publish. */
export type OutgoingMessage<T extends object = Topics> = {
  [K in keyof T & string]: {
    /** What happened, such as `order.confirmed`. 1 to 255 bytes. */
    readonly topic: K;
    /**
     * Messages of one topic and key are delivered in the order of their commits. 1 to 255 bytes.
     * @defaultValue the message's id: it is in order with nothing else, and takes no lock
     */
    readonly key?: string | undefined;
    /** Anything that `JSON.stringify` can write. */
    readonly payload: T[K];
    /** Small strings beside the payload, such as a `traceparent`. */
    readonly headers?: Readonly<Record<string, string>> | undefined;
    /**
     * Identifies the message for ever: an inbox lets each id take effect once. 1 to 255 bytes.
     * @defaultValue a UUID of version 7
     */
    readonly id?: string | undefined;
  };
}[keyof T & string];

/** A message of one topic, on its way to the publisher. */
export interface TopicMessage<K extends string, P> {
  readonly id: string;
  readonly topic: K;
  readonly key: string;
  readonly payload: P;
  readonly headers: Readonly<Record<string, string>>;
  /** When it was published: milliseconds since the Unix epoch by the database's clock. */
  readonly createdAt: number;
  /** How often it was tried and failed. */
  readonly attempts: number;
  /** `key`'s share of the work: its hash modulo the number of partitions. */
  readonly partition: number;
  /** Its place in the partition; rises with every message of a key. */
  readonly seq: number;
}

/** A message on its way to the publisher: comparing its `topic` tells what its `payload` is. */
export type Message<T extends object = Topics> = {
  [K in keyof T & string]: TopicMessage<K, T[K]>;
}[keyof T & string];

/** The bounds of what may be published, in bytes of JSON. */
export interface MessageBounds {
  readonly maxPayloadBytes: number;
  readonly maxHeaderBytes: number;
}

/** A message as the table holds it. */
export interface MessageRow {
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly keyHash: number;
  /** Whether other messages may have the same key, so that its order has to be kept. */
  readonly ordered: boolean;
  readonly payload: string;
  readonly headers: string;
}

/** Checks a message and writes it as the table holds it. Throws what the caller has to mend; `at` names the message. */
export function toRow(
  message: OutgoingMessage,
  at: string,
  runtime: Pick<Runtime, 'now' | 'randomBytes'>,
  bounds: MessageBounds,
): MessageRow {
  if (typeof message !== 'object' || (message as unknown) === null)
    throw new InvalidOptionError(at, message, 'a message: { topic, payload, key?, headers?, id? }');
  const topic = identifierOption(`${at}.topic`, message.topic);
  const id = message.id === undefined ? uuid7(runtime) : identifierOption(`${at}.id`, message.id);
  const key = message.key === undefined ? id : identifierOption(`${at}.key`, message.key);
  const payload = toJson(`${at}.payload`, message.payload, bounds.maxPayloadBytes);
  const headers = toJson(
    `${at}.headers`,
    checkHeaders(`${at}.headers`, message.headers ?? {}),
    bounds.maxHeaderBytes,
  );
  return { id, topic, key, keyHash: hashKey(key), ordered: message.key !== undefined, payload, headers };
}

/**
 * The first four bytes of SHA-256 of the key, as PostgreSQL's `integer`: every language has it, and no version of
 * the database changes it.
 */
export function hashKey(key: string): number {
  return createHash('sha256').update(key).digest().readInt32BE(0);
}

function checkHeaders(option: string, headers: unknown): Readonly<Record<string, string>> {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    throw new InvalidOptionError(option, headers, 'an object of strings');
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string')
      throw new InvalidOptionError(`${option}[${JSON.stringify(name)}]`, value, 'a string');
  }
  return headers as Record<string, string>;
}

/** What JSON cannot hold, such as a function, becomes undefined, which the declaration of `stringify` omits. */
const encode: (value: unknown) => string | undefined = JSON.stringify;

function toJson(at: string, value: unknown, maxBytes: number): string {
  let json: string | undefined;
  try {
    json = encode(value);
  } catch (cause) {
    throw new InvalidMessageError(
      'PAYLOAD_NOT_JSON',
      `${at} cannot be written as JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  if (json === undefined)
    throw new InvalidMessageError(
      'PAYLOAD_NOT_JSON',
      `${at} cannot be written as JSON, got ${describeValue(value)}; null stands for nothing`,
    );
  const bytes = Buffer.byteLength(json);
  if (bytes > maxBytes)
    throw new InvalidMessageError(
      'MESSAGE_TOO_LARGE',
      `${at} takes ${String(bytes)} bytes of JSON, at most ${String(maxBytes)} are allowed; ` +
        'store it elsewhere and publish where it is',
    );
  return json;
}

/** RFC 9562, section 5.7: 48 bits of milliseconds, then chance. Rising ids keep indexes of consumers compact. */
function uuid7(runtime: Pick<Runtime, 'now' | 'randomBytes'>): string {
  const bytes = Buffer.from(runtime.randomBytes(16));
  bytes.writeUIntBE(Math.max(0, runtime.now()), 0, 6);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
