/*
 * The fault model of the network.
 *
 * Frames travel between any two nodes that are started. Each takes `minDelayMs` to `maxDelayMs`, spread as `delayShape`
 * says, and a share of them (`straggle`) ten times as long. The network is of one of two kinds:
 *
 * - `stream`, like TCP: within a session nothing is lost, repeated or overtaken. A direction that is blocked or
 *   clogged holds back what is sent, and what was under way still arrives. A direction that stays blocked for
 *   `sessionTimeoutMs` ends the session for both sides, and what was held back or under way is lost: the sender
 *   cannot know how much arrived. Once nothing is blocked, a new session begins. A session that is reset ends at once.
 * - `datagram`, like UDP: frames are lost (`loss`), delivered twice (`duplicate`) and overtake each other. A blocked
 *   direction swallows what is sent; what was under way still arrives.
 *
 * A direction that is clogged, of either kind, loses nothing and ends no session: what is sent waits until it is open
 * again, and then arrives in a burst. Blocks and clogs are one-way; two of them, partitions and isolations are made of
 * them, also partial ones, where two nodes cannot reach each other and both reach a third.
 *
 * Where a fault is of one channel, it meets only the transport's messages and requests on that channel, and the answers
 * to those requests (but not the answers to requests that were sent before the run's first fault of a channel). In a
 * stream too a blocked or lossy channel swallows frames, and a clogged one is overtaken by the others: such is a broken
 * subscription or an overloaded handler, not a broken wire.
 *
 * A node that crashes ends its sessions; its peers learn so after one delay. What it had sent is under way until then,
 * and may arrive. Bytes are never altered: a transport's checksums are not tested here.
 */
import { choiceOption, identifierOption, integerOption, numberOption } from '@quorate/runtime';
import { type Capabilities, FRAME_OVERHEAD_BYTES, type NodeId, type Unsubscribe } from '@quorate/transport';
import type { Clockwork, Owner } from './core/clockwork.js';
import { DELAY_SHAPES, delayShare, type DelayShape } from './core/delays.js';
import { Lane, SimLink } from './link.js';

/** How frames fare. Every member can be changed during a run with {@link SimNetwork.configure}. */
export interface NetworkFaults {
  /** Shortest time under way, in milliseconds. @defaultValue 0.2 */
  readonly minDelayMs: number;
  /** Longest ordinary time under way, in milliseconds. @defaultValue 2 */
  readonly maxDelayMs: number;
  /** How the times are spread between the two. @defaultValue 'uniform' */
  readonly delayShape: DelayShape;
  /** Share of frames that take ten times as long, from 0 to 1. @defaultValue 0 */
  readonly straggle: number;
  /** Share of frames that are lost, from 0 to 1; `datagram`, or of one channel. @defaultValue 0 */
  readonly loss: number;
  /** Share of frames that arrive twice, from 0 to 1; `datagram`, or of one channel. @defaultValue 0 */
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

/** The frames that a fault meets; what is not given is any. */
export interface FrameScope {
  readonly from?: NodeId;
  readonly to?: NodeId;
  /** A channel of the transport. */
  readonly channel?: string;
}

/** The network of one simulation, and the ways to disturb it. */
export interface SimNetwork {
  readonly kind: 'stream' | 'datagram';
  /** The faults of all frames as they are now. */
  readonly faults: NetworkFaults;
  /** Those of all frames while nothing disturbs them: what the options and `configure` say. */
  readonly usualFaults: NetworkFaults;
  /** Changes some of the faults for good, for frames sent from now on. */
  configure(faults: Partial<NetworkFaults>): void;
  /** Changes some of the faults of some frames, until it is undone. Where several say something, the latest counts. */
  disturb(faults: Partial<NetworkFaults>, scope?: FrameScope): Unsubscribe;
  /** Blocks one direction. Blocks count: it is open again when each one was undone by the function returned. */
  block(from: NodeId, to: NodeId, scope?: Pick<FrameScope, 'channel'>): Unsubscribe;
  /** Holds back what is sent in one direction, without loss, until it is undone. Clogs count as blocks do. */
  clog(from: NodeId, to: NodeId, scope?: Pick<FrameScope, 'channel'>): Unsubscribe;
  /**
   * Blocks both directions between every two nodes that have no group in common; with `oneWay` only what the first
   * group sends. A node that is in two groups still reaches both.
   */
  partition(groups: readonly (readonly NodeId[])[], options?: { readonly oneWay?: boolean }): Unsubscribe;
  /** Blocks what a node sends (`out`), what it would receive (`in`), or both, to and from every other node. */
  isolate(node: NodeId, direction?: 'in' | 'out' | 'both'): Unsubscribe;
  /** Ends the session between two nodes, as a reset of the connection does; what was under way is lost. */
  reset(a: NodeId, b: NodeId): void;
  /** Swallows the frames for which `lost` holds. */
  loseWhen(lost: (from: NodeId, to: NodeId, frame: Uint8Array) => boolean): Unsubscribe;
  /** Undoes every block, clog and disturbance, and ends losses, repetitions and stragglers. */
  heal(): void;
  /** Frames delivered and frames lost so far. */
  readonly counts: { readonly delivered: number; readonly lost: number };
}

/** Options of a network, checked. */
function checkFaults(faults: NetworkFaults): NetworkFaults {
  numberOption('minDelayMs', faults.minDelayMs);
  numberOption('maxDelayMs', faults.maxDelayMs, { min: faults.minDelayMs });
  choiceOption('delayShape', faults.delayShape, DELAY_SHAPES);
  for (const name of ['straggle', 'loss', 'duplicate'] as const) numberOption(name, faults[name], { max: 1 });
  return faults;
}

const STRAGGLER = 10;

interface Disturbance {
  readonly faults: Partial<NetworkFaults>;
  readonly scope: FrameScope;
}

/** How often each direction, or a channel of it, is blocked or clogged. */
class Ways {
  readonly counts = new Map<string, number>();

