/*
 * The fault model of the network.
 *
 * Frames travel between any two nodes that are started. Each takes `minDelayMs` to `maxDelayMs`, and a share of them
 * (`straggle`) ten times as long. The network is of one of two kinds:
 *
 * - `stream`, like TCP: within a session nothing is lost, repeated or overtaken. A direction that is blocked or
 *   clogged holds back what is sent, and what was under way still arrives. A direction that stays blocked for
 *   `sessionTimeoutMs` ends the session for both sides, and what was held back or under way is lost: the sender
 *   cannot know how much arrived. Once nothing is blocked, a new session begins.
 * - `datagram`, like UDP: frames are lost (`loss`), delivered twice (`duplicate`) and overtake each other. A blocked
 *   direction swallows what is sent; what was under way still arrives.
 *
 * A node that crashes ends its sessions; its peers learn so after one delay. What it had sent is under way until then,
 * and may arrive. Bytes are never altered: a transport's checksums are not tested here.
 */
import { abortable, choiceOption, identifierOption, integerOption, numberOption } from '@quorate/runtime';
import {
  type Capabilities,
  type DownReason,
  FRAME_OVERHEAD_BYTES,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type NodeId,
  type SendOutcome,
  TransportError,
  type Unsubscribe,
} from '@quorate/transport';
import type { Clockwork, Owner } from './core/clockwork.js';

/** How frames fare. Every member can be changed during a run with {@link SimNetwork.configure}. */
export interface NetworkFaults {
  /** Shortest time under way, in milliseconds. @defaultValue 0.2 */
  readonly minDelayMs: number;
  /** Longest ordinary time under way, in milliseconds. @defaultValue 2 */
  readonly maxDelayMs: number;
  /** Share of frames that take ten times as long, from 0 to 1. @defaultValue 0 */
  readonly straggle: number;
  /** Share of frames that are lost, from 0 to 1; `datagram` only. @defaultValue 0 */
  readonly loss: number;
  /** Share of frames that arrive twice, from 0 to 1; `datagram` only. @defaultValue 0 */
  readonly duplicate: number;
}

/** What a {@link SimNetwork} is made of. */
export interface NetworkOptions extends Partial<NetworkFaults> {
  /** @defaultValue 'stream' */
  readonly kind?: 'stream' | 'datagram';
  /** Milliseconds for which a direction is blocked before a stream's session ends. @defaultValue 1_000 */
  readonly sessionTimeoutMs?: number;
  /** Largest body of one message, in bytes. @defaultValue 1_048_576 */
  readonly maxPayload?: number;
  /** Bytes that may be under way from one node to another before `dropped-full`. @defaultValue 16_777_216 */
  readonly queueBytes?: number;
}

/** The network of one simulation, and the ways to disturb it. */
export interface SimNetwork {
  /** The faults as they are now. */
  readonly faults: NetworkFaults;
  /** Changes some of the faults, for frames sent from now on. */
  configure(faults: Partial<NetworkFaults>): void;
  /** Blocks one direction. Blocks count: it is open again when each one was undone by the function returned. */
  block(from: NodeId, to: NodeId): Unsubscribe;
  /** Blocks both directions between every two nodes of different groups. */
  partition(groups: readonly (readonly NodeId[])[]): Unsubscribe;
  /** Swallows the frames for which `lost` holds, such as those of one channel. */
  loseWhen(lost: (from: NodeId, to: NodeId, frame: Uint8Array) => boolean): Unsubscribe;
  /** Undoes every block and every loss. */
  heal(): void;
  /** Frames delivered and frames lost so far. */
  readonly counts: { readonly delivered: number; readonly lost: number };
}

/** Options of a network, checked. */
function checkFaults(faults: NetworkFaults): NetworkFaults {
  numberOption('minDelayMs', faults.minDelayMs);
  numberOption('maxDelayMs', faults.maxDelayMs, { min: faults.minDelayMs });
  for (const name of ['straggle', 'loss', 'duplicate'] as const) numberOption(name, faults[name], { max: 1 });
  return faults;
}

const STRAGGLER = 10;

