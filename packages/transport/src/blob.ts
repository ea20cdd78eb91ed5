import {
  abortable,
  deadline,
  DeadlineError,
  functionOption,
  integerOption,
  linkSignals,
  numberOption,
  type Runtime,
} from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { createHash } from 'node:crypto';
import type { Message, NodeId, Transport, Unsubscribe } from './contract.js';
import { TransportError } from './errors.js';

/** What a payload was, once it arrived in full. */
export interface BlobSummary {
  readonly bytes: number;
  /** The SHA-256 of the whole payload, in hexadecimal digits. Both sides computed it and agree. */
  readonly sha256: string;
}

/** How {@link sendBlob} sends. */
export interface SendBlobOptions {
  /**
   * The payload is cut into pieces of at most so many bytes.
   * @defaultValue 65_536, or what fits a message if that is less
   */
  readonly chunkBytes?: number;
  /**
   * How many pieces may be under way at a time.
   * @defaultValue 8
   */
  readonly window?: number;
  /** Each piece must be taken by the receiver within so many milliseconds. The whole may take any time. */
  readonly timeoutMs: number;
  /** Gives the transfer up; the receiver's chunks then end with an error. */
  readonly signal?: AbortSignal;
}

/** How {@link receiveBlobs} receives. */
export interface ReceiveBlobsOptions {
  /**
   * A sender from whom nothing was heard for so many milliseconds has failed.
   * @defaultValue 30_000
   */
  readonly idleTimeoutMs?: number;
  /**
   * How many payloads may be received at a time; a further one is refused.
   * @defaultValue 16
   */
  readonly maxConcurrent?: number;
  /**
   * How many pieces of one payload may wait for its consumer. A sender whose window is larger is refused.
   * @defaultValue 64
   */
  readonly maxWaitingChunks?: number;
}

/** A payload on its way in. */
export interface IncomingBlob {
  readonly from: NodeId;
  /**
   * The payload, piece by piece and in order. The sender is held back while nobody takes them. Iterating throws a
   * `TransportError` when the sender gives up, falls silent or goes down, or the hash does not fit: only a loop that
   * came to its end has seen the whole payload. Leaving the loop early refuses the rest.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Aborts when the transfer fails. */
  readonly signal: AbortSignal;
}

const VERSION = 1;
const CHUNK = 1;
const END = 2;
const ABORT = 3;
const ID_BYTES = 16;
const HASH_BYTES = 32;
/** Version, type, id and number. */
const HEADER_BYTES = 2 + ID_BYTES + 8;
const DEFAULT_CHUNK_BYTES = 64 * 1024;
/** So many ids of transfers that are over are remembered, so that a late piece does not begin one anew. */
const REMEMBERED_TRANSFERS = 1_024;
const NOTHING = new Uint8Array(0);

/**
 * Sends a payload of any size in pieces, at most `window` of which are under way and in memory at a time. Resolves
 * when the receiver has got all of it, has found the same hash, and its handler is done.
 *
 * Rejects with a `TransportError` when a piece is not taken in time, the receiver refuses, fails or goes down, or the
 * signal aborts; what `chunks` throws is thrown on. In each of these cases the receiver's chunks end with an error
 * too. Nothing is resumed and nothing is sent twice.
 */
