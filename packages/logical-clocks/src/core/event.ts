import { integerOption, InvalidOptionError } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { Hlc } from './hlc.js';
import { hlcOption } from './hlc.js';
import { readHlc, writeHlc } from './hlc-codec.js';
import { header, nodeOption, readHeader, readNode } from './node.js';
import { type Dot, VersionVector } from './version-vector.js';

/** An event that carries its causes. */
export interface CausalEvent<T> {
  /** The event's name: the `counter`-th event of `node`. */
  readonly dot: Dot;
  /** All events that happened before this one: what its node had delivered or emitted, and nothing else. */
  readonly causes: VersionVector;
  /** When it happened; orders concurrent events for people and for last-writer-wins. */
  readonly hlc: Hlc;
  /** What happened. */
  readonly payload: T;
}

/** Whether event a is among the causes of event b. */
export function happenedBefore(a: CausalEvent<unknown>, b: CausalEvent<unknown>): boolean {
  return b.causes.covers(a.dot);
}

/** Returns `event` if it can be one, else throws InvalidOptionError. */
export function eventOption<T>(option: string, event: CausalEvent<T>): CausalEvent<T> {
  const { node, counter } = event.dot;
  nodeOption(`${option}.dot.node`, node);
  integerOption(`${option}.dot.counter`, counter, { min: 1 });
  hlcOption(`${option}.hlc`, event.hlc);
  if (event.causes.get(node) !== counter - 1) {
    throw new InvalidOptionError(
      `${option}.causes`,
      event.causes.toString(),
      `a vector with ${node} at ${String(counter - 1)}: all earlier events of a node are causes, later ones cannot be`,
    );
  }
  return event;
}

/** Bytes that {@link decodeEvent} reads. */
export function encodeEvent<T>(event: CausalEvent<T>, encodePayload: (payload: T) => Uint8Array): Uint8Array {
  eventOption('event', event);
  const writer = new ByteWriter(128).raw(header('event'));
  writer.string(event.dot.node).varint(event.dot.counter);
  event.causes.write(writer);
  writeHlc(writer, event.hlc);
  return writer.bytes(encodePayload(event.payload)).finish();
}

/**
 * Reads what {@link encodeEvent} wrote.
 * @throws MalformedBytesError for anything else; what `decodePayload` throws is passed on
 */
export function decodeEvent<T>(
  bytes: Uint8Array,
  decodePayload: (bytes: Uint8Array) => T,
  options: {
    /**
     * The most bytes of the payload.
     * @defaultValue 16 MiB
     */
    readonly maxPayloadBytes?: number;
  } = {},
): CausalEvent<T> {
  const maxPayloadBytes = integerOption('maxPayloadBytes', options.maxPayloadBytes ?? 2 ** 24);
  const reader = new ByteReader(bytes);
  readHeader(reader, 'event');
  const start = reader.offset;
  const node = readNode(reader);
  const counter = reader.varint();
  const causes = VersionVector.read(reader);
  if (counter === 0 || causes.get(node) !== counter - 1)
    reader.fail('causes that do not end right before the event', start);
  const hlc = readHlc(reader);
  const payload = reader.bytes(maxPayloadBytes).slice();
  reader.end();
  return { dot: { node, counter }, causes, hlc, payload: decodePayload(payload) };
}