export class Network implements SimNetwork {
  readonly links = new Map<NodeId, SimLink>();
  readonly counts = { delivered: 0, lost: 0 };
  readonly stream: boolean;
  readonly queueBytes: number;
  readonly capabilities: Capabilities;
  readonly #sessionTimeoutMs: number;
  #faults: NetworkFaults;
  #sessions = 0;
  readonly #blocks = new Map<string, number>();
  readonly #filters = new Set<(from: NodeId, to: NodeId, frame: Uint8Array) => boolean>();
  /** Blocks made before the last healing are undone already. */
  #healings = 0;

  constructor(
    readonly clockwork: Clockwork,
    options: NetworkOptions,
  ) {
    this.#faults = checkFaults({
      minDelayMs: options.minDelayMs ?? 0.2,
      maxDelayMs: options.maxDelayMs ?? Math.max(2, options.minDelayMs ?? 0),
      straggle: options.straggle ?? 0,
      loss: options.loss ?? 0,
      duplicate: options.duplicate ?? 0,
    });
    this.stream = choiceOption('kind', options.kind ?? 'stream', ['stream', 'datagram']) === 'stream';
    this.#sessionTimeoutMs = numberOption('sessionTimeoutMs', options.sessionTimeoutMs ?? 1_000);
    const maxPayload = integerOption('maxPayload', options.maxPayload ?? 1024 * 1024, { min: 1 });
    const maxFrame = maxPayload + FRAME_OVERHEAD_BYTES;
    this.queueBytes = integerOption(
      'queueBytes',
      options.queueBytes ?? Math.max(16 * 1024 * 1024, maxFrame),
      {
        min: maxFrame,
      },
    );
    this.capabilities = Object.freeze({
      maxPayload,
      ordering: this.stream ? 'fifo-per-session' : 'none',
      duplicates: this.stream ? 'never' : 'possible',
      multicast: 'fan-out',
      peerEvents: 'connection',
      identity: 'process',
    });
  }

  get faults(): NetworkFaults {
    return this.#faults;
  }

  configure(faults: Partial<NetworkFaults>): void {
    this.#faults = checkFaults({ ...this.#faults, ...faults });
  }

  block(from: NodeId, to: NodeId): Unsubscribe {
    const way = `${from}\n${to}`;
    this.#blocks.set(way, (this.#blocks.get(way) ?? 0) + 1);
    if (this.stream) this.#endIfBlockedFor(from, to);
    const healing = this.#healings;
    let undone = false;
    return () => {
      if (undone || healing !== this.#healings) return;
      undone = true;
      const left = (this.#blocks.get(way) ?? 1) - 1;
      if (left > 0) this.#blocks.set(way, left);
      else {
        this.#blocks.delete(way);
        this.#opened(from, to);
      }
    };
  }

  partition(groups: readonly (readonly NodeId[])[]): Unsubscribe {
    const undo: Unsubscribe[] = [];
    for (const group of groups) {
      for (const other of groups) {
        if (group === other) continue;
        for (const from of group) for (const to of other) undo.push(this.block(from, to));
      }
    }
    return () => {
      for (const one of undo) one();
    };
  }

  loseWhen(lost: (from: NodeId, to: NodeId, frame: Uint8Array) => boolean): Unsubscribe {
    this.#filters.add(lost);
    return () => void this.#filters.delete(lost);
  }

  heal(): void {
    this.#healings++;
    this.#filters.clear();
    const ways = [...this.#blocks.keys()];
    this.#blocks.clear();
    this.configure({ straggle: 0, loss: 0, duplicate: 0 });
    for (const way of ways) {
      const [from = '', to = ''] = way.split('\n');
      this.#opened(from, to);
    }
  }

  isBlocked(from: NodeId, to: NodeId): boolean {
    return this.#blocks.size > 0 && this.#blocks.has(`${from}\n${to}`);
  }

  swallows(from: NodeId, to: NodeId, frame: Uint8Array): boolean {
    for (const lost of this.#filters) if (lost(from, to, frame)) return true;
    return (
      !this.stream &&
      (this.isBlocked(from, to) || (this.#faults.loss > 0 && this.clockwork.random() < this.#faults.loss))
    );
  }

  delayMs(): number {
    const { minDelayMs, maxDelayMs, straggle } = this.#faults;
    const delay = minDelayMs + this.clockwork.random() * (maxDelayMs - minDelayMs);
    return straggle > 0 && this.clockwork.random() < straggle ? delay * STRAGGLER : delay;
  }

  repeats(): boolean {
    return !this.stream && this.#faults.duplicate > 0 && this.clockwork.random() < this.#faults.duplicate;
  }

  link(id: NodeId, owner: Owner): SimLink {
    identifierOption('id', id);
    const link = new SimLink(this, id, owner);
    const earlier = this.links.get(id);
    if (earlier !== undefined) for (const lane of [...earlier.lanes.values()]) lane.end('error', 'error');
    this.links.set(id, link);
    return link;
  }

  /** The node's process is gone: its peers learn so after a delay. */
  crashed(link: SimLink): void {
    link.closed = true;
    for (const lane of link.lanes.values()) {
      const name = `${link.self} ${lane.to.self}`;
      this.clockwork.schedule(this.delayMs(), undefined, 'reset', name, 0, () =>
        lane.end(undefined, 'error'),
      );
    }
  }

  connect(one: SimLink, other: SimLink): void {
    if (one === other || !one.open || !other.open || one.lanes.has(other.self)) return;
    if (this.stream && (this.isBlocked(one.self, other.self) || this.isBlocked(other.self, one.self))) return;
    const session = ++this.#sessions;
    const there = new Lane(this, one, other, session);
    const back = new Lane(this, other, one, session);
    there.opposite = back;
    back.opposite = there;
    one.lanes.set(other.self, there);
    other.lanes.set(one.self, back);
    this.tell(one, () => {
      if (!there.ended) one.events?.up(other.self, session);
    });
    this.tell(other, () => {
      if (!back.ended) other.events?.up(one.self, session);
    });
  }

  /** Connects the two after a delay, if nothing is in the way then. */
  connectLater(a: NodeId, b: NodeId): void {
    this.clockwork.schedule(this.delayMs(), undefined, 'connect', `${a} ${b}`, 0, () => {
      const [one, other] = [this.links.get(a), this.links.get(b)];
      if (one !== undefined && other !== undefined) this.connect(one, other);
    });
  }

  /** Calls a listener of a link, or once its process is no longer paused. */
  tell(link: SimLink, run: () => void): void {
    if (link.owner.paused) this.clockwork.schedule(0, link.owner, 'session', link.self, 0, run);
    else if (link.owner.alive) run();
  }

  #opened(from: NodeId, to: NodeId): void {
    const lane = this.links.get(from)?.lanes.get(to);
    if (lane === undefined) this.connectLater(from, to);
    else lane.releaseHeld();
  }

  #endIfBlockedFor(from: NodeId, to: NodeId): void {
    const session = this.links.get(from)?.lanes.get(to)?.session;
    if (session === undefined) return;
    this.clockwork.schedule(
      this.#sessionTimeoutMs,
      undefined,
      'session timeout',
      `${from} ${to}`,
      session,
      () => {
        const lane = this.links.get(from)?.lanes.get(to);
        if (lane?.session === session && this.isBlocked(from, to)) lane.end('timeout', 'timeout');
      },
    );
  }
}

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

/** One direction of a session. */
class Lane {
  opposite: Lane | undefined;
  ended = false;
  queuedBytes = 0;
  /** When the latest frame arrives: in a stream none overtakes it. */
  #lastAt = 0;
  #held: Uint8Array[] = [];
  #refusedBytes = 0;
  #waiting: (() => void)[] = [];
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
    if (this.queuedBytes + frame.length > network.queueBytes) {
      this.#refusedBytes = Math.max(this.#refusedBytes, frame.length);
      return 'dropped-full';
    }
    if (network.swallows(this.from.self, this.to.self, frame)) {
      network.counts.lost++;
      return 'queued';
    }
    const copies = network.repeats() ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const bytes = frame.slice();
      this.queuedBytes += bytes.length;
      if (network.stream && (this.#held.length > 0 || network.isBlocked(this.from.self, this.to.self))) {
        this.#held.push(bytes);
      } else this.#travel(bytes);
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

  releaseHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const bytes of held) this.#travel(bytes);
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

  #travel(bytes: Uint8Array): void {
    const { network } = this;
    const { clockwork } = network;
    let delayMs = network.delayMs();
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
