import { abortable } from '@quorate/runtime';
import {
  type Capabilities,
  describeFrame,
  type DownReason,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type NodeId,
  type SendOutcome,
  TransportError,
} from '@quorate/transport';
import type { Owner } from './core/clockwork.js';
import type { Network, NetworkFaults } from './network.js';

/** The link of one life of a node. Its fault model is that of the network. */
export class SimLink implements Link {
  readonly capabilities: Capabilities;
  readonly lanes = new Map<NodeId, Lane>();
  events: LinkEvents | undefined;
  closed = false;

  constructor(
    readonly network: Network,
    readonly self: NodeId,
    readonly owner: Owner,
  ) {
    this.capabilities = network.capabilities;
  }

  get open(): boolean {
    return this.events !== undefined && !this.closed && this.owner.alive;
  }

  start(events: LinkEvents): Promise<void> {
    if (!this.closed) {
      this.events = events;
      for (const other of this.network.links.values()) {
        if (other !== this) this.network.connectLater(this.self, other.self);
      }
    }
    return Promise.resolve();
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    if (!this.open) return 'dropped-closed';
    const lane = this.lanes.get(to);
    if (lane !== undefined) return lane.send(frame);
    return to !== this.self && this.network.links.has(to) ? 'dropped-down' : 'dropped-unknown';
  }

  peers(): readonly LinkPeer[] {
    return [...this.network.links.keys()]
      .filter((id) => id !== this.self)
      .map((id) => {
        const lane = this.lanes.get(id);
        return { id, session: lane?.session, queuedBytes: lane?.queuedBytes ?? 0 };
      });
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const lane = this.lanes.get(to);
    while (lane !== undefined && !lane.ended && !lane.hasRoom) await abortable(lane.progress(), signal);
    if (lane === undefined || lane.ended) {
      throw new TransportError('PEER_DOWN', `no session with ${JSON.stringify(to)}`, {
        definite: true,
        peer: to,
      });
    }
  }

  async close(drainMs: number): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { clockwork } = this.network;
    if (drainMs > 0 && [...this.lanes.values()].some((lane) => lane.queuedBytes > 0)) {
      const over = new Promise<void>((resolve) => {
        clockwork.schedule(drainMs, this.owner, 'drain', this.self, drainMs, resolve);
      });
      const drained = Promise.all(
        [...this.lanes.values()].map(async (lane) => {
          while (lane.queuedBytes > 0 && !lane.ended) await lane.progress();
        }),
      );
      await Promise.race([over, drained]);
    }
    for (const lane of [...this.lanes.values()]) lane.end(undefined, 'closed');
  }
}

interface Held {
  readonly bytes: Uint8Array;
  readonly channel: string | undefined;
  readonly faults: NetworkFaults;
}

/** One direction of a session. */
export class Lane {
  opposite: Lane | undefined;
  ended = false;
  queuedBytes = 0;
  /** When the latest frame arrives: in a stream none overtakes it. */
  #lastAt = 0;
  #held: Held[] = [];
  #refusedBytes = 0;
  #waiting: (() => void)[] = [];
  /** The channels of requests that were not answered, while channels matter. */
  readonly #asked = new Map<number, string>();
  readonly #name: string;

  constructor(
    readonly network: Network,
    readonly from: SimLink,
    readonly to: SimLink,
    readonly session: number,
  ) {
    this.#name = `${from.self} ${to.self}`;
  }

  send(frame: Uint8Array): SendOutcome {
    const { network } = this;
    const [from, to] = [this.from.self, this.to.self];
    if (this.queuedBytes + frame.length > network.queueBytes) {
      this.#refusedBytes = Math.max(this.#refusedBytes, frame.length);
      return 'dropped-full';
    }
    const channel = network.readsChannels ? this.#channelOf(frame) : undefined;
    const faults = network.faultsOf(from, to, channel);
    if (network.swallows(faults, from, to, channel, frame)) {
      network.counts.lost++;
      return 'queued';
    }
    const copies = network.repeats(faults) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const bytes = frame.slice();
      this.queuedBytes += bytes.length;
      if (network.holds(from, to, channel)) this.#held.push({ bytes, channel, faults });
      else this.#travel(bytes, faults);
    }
    return 'queued';
  }

  /** Whether the frames that were refused lately would be accepted now. */
  get hasRoom(): boolean {
    return this.queuedBytes + this.#refusedBytes <= this.network.queueBytes;
  }

  progress(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends what nothing holds back any more, in its order. */
  releaseHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const one of held) {
      if (this.network.holds(this.from.self, this.to.self, one.channel)) this.#held.push(one);
      else this.#travel(one.bytes, one.faults);
    }
  }

  end(here: DownReason | undefined, there: DownReason | undefined): void {
    if (this.ended) return;
    this.stop();
    this.opposite?.stop();
    const { network, from, to } = this;
    if (here !== undefined) network.tell(from, () => from.events?.down(to.self, here));
    if (there !== undefined) network.tell(to, () => to.events?.down(from.self, there));
    if (from.open && to.open) network.connectLater(from.self, to.self);
  }

  stop(): void {
    this.ended = true;
    this.network.counts.lost += this.#held.length;
    this.#held = [];
    this.queuedBytes = 0;
    if (this.from.lanes.get(this.to.self) === this) this.from.lanes.delete(this.to.self);
    this.#wake();
  }

  #channelOf(frame: Uint8Array): string | undefined {
    const described = describeFrame(frame);
    if (described === undefined) return undefined;
    const { kind, id, channel } = described;
    if (id === undefined) return channel;
    if (kind === 'request') {
      if (channel !== undefined) this.#asked.set(id, channel);
      return channel;
    }
    if (kind === 'cancel') return this.#asked.get(id);
    const { opposite } = this;
    if (opposite === undefined) return undefined;
    const asked = opposite.#asked.get(id);
    opposite.#asked.delete(id);
    return asked;
  }

  #travel(bytes: Uint8Array, faults: NetworkFaults): void {
    const { network } = this;
    const { clockwork } = network;
    let delayMs = network.delayMs(faults);
    if (network.stream) {
      this.#lastAt = Math.max(this.#lastAt, clockwork.nowMs + delayMs);
      delayMs = this.#lastAt - clockwork.nowMs;
    }
    clockwork.schedule(delayMs, this.to.owner, 'frame', this.#name, bytes.length, () => {
      if (this.ended || !this.to.open) {
        network.counts.lost++;
        return;
      }
      this.queuedBytes -= bytes.length;
      network.counts.delivered++;
      clockwork.trace.foldBytes(bytes);
      if (this.#waiting.length > 0) this.#wake();
      this.to.events?.frame(this.from.self, this.session, bytes);
    });
  }

  #wake(): void {
    if (this.queuedBytes === 0) this.#refusedBytes = 0;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
