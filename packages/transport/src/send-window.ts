import { abortable } from '@quorate/runtime';
import type { NodeId } from './contract.js';
import { TransportError } from './errors.js';
import { Progress } from './progress.js';

/**
 * The bytes that are on their way to one peer in one session, and their bound: what a link whose medium has no back
 * pressure needs for `send`, `writable` and `queuedBytes`.
 */
export class SendWindow {
  readonly #progress = new Progress();
  #queuedBytes = 0;
  /** The largest frame that was refused: waiting for any free byte would wake a sender only to refuse it again. */
  #refusedBytes = 0;
  #ended = false;

  constructor(
    readonly peer: NodeId,
    /** At least as much as the largest frame has. */
    readonly limitBytes: number,
  ) {}

  /** One without a session: nobody can wait for it. */
  static ended(peer: NodeId): SendWindow {
    const window = new SendWindow(peer, 0);
    window.end();
    return window;
  }

  /** Bytes that were taken in and not yet out. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Takes in a frame of so many bytes, unless that exceeds the bound. */
  add(bytes: number): 'queued' | 'dropped-full' {
    if (this.#queuedBytes + bytes > this.limitBytes) {
      this.#refusedBytes = Math.max(this.#refusedBytes, bytes);
      return 'dropped-full';
    }
    this.#queuedBytes += bytes;
    return 'queued';
  }

  /** So many bytes are out. False, and nothing is changed, if there were not so many: the peer that says so lies. */
  remove(bytes: number): boolean {
    if (bytes > this.#queuedBytes) return false;
    this.#queuedBytes -= bytes;
    if (this.#queuedBytes === 0) this.#refusedBytes = 0;
    this.#progress.made();
    return true;
  }

  /** The session is over. Who waits is told. */
  end(): void {
    this.#ended = true;
    this.#queuedBytes = 0;
    this.#progress.made();
  }

  /** Resolves at the next `remove` or `end`. */
  changed(): Promise<void> {
    return this.#progress.next();
  }

  /**
   * Resolves when the largest frame that was refused would be accepted. Rejects with `PEER_DOWN` when the session is over,
   * or with the reason of `signal`.
   */
  async writable(signal?: AbortSignal): Promise<void> {
    while (!this.#ended && this.#queuedBytes + this.#refusedBytes > this.limitBytes)
      await abortable(this.changed(), signal);
    if (!this.#ended) return;
    throw new TransportError('PEER_DOWN', `no session with ${JSON.stringify(this.peer)}`, {
      definite: true,
      peer: this.peer,
    });
  }
}
