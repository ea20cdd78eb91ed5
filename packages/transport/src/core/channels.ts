import { identifierOption, isIdentifier } from '@quorate/runtime';
import type { Message, RequestContext } from '../contract.js';
import { encodeName } from './envelope.js';

/** Answers the requests of a channel. */
export type Responder = (request: RequestContext) => Uint8Array | Promise<Uint8Array>;

/** A channel that this process sends to or listens on. */
export interface Channel {
  readonly name: string;
  /** The name behind its length in bytes. */
  readonly wire: Uint8Array;
  /** Replaced, never changed, so that a handler may unsubscribe while a message is handed out. */
  subscribers: readonly ((message: Message) => unknown)[];
  responder: Responder | undefined;
}

/** Channels without a handler are remembered, so that encoding a name is paid once, up to about this many. */
const MIN_DROP = 1024;

/** The channels of one transport, found by name when sending and by the bytes of the name when receiving. */
export class ChannelTable {
  readonly #byName = new Map<string, Channel>();
  /** By a hash of the name's bytes: finding a channel this way makes no string. */
  readonly #byHash = new Map<number, Channel[]>();
  #dropAt = MIN_DROP;

  /** The channel of that name. Throws `InvalidOptionError` when the name cannot travel. */
  named(name: string): Channel {
    return this.#byName.get(name) ?? this.#add(name);
  }

  /** The channel whose name is at `start` in `bytes`, if this process ever named it. */
  at(bytes: Uint8Array, start: number, end: number): Channel | undefined {
    const candidates = this.#byHash.get(hash(bytes, start, end));
    if (candidates === undefined) return undefined;
    for (const channel of candidates) {
      if (equals(channel.wire, bytes, start, end)) return channel;
    }
    return undefined;
  }

  #add(name: string): Channel {
    identifierOption('channel', name);
    if (this.#byName.size >= this.#dropAt) this.#dropIdle();
    const channel: Channel = { name, wire: encodeName(name), subscribers: [], responder: undefined };
    this.#byName.set(name, channel);
    this.#index(channel);
    return channel;
  }

  #index(channel: Channel): void {
    const key = hash(channel.wire, 1, channel.wire.length);
    const others = this.#byHash.get(key);
    if (others === undefined) this.#byHash.set(key, [channel]);
    else others.push(channel);
  }

  #dropIdle(): void {
    this.#byHash.clear();
    for (const [name, channel] of this.#byName) {
      if (channel.responder === undefined && channel.subscribers.length === 0) this.#byName.delete(name);
      else this.#index(channel);
    }
    this.#dropAt = Math.max(MIN_DROP, 2 * this.#byName.size);
  }
}

/** The name at `start` in `bytes` for a message to a human; `undefined` when it is not one that could be sent. */
export function decodeName(bytes: Uint8Array, start: number, end: number): string | undefined {
  try {
    const name = decoder.decode(bytes.subarray(start, end));
    return isIdentifier(name) ? name : undefined;
  } catch {
    return undefined;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** FNV-1a. Names come from peers, but only names that this process uses are in the table. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let at = start; at < end; at++) value = Math.imul(value ^ (bytes[at] ?? 0), 0x01000193);
  return value;
}

function equals(wire: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (wire.length !== length + 1) return false;
  for (let index = 0; index < length; index++) {
    if (wire[index + 1] !== bytes[start + index]) return false;
  }
  return true;
}