export async function sendBlob(
  transport: Transport,
  to: NodeId,
  channel: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: SendBlobOptions,
): Promise<BlobSummary> {
  const most = transport.capabilities.maxPayload - HEADER_BYTES;
  const wanted = options.chunkBytes ?? Math.min(DEFAULT_CHUNK_BYTES, most);
  const chunkBytes = integerOption('chunkBytes', wanted, { min: 1, max: most });
  const window = integerOption('window', options.window ?? 8, { min: 1 });
  const timeoutMs = numberOption('timeoutMs', options.timeoutMs, { min: 1 });
  const id = transport.runtime.randomBytes(ID_BYTES);
  const hash = createHash('sha256');
  const stopped = linkSignals(options.signal);
  const underWay = new Set<Promise<void>>();
  let bytes = 0;
  let number = 0;

  const packet = (type: number, body: Uint8Array): Uint8Array =>
    new ByteWriter(HEADER_BYTES + body.length).u8(VERSION).u8(type).raw(id).u64(number).raw(body).finish();
  const put = async (type: number, body: Uint8Array): Promise<void> => {
    const whole = packet(type, body);
    number++;
    await askWhenWritable(transport, to, channel, whole, timeoutMs, stopped.signal);
  };
  const putOne = async (body: Uint8Array): Promise<void> => {
    while (underWay.size >= window) await Promise.race(underWay);
    stopped.signal.throwIfAborted();
    hash.update(body);
    bytes += body.length;
    const sent: Promise<void> = put(CHUNK, body)
      .catch((error: unknown) => stopped.abort(error))
      .finally(() => underWay.delete(sent));
    underWay.add(sent);
  };

  const source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  let exhausted = false;
  try {
    for (;;) {
      // A source that is slow must not hide that the transfer has failed.
      const next = await abortable(Promise.resolve(source.next()), stopped.signal);
      if (next.done === true) break;
      const chunk = next.value;
      for (let at = 0; at < chunk.length; at += chunkBytes) await putOne(chunk.subarray(at, at + chunkBytes));
    }
    exhausted = true;
    await Promise.all(underWay);
    stopped.signal.throwIfAborted();
    const digest = hash.digest();
    await put(END, new ByteWriter(8 + HASH_BYTES).u64(bytes).raw(digest).finish());
    return { bytes, sha256: digest.toString('hex') };
  } catch (error) {
    stopped.abort(error);
    transport.send(to, channel, packet(ABORT, NOTHING));
    if (!exhausted) void Promise.resolve(source.return?.()).catch(() => undefined);
    if (options.signal?.aborted !== true) throw error;
    throw new TransportError('ABORTED', `the payload for ${JSON.stringify(to)} was aborted`, {
      definite: false,
      peer: to,
      cause: options.signal.reason,
    });
  } finally {
    stopped[Symbol.dispose]();
  }
}

/** A request that waits for room in the queue, all within its time. */
async function askWhenWritable(
  transport: Transport,
  to: NodeId,
  channel: string,
  body: Uint8Array,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const limit = deadline(transport.runtime, timeoutMs, { signal, what: 'a piece of the payload' });
  try {
    for (;;) {
      try {
        await transport.request(to, channel, body, { timeoutMs: limit.remainingMs(), signal });
        return;
      } catch (error) {
        if (!(error instanceof TransportError) || error.code !== 'OVERLOADED') throw error;
        await transport.writable(to, limit.signal);
      }
    }
  } finally {
    limit[Symbol.dispose]();
  }
}

/**
 * Receives what {@link sendBlob} sends on a channel, until the returned function is called. `handle` is called for
 * each payload; the sender's promise resolves when the one of `handle` has. When `handle` fails, or returns before it
 * has taken every piece, the sender's promise rejects. At most the sender's window of pieces is in memory.
 *
 * Takes the place of the channel's handler: throws `ALREADY_HANDLED` when it has one.
 */
export function receiveBlobs(
  transport: Transport,
  channel: string,
  handle: (blob: IncomingBlob) => Promise<void>,
  options: ReceiveBlobsOptions = {},
): Unsubscribe {
  functionOption('handle', handle);
  const idleTimeoutMs = numberOption('idleTimeoutMs', options.idleTimeoutMs ?? 30_000, { min: 1 });
  const maxConcurrent = integerOption('maxConcurrent', options.maxConcurrent ?? 16, { min: 1 });
  const maxWaiting = integerOption('maxWaitingChunks', options.maxWaitingChunks ?? 64, { min: 1 });
  const transfers = new Map<string, Transfer>();
  const over = new Set<string>();

  const transferOf = (from: NodeId, key: string): Transfer => {
    const known = transfers.get(key);
    if (known !== undefined) return known;
    if (over.has(key)) throw new Error('this payload was given up');
    if (transfers.size >= maxConcurrent)
      throw new Error(`${String(maxConcurrent)} payloads are being received`);
    const transfer = new Transfer(from, transport.runtime, idleTimeoutMs, maxWaiting);
    transfers.set(key, transfer);
    void transfer.run(handle).finally(() => {
      transfers.delete(key);
      over.add(key);
      if (over.size <= REMEMBERED_TRANSFERS) return;
      for (const oldest of over) {
        over.delete(oldest);
        break;
      }
    });
    return transfer;
  };

  const ends = [
    transport.respond(channel, async (request) => {
      const { type, key, number, body } = readPacket(request);
      await transferOf(request.from, key).put(type, number, body, request.signal);
      return NOTHING;
    }),
    transport.subscribe(channel, (message) => {
      const { type, key } = readPacket(message);
      if (type === ABORT) transfers.get(key)?.fail('the sender gave up');
    }),
    transport.onPeer(({ type, peer }) => {
      if (type !== 'down') return;
      for (const transfer of transfers.values())
        if (transfer.from === peer) transfer.fail('the sender went down');
    }),
  ];
  return () => {
    for (const end of ends.splice(0)) end();
    for (const transfer of transfers.values()) transfer.fail('the receiver has ended');
  };
}

