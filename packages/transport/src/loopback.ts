import type { SendOutcome } from './contract.js';

/** Delivers a node's frames to itself, later in the same turn of the event loop and in order. */
export class Loopback {
  readonly #deliver: (frame: Uint8Array) => void;
  readonly #maxBytes: number;
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #flushed: Promise<void> | undefined;

  constructor(maxBytes: number, deliver: (frame: Uint8Array) => void) {
    this.#maxBytes = maxBytes;
    this.#deliver = deliver;
  }

  send(frame: Uint8Array): SendOutcome {
    if (this.#bytes > 0 && this.#bytes + frame.length > this.#maxBytes) return 'dropped-full';
    this.#bytes += frame.length;
    this.#frames.push(new Uint8Array(frame));
    this.#flushed ??= Promise.resolve().then(() => {
      this.#flush();
    });
    return 'queued';
  }

  /** Resolves when nothing is queued: then a frame of any size is accepted. */
  async writable(): Promise<void> {
    while (this.#flushed !== undefined) await this.#flushed;
  }

  #flush(): void {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    this.#flushed = undefined;
    for (const frame of frames) this.#deliver(frame);
  }
}
