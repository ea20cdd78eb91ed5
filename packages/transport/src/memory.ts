import {
  abortable,
  deadline,
  identifierOption,
  integerOption,
  numberOption,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import {
  type Capabilities,
  type DownReason,
  FRAME_OVERHEAD_BYTES,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type NodeId,
  type SendOutcome,
} from './contract.js';
import { TransportError } from './errors.js';
import { SendWindow } from './send-window.js';

/** How a {@link MemoryNetwork} behaves. */
export interface MemoryNetworkOptions {
  /**
   * Clock and timers.
   * @defaultValue systemRuntime
   */
  readonly runtime?: Runtime;
  /**
   * How long each frame is under way, in milliseconds. With zero a frame arrives later in the same turn of the event
   * loop, and no timer is used.
   * @defaultValue 0
   */
  readonly latencyMs?: number;
  /**
   * The largest body of one message, in bytes.
   * @defaultValue 1_048_576
   */
  readonly maxPayload?: number;
  /**
   * How many bytes may be under way from one node to another; a frame beyond that is `dropped-full`.
   * @defaultValue 16_777_216
   */
  readonly queueBytes?: number;
}

/**
 * Nodes within one process, connected each to each: for tests, for services that live in one process, and as the
 * plainest example of a {@link Link}. With a virtual runtime every run of the same calls is the same.
 */
export interface MemoryNetwork {
  /** The link of one node. A name can be taken again once its link was closed: a restarted node. */
  link(id: NodeId): Link;
  /** Ends the session between two nodes: both see `down`, what is under way is lost, and no session begins. */
  sever(a: NodeId, b: NodeId): void;
  /** Lets the two nodes have a session again; both see `up` at once if they are there. */
  restore(a: NodeId, b: NodeId): void;
  /** Delivers nothing to this node until {@link MemoryNetwork.resume}; the queues to it fill up. */
  stall(id: NodeId): void;
  /** Ends {@link MemoryNetwork.stall}. */
  resume(id: NodeId): void;
}

/** A network without nodes. Throws `InvalidOptionError` for an option that cannot be honoured. */
export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const { runtime = systemRuntime } = options;
  const latencyMs = numberOption('latencyMs', options.latencyMs ?? 0);
  const maxPayload = integerOption('maxPayload', options.maxPayload ?? 1024 * 1024, { min: 1 });
  const maxFrame = maxPayload + FRAME_OVERHEAD_BYTES;
  const queueBytes = integerOption('queueBytes', options.queueBytes ?? Math.max(16 * 1024 * 1024, maxFrame), {
    min: maxFrame,
  });
  const capabilities: Capabilities = Object.freeze({
    maxPayload,
    ordering: 'fifo-per-session',
    duplicates: 'never',
    multicast: 'fan-out',
    peerEvents: 'connection',
    identity: 'process',
  });
  return new Network(runtime, latencyMs, queueBytes, capabilities);
}

class Network implements MemoryNetwork {
  /** Closed ones stay: their names are known. */
  readonly links = new Map<NodeId, MemoryLink>();
  readonly stalled = new Set<NodeId>();
  readonly #severed = new Set<string>();
  #sessions = 0;

  constructor(
    readonly runtime: Runtime,
    readonly latencyMs: number,
    readonly queueBytes: number,
    readonly capabilities: Capabilities,
  ) {}

  link(id: NodeId): Link {
    identifierOption('id', id);
    if (this.links.get(id)?.closed === false) {
      throw new TransportError('ALREADY_HANDLED', `node ${JSON.stringify(id)} has a link; close it first`, {
        definite: true,
      });
    }
    const link = new MemoryLink(this, id);
    this.links.set(id, link);
    return link;
  }

  sever(a: NodeId, b: NodeId): void {
    this.#severed.add(pairOf(a, b));
    this.links.get(a)?.lanes.get(b)?.end('error', 'error');
  }