/** Throws `MalformedBytesError`. The key is of the sender and its id: no sender can touch the payload of another. */
function readPacket({ from, body }: Message): {
  type: number;
  key: string;
  number: number;
  body: Uint8Array;
} {
  const reader = new ByteReader(body);
  if (reader.u8() !== VERSION) reader.fail('an unknown version', 0);
  const type = reader.u8();
  if (type < CHUNK || type > ABORT) reader.fail('an unknown type', 1);
  const key = `${from}\n${Buffer.from(reader.raw(ID_BYTES)).toString('hex')}`;
  return { type, key, number: reader.u64(), body: reader.raw(reader.remaining) };
}

interface WaitingPiece {
  readonly type: number;
  readonly body: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** One payload on its way in. Its pieces wait, each with the request that brought it, until they are taken. */
class Transfer {
  readonly #waiting = new Map<number, WaitingPiece>();
  readonly #hash = createHash('sha256');
  readonly #failed = new AbortController();
  #next = 0;
  #bytes = 0;
  #arrived: (() => void) | undefined;
  /** The last piece, once its hash was found to be right. It is answered when the handler is done. */
  #end: WaitingPiece | undefined;

  constructor(
    readonly from: NodeId,
    readonly runtime: Runtime,
    readonly idleTimeoutMs: number,
    readonly maxWaiting: number,
  ) {}

  async run(handle: (blob: IncomingBlob) => Promise<void>): Promise<void> {
    try {
      await handle({ from: this.from, chunks: this.#chunks(), signal: this.#failed.signal });
      if (this.#end === undefined) this.fail('the receiver did not want the rest');
      else this.#end.resolve();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#end?.reject(new Error(text));
      this.fail(text);
    }
  }

  /** Resolves when the piece was taken. */
  put(type: number, number: number, body: Uint8Array, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const { aborted } = this.#failed.signal;
      if (aborted) throw this.#failed.signal.reason as Error;
      if (number < this.#next || this.#waiting.has(number))
        throw new Error(`piece ${String(number)} came twice`);
      if (number >= this.#next + this.maxWaiting) {
        throw new Error(
          `at most ${String(this.maxWaiting)} pieces may be under way: make the window smaller`,
        );
      }
      this.#waiting.set(number, { type, body, resolve, reject });
      signal.addEventListener('abort', () => this.fail('the sender gave up'), { once: true });
      this.#arrived?.();
    });
  }

  fail(why: string): void {
    if (this.#failed.signal.aborted) return;
    const error = new TransportError(
      'PEER_DOWN',
      `the payload from ${JSON.stringify(this.from)} is incomplete: ${why}`,
      {
        definite: false,
        peer: this.from,
      },
    );
    this.#failed.abort(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      while (this.#end === undefined) {
        const piece = await this.#take();
        if (piece.type === END) {
          this.#check(piece);
          this.#end = piece;
          return;
        }
        this.#bytes += piece.body.length;
        this.#hash.update(piece.body);
        piece.resolve();
        yield piece.body;
      }
    } finally {
      if (this.#end === undefined) this.fail('the receiver did not want the rest');
    }
  }

  async #take(): Promise<WaitingPiece> {
    for (;;) {
      this.#failed.signal.throwIfAborted();
      const piece = this.#waiting.get(this.#next);
      if (piece !== undefined) {
        this.#waiting.delete(this.#next++);
        return piece;
      }
      const arrival = new Promise<void>((resolve) => (this.#arrived = resolve));
      const idle = deadline(this.runtime, this.idleTimeoutMs, {
        signal: this.#failed.signal,
        what: 'the next piece',
      });
      try {
        await abortable(arrival, idle.signal);
      } catch (error) {
        if (error instanceof DeadlineError) this.fail(`nothing came for ${String(this.idleTimeoutMs)} ms`);
      } finally {
        idle[Symbol.dispose]();
      }
    }
  }

  #check(piece: WaitingPiece): void {
    const reader = new ByteReader(piece.body);
    const bytes = reader.u64();
    const digest = reader.raw(HASH_BYTES);
    reader.end();
    if (bytes === this.#bytes && Buffer.compare(this.#hash.digest(), digest) === 0) return;
    const error = new TransportError(
      'PROTOCOL',
      `the payload from ${JSON.stringify(this.from)} arrived changed`,
      {
        definite: false,
        peer: this.from,
      },
    );
    piece.reject(error);
    throw error;
  }
}