  add(way: string): void {
    this.counts.set(way, (this.counts.get(way) ?? 0) + 1);
  }

  /** True where that was the last. */
  remove(way: string): boolean {
    const left = (this.counts.get(way) ?? 1) - 1;
    if (left > 0) this.counts.set(way, left);
    else this.counts.delete(way);
    return left <= 0;
  }

  has(from: NodeId, to: NodeId, channel?: string): boolean {
    return this.counts.size > 0 && this.counts.has(wayOf(from, to, channel));
  }
}

/** Identifiers have no control characters, so that a line break separates them. */
function wayOf(from: NodeId, to: NodeId, channel: string | undefined): string {
  return channel === undefined ? `${from}\n${to}` : `${from}\n${to}\n${channel}`;
}

export class Network implements SimNetwork {
  readonly links = new Map<NodeId, SimLink>();
  readonly counts = { delivered: 0, lost: 0 };
  readonly stream: boolean;
  readonly queueBytes: number;
  readonly capabilities: Capabilities;
  /** Whether any fault of this run was of one channel, so that channels have to be read. */
  readsChannels = false;
  readonly #random: () => number;
  readonly #sessionTimeoutMs: number;
  /** What `configure` says. */
  #configured: NetworkFaults;
  /** With the disturbances of all frames. */
  #current: NetworkFaults;
  /** Those of them that frames meet: a stream neither loses nor repeats. */
  #met: NetworkFaults;
  #disturbances: readonly Disturbance[] = [];
  #scoped = false;
  #sessions = 0;
  readonly #blocks = new Ways();
  readonly #clogs = new Ways();
  readonly #filters = new Set<(from: NodeId, to: NodeId, frame: Uint8Array) => boolean>();
  /** Blocks made before the last healing are undone already. */
  #healings = 0;