  restore(a: NodeId, b: NodeId): void {
    if (!this.#severed.delete(pairOf(a, b))) return;
    const [one, other] = [this.links.get(a), this.links.get(b)];
    if (one !== undefined && other !== undefined) this.connect(one, other);
  }

  stall(id: NodeId): void {
    this.stalled.add(id);
  }

  resume(id: NodeId): void {
    this.stalled.delete(id);
    for (const link of this.links.values()) link.lanes.get(id)?.schedule();
  }

  /** Begins a session if both sides are there and nothing is between them. */
  connect(one: MemoryLink, other: MemoryLink): void {
    if (one === other || !one.open || !other.open || this.#severed.has(pairOf(one.self, other.self))) return;
    // One counter for the whole network: no pair ever sees a number twice.
    const session = ++this.#sessions;
    const there = new Lane(this, one, other, session);
    const back = new Lane(this, other, one, session);
    there.opposite = back;
    back.opposite = there;
    one.lanes.set(other.self, there);
    other.lanes.set(one.self, back);
    one.events?.up(other.self, session);
    // A listener of the one side may have ended it at once.
    if (!back.ended) other.events?.up(one.self, session);
  }
}

class MemoryLink implements Link {
  readonly capabilities: Capabilities;
  /** The sessions there are, each as the way to its peer. */
  readonly lanes = new Map<NodeId, Lane>();
  readonly #network: Network;
  events: LinkEvents | undefined;
  closed = false;

  constructor(
    network: Network,
    readonly self: NodeId,
  ) {
    this.#network = network;
    this.capabilities = network.capabilities;
  }

  get open(): boolean {
    return this.events !== undefined && !this.closed;
  }

  start(events: LinkEvents): Promise<void> {
    if (!this.closed) {
      this.events = events;
      for (const other of this.#network.links.values()) this.#network.connect(this, other);
    }
    return Promise.resolve();
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    if (!this.open) return 'dropped-closed';
    const lane = this.lanes.get(to);
    if (lane !== undefined) return lane.send(frame);
    return to !== this.self && this.#network.links.has(to) ? 'dropped-down' : 'dropped-unknown';
  }

  peers(): readonly LinkPeer[] {
    return [...this.#network.links.keys()]
      .filter((id) => id !== this.self)
      .map((id) => {
        const lane = this.lanes.get(id);
        return { id, session: lane?.session, queuedBytes: lane?.window.queuedBytes ?? 0 };
      });
  }

  writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const window = this.lanes.get(to)?.window ?? SendWindow.ended(to);
    return window.writable(signal);
  }

  async close(drainMs: number): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    if (drainMs > 0) await this.#drained(drainMs);
    for (const lane of [...this.lanes.values()]) lane.end(undefined, 'closed');
  }

  async #drained(drainMs: number): Promise<void> {
    const limit = deadline(this.#network.runtime, drainMs);
    try {
      for (const { window } of [...this.lanes.values()]) {
        while (window.queuedBytes > 0) await abortable(window.changed(), limit.signal);
      }
    } catch {
      // The time is over; what is left is lost.
    } finally {
      limit[Symbol.dispose]();
    }
  }
}

interface QueuedFrame {
  readonly dueMs: number;
  readonly bytes: Uint8Array;
}

/** One direction of a session. Frames that are under way when it ends are lost. */
class Lane {
  opposite: Lane | undefined;
  ended = false;
  readonly window: SendWindow;
  #frames: QueuedFrame[] = [];
  #scheduled = false;

  constructor(
    readonly network: Network,
    readonly from: MemoryLink,
    readonly to: MemoryLink,
    readonly session: number,
  ) {
    this.window = new SendWindow(to.self, network.queueBytes);
  }

  send(frame: Uint8Array): SendOutcome {
    const { latencyMs, runtime } = this.network;
    if (this.window.add(frame.length) === 'dropped-full') return 'dropped-full';
    const dueMs = latencyMs === 0 ? 0 : runtime.monotonic() + latencyMs;
    this.#frames.push({ dueMs, bytes: new Uint8Array(frame) });
    this.schedule();
    return 'queued';
  }

  schedule(): void {
    const first = this.#frames[0];
    if (first === undefined || this.#scheduled || this.network.stalled.has(this.to.self)) return;
    this.#scheduled = true;
    const flush = (): void => {
      this.#scheduled = false;
      this.#flush();
    };
    const { latencyMs, runtime } = this.network;
    if (latencyMs === 0) queueMicrotask(flush);
    else runtime.setTimer(first.dueMs - runtime.monotonic(), flush);
  }

  /** Ends both directions, and tells the two sides for what reason, or does not tell. */
  end(here: DownReason | undefined, there: DownReason | undefined): void {
    if (this.ended) return;
    this.stop();
    this.opposite?.stop();
    if (here !== undefined) this.from.events?.down(this.to.self, here);
    if (there !== undefined) this.to.events?.down(this.from.self, there);
  }

  stop(): void {
    this.ended = true;
    this.#frames = [];
    if (this.from.lanes.get(this.to.self) === this) this.from.lanes.delete(this.to.self);
    this.window.end();
  }

  #flush(): void {
    const { latencyMs, runtime, stalled } = this.network;
    const now = latencyMs === 0 ? 0 : runtime.monotonic();
    const frames = this.#frames;
    this.#frames = [];
    let delivered = 0;
    for (const { dueMs, bytes } of frames) {
      if (this.ended) return;
      if (dueMs > now || stalled.has(this.to.self)) break;
      delivered++;
      this.window.remove(bytes.length);
      if (this.to.open) this.to.events?.frame(this.from.self, this.session, bytes);
    }
    if (this.ended) return;
    // What a handler sent back over the same lane meanwhile comes after what is left.
    if (delivered < frames.length) this.#frames = [...frames.slice(delivered), ...this.#frames];
    this.schedule();
  }
}

function pairOf(a: NodeId, b: NodeId): string {
  return a < b ? `${a}\n${b}` : `${b}\n${a}`;
}
