import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';

/*
 * An ordered session over a medium that may lose, repeat and reorder. Each side has an epoch, a number that it never
 * uses twice and that only grows; a session is a pair of epochs, and every packet carries both, so that a packet of an
 * earlier session is known for what it is. A side that cannot go on (a frame is missing for too long) takes a new
 * epoch, which ends the session for both.
 *
 *   u8 version 1, u8 type, u64 epoch of the sender, u64 epoch of the receiver as the sender knows it (0: not yet),
 *   u64 number; then, in data, the frame
 *
 *   hello   the number is that of the sender's next frame: it shows a loss at the tail
 *   data    the number is that of the frame, from 0
 */

const VERSION = 1;
const HELLO = 1;
const DATA = 2;

/** How many bytes a packet takes besides its frame. */
export const FIFO_OVERHEAD = 26;

/** What has to be done, in this order. */
export type FifoEffect =
  | { readonly type: 'send'; readonly packet: Uint8Array }
  | { readonly type: 'up' }
  | { readonly type: 'down' }
  | { readonly type: 'deliver'; readonly frame: Uint8Array };

/** How much disorder a session bears. */
export interface FifoBounds {
  /** Milliseconds for which a missing frame is waited for. */
  readonly gapMs: number;
  /** Milliseconds between two hellos. */
  readonly helloMs: number;
  /** Bytes that may wait for a missing frame. */
  readonly windowBytes: number;
}

/** One peer's session, as one side sees it. */
export class FifoSession {
  readonly #bounds: FifoBounds;
  #epoch: number;
  /** Zero while it is not known. */
  #remoteEpoch = 0;
  #established = false;
  #nextToSend = 0;
  #nextToDeliver = 0;
  /** Frames that came too early, by number. */
  readonly #early = new Map<number, Uint8Array>();
  #earlyBytes = 0;
  /** Since when a frame is missing. */
  #gapSinceMs: number | undefined;
  #lastHelloMs = Number.NEGATIVE_INFINITY;

  /** `epoch` is greater than zero and than every epoch that this node used towards the peer before. */
  constructor(epoch: number, bounds: FifoBounds) {
    this.#epoch = epoch;
    this.#bounds = bounds;
  }

  get established(): boolean {
    return this.#established;
  }

  /** The epoch at present: the next session object must be given a greater one. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The packet for the next frame. Call {@link FifoSession.sent} when the medium took it. */
  packet(frame: Uint8Array): Uint8Array {
    return this.#write(DATA, this.#nextToSend, frame);
  }

  sent(): void {
    this.#nextToSend++;
  }

  /** To be called every so often; also right after construction, to say hello. */
  tick(nowMs: number): FifoEffect[] {
    if (this.#gapSinceMs !== undefined && nowMs - this.#gapSinceMs >= this.#bounds.gapMs)
      return this.#reset(nowMs);
    return nowMs - this.#lastHelloMs >= this.#bounds.helloMs ? [this.#hello(nowMs)] : [];
  }

  /** Throws `MalformedBytesError` when the packet is none; nothing has changed then. */
  receive(packet: Uint8Array, nowMs: number): FifoEffect[] {
    const reader = new ByteReader(packet);
    if (reader.u8() !== VERSION) reader.fail('an unknown version', 0);
    const type = reader.u8();
    if (type !== HELLO && type !== DATA) reader.fail('an unknown type', 1);
    const from = reader.u64();
    const to = reader.u64();
    const number = reader.u64();
    if (type === HELLO) reader.end();
    // What was sent before the other side took its present epoch is of the past.
    if (from < this.#remoteEpoch) return [];
    const effects: FifoEffect[] = [];
    if (from > this.#remoteEpoch) {
      if (this.#established) effects.push(...this.#end());
      this.#remoteEpoch = from;
      if (to !== this.#epoch) effects.push(this.#hello(nowMs));
    }
    if (to !== this.#epoch) return effects;
    if (!this.#established) {
      this.#established = true;
      effects.push({ type: 'up' });
      // The other side may still wait for a packet that names its epoch.
      effects.push(this.#hello(nowMs));
    }
    if (type === DATA) effects.push(...this.#accept(number, reader.raw(reader.remaining), nowMs));
    else if (number > this.#nextToDeliver) this.#gapSinceMs ??= nowMs;
    return effects;
  }

  #accept(number: number, frame: Uint8Array, nowMs: number): FifoEffect[] {
    if (number < this.#nextToDeliver || this.#early.has(number)) return [];
    if (number > this.#nextToDeliver) {
      this.#early.set(number, frame);
      this.#earlyBytes += frame.length + FIFO_OVERHEAD;
      this.#gapSinceMs ??= nowMs;
      return this.#earlyBytes > this.#bounds.windowBytes ? this.#reset(nowMs) : [];
    }
    const effects: FifoEffect[] = [];
    for (
      let next: Uint8Array | undefined = frame;
      next !== undefined;
      next = this.#early.get(this.#nextToDeliver)
    ) {
      if (this.#early.delete(this.#nextToDeliver)) this.#earlyBytes -= next.length + FIFO_OVERHEAD;
      this.#nextToDeliver++;
      effects.push({ type: 'deliver', frame: next });
    }
    // If something is missing still, it is another frame, and it gets the time that each gets.
    this.#gapSinceMs = this.#early.size > 0 ? nowMs : undefined;
    return effects;
  }

  /** Gives the session up and offers the next one. */
  #reset(nowMs: number): FifoEffect[] {
    const effects = this.#end();
    this.#epoch++;
    return [...effects, this.#hello(nowMs)];
  }

  #end(): FifoEffect[] {
    this.#established = false;
    this.#nextToSend = this.#nextToDeliver = this.#earlyBytes = 0;
    this.#early.clear();
    this.#gapSinceMs = undefined;
    return [{ type: 'down' }];
  }

  #hello(nowMs: number): FifoEffect {
    this.#lastHelloMs = nowMs;
    return { type: 'send', packet: this.#write(HELLO, this.#nextToSend, new Uint8Array(0)) };
  }

  #write(type: number, number: number, frame: Uint8Array): Uint8Array {
    return new ByteWriter(FIFO_OVERHEAD + frame.length)
      .u8(VERSION)
      .u8(type)
      .u64(this.#epoch)
      .u64(this.#remoteEpoch)
      .u64(number)
      .raw(frame)
      .finish();
  }
}