  constructor(
    readonly clockwork: Clockwork,
    options: NetworkOptions,
  ) {
    this.#random = clockwork.stream('network');
    this.#configured = checkFaults({
      minDelayMs: options.minDelayMs ?? 0.2,
      maxDelayMs: options.maxDelayMs ?? Math.max(2, options.minDelayMs ?? 0),
      delayShape: options.delayShape ?? 'uniform',
      straggle: options.straggle ?? 0,
      loss: options.loss ?? 0,
      duplicate: options.duplicate ?? 0,
    });
    this.stream = choiceOption('kind', options.kind ?? 'stream', ['stream', 'datagram']) === 'stream';
    this.#current = this.#configured;
    this.#met = this.#configured;
    this.#merge();
    this.#sessionTimeoutMs = numberOption('sessionTimeoutMs', options.sessionTimeoutMs ?? 1_000);
    const maxPayload = integerOption('maxPayload', options.maxPayload ?? 1024 * 1024, { min: 1 });
    const maxFrame = maxPayload + FRAME_OVERHEAD_BYTES;
    const queueBytes = options.queueBytes ?? Math.max(16 * 1024 * 1024, maxFrame);
    this.queueBytes = integerOption('queueBytes', queueBytes, { min: maxFrame });
    this.capabilities = Object.freeze({
      maxPayload,
      ordering: this.stream ? 'fifo-per-session' : 'none',
      duplicates: this.stream ? 'never' : 'possible',
      multicast: 'fan-out',
      peerEvents: 'connection',
      identity: 'process',
    });
  }

  get kind(): 'stream' | 'datagram' {
    return this.stream ? 'stream' : 'datagram';
  }

  get faults(): NetworkFaults {
    return this.#current;
  }

  get usualFaults(): NetworkFaults {
    return this.#configured;
  }

  configure(faults: Partial<NetworkFaults>): void {
    this.#configured = checkFaults({ ...this.#configured, ...faults });
    this.#merge();
  }

  disturb(faults: Partial<NetworkFaults>, scope: FrameScope = {}): Unsubscribe {
    checkFaults({ ...this.#configured, ...withRange(this.#configured, faults) });
    if (scope.channel !== undefined) this.readsChannels = true;
    const one = { faults, scope };
    this.#disturbances = [...this.#disturbances, one];
    this.#merge();
    return () => {
      this.#disturbances = this.#disturbances.filter((other) => other !== one);
      this.#merge();
    };
  }

  block(from: NodeId, to: NodeId, { channel }: Pick<FrameScope, 'channel'> = {}): Unsubscribe {
    const undo = this.#close(this.#blocks, from, to, channel);
    if (this.stream && channel === undefined) this.#endIfBlockedFor(from, to);
    return undo;
  }

  clog(from: NodeId, to: NodeId, { channel }: Pick<FrameScope, 'channel'> = {}): Unsubscribe {
    return this.#close(this.#clogs, from, to, channel);
  }

  partition(
    groups: readonly (readonly NodeId[])[],
    { oneWay = false }: { readonly oneWay?: boolean } = {},
  ): Unsubscribe {
    const nodes = [...new Set(groups.flat())];
    const undo: Unsubscribe[] = [];
    for (const from of oneWay ? (groups[0] ?? []) : nodes) {
      for (const to of nodes) {
        const together = groups.some((group) => group.includes(from) && group.includes(to));
        if (!together) undo.push(this.block(from, to));
      }
    }
    return allOf(undo);
  }

  isolate(node: NodeId, direction: 'in' | 'out' | 'both' = 'both'): Unsubscribe {
    choiceOption('direction', direction, ['in', 'out', 'both']);
    const undo: Unsubscribe[] = [];
    for (const other of this.links.keys()) {
      if (other === node) continue;
      if (direction !== 'in') undo.push(this.block(node, other));
      if (direction !== 'out') undo.push(this.block(other, node));
    }
    return allOf(undo);
  }

  reset(a: NodeId, b: NodeId): void {
    this.links.get(a)?.lanes.get(b)?.end('error', 'error');
  }

  loseWhen(lost: (from: NodeId, to: NodeId, frame: Uint8Array) => boolean): Unsubscribe {
    this.#filters.add(lost);
    return () => void this.#filters.delete(lost);
  }

  heal(): void {
    this.#healings++;
    this.#filters.clear();
    this.#disturbances = [];
    const ways = [...this.#blocks.counts.keys(), ...this.#clogs.counts.keys()];
    this.#blocks.counts.clear();
    this.#clogs.counts.clear();
    this.configure({ straggle: 0, loss: 0, duplicate: 0 });
    for (const way of ways) {
      const [from = '', to = ''] = way.split('\n');
      this.#opened(from, to);
    }
  }

  isBlocked(from: NodeId, to: NodeId): boolean {
    return this.#blocks.has(from, to);
  }

  /** Whether what is sent now waits until somebody opens the way. */
  holds(from: NodeId, to: NodeId, channel: string | undefined): boolean {
    if (
      this.#clogs.counts.size > 0 &&
      (this.#clogs.has(from, to) || (channel !== undefined && this.#clogs.has(from, to, channel)))
    ) {
      return true;
    }
    return this.stream && this.#blocks.has(from, to);
  }

  /** The faults that a frame meets. */
  faultsOf(from: NodeId, to: NodeId, channel: string | undefined): NetworkFaults {
    if (!this.#scoped) return this.#met;
    let faults = this.#met;
    for (const { faults: more, scope } of this.#disturbances) {
      if (isUnscoped(scope)) continue;
      if (scope.from !== undefined && scope.from !== from) continue;
      if (scope.to !== undefined && scope.to !== to) continue;
      if (scope.channel !== undefined && scope.channel !== channel) continue;
      const { loss, duplicate } = faults;
      faults = { ...faults, ...withRange(faults, more) };
      if (this.stream && scope.channel === undefined) faults = { ...faults, loss, duplicate };
    }
    return faults;
  }

  swallows(
    faults: NetworkFaults,
    from: NodeId,
    to: NodeId,
    channel: string | undefined,
    frame: Uint8Array,
  ): boolean {
    for (const lost of this.#filters) if (lost(from, to, frame)) return true;
    if (channel !== undefined && this.#blocks.has(from, to, channel)) return true;
    if (!this.stream && this.#blocks.has(from, to)) return true;
    return faults.loss > 0 && this.#random() < faults.loss;
  }

  delayMs(faults: NetworkFaults = this.#met): number {
    const { minDelayMs, maxDelayMs, delayShape, straggle } = faults;
    const delay = minDelayMs + delayShare(delayShape, this.#random) * (maxDelayMs - minDelayMs);
    return straggle > 0 && this.#random() < straggle ? delay * STRAGGLER : delay;
  }

  repeats(faults: NetworkFaults): boolean {
    return faults.duplicate > 0 && this.#random() < faults.duplicate;
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

  #merge(): void {
    let current = this.#configured;
    for (const { faults, scope } of this.#disturbances) {
      if (isUnscoped(scope)) current = { ...current, ...withRange(current, faults) };
    }
    this.#current = current;
    this.#met = this.stream ? { ...current, loss: 0, duplicate: 0 } : current;
    this.#scoped = this.#disturbances.some(({ scope }) => !isUnscoped(scope));
  }

  #close(ways: Ways, from: NodeId, to: NodeId, channel: string | undefined): Unsubscribe {
    const way = wayOf(from, to, channel);
    if (channel !== undefined) this.readsChannels = true;
    ways.add(way);
    const healing = this.#healings;
    let undone = false;
    return () => {
      if (undone || healing !== this.#healings) return;
      undone = true;
      if (ways.remove(way)) this.#opened(from, to);
    };
  }

  #opened(from: NodeId, to: NodeId): void {
    const lane = this.links.get(from)?.lanes.get(to);
    if (lane === undefined) this.connectLater(from, to);
    else lane.releaseHeld();
  }

  #endIfBlockedFor(from: NodeId, to: NodeId): void {
    const session = this.links.get(from)?.lanes.get(to)?.session;
    if (session === undefined) return;
    const name = `${from} ${to}`;
    this.clockwork.schedule(this.#sessionTimeoutMs, undefined, 'session timeout', name, session, () => {
      const lane = this.links.get(from)?.lanes.get(to);
      if (lane?.session === session && this.isBlocked(from, to)) lane.end('timeout', 'timeout');
    });
  }
}

function isUnscoped({ from, to, channel }: FrameScope): boolean {
  return from === undefined && to === undefined && channel === undefined;
}

/** Where only one end of the range of delays is given, the other one gives way. */
function withRange(base: NetworkFaults, faults: Partial<NetworkFaults>): Partial<NetworkFaults> {
  const { minDelayMs, maxDelayMs } = faults;
  if (minDelayMs !== undefined && maxDelayMs === undefined) {
    return { ...faults, maxDelayMs: Math.max(base.maxDelayMs, minDelayMs) };
  }
  if (maxDelayMs !== undefined && minDelayMs === undefined) {
    return { ...faults, minDelayMs: Math.min(base.minDelayMs, maxDelayMs) };
  }
  return faults;
}

function allOf(undo: readonly Unsubscribe[]): Unsubscribe {
  return () => {
    for (const one of undo) one();
  };
}
