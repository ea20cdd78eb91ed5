import { integerOption, InvalidOptionError } from '@quorate/runtime';
import { CausalBufferFullError, CausalityError } from '../errors.js';
import type { CausalEvent } from './event.js';
import { eventOption } from './event.js';
import type { Hlc } from './hlc.js';
import { type NodeId, nodeOption } from './node.js';
import { type Dot, MAX_VECTOR_ENTRIES, VersionVector } from './version-vector.js';

/** Consecutive events of one node, both ends included. */
export interface CounterRange {
  readonly from: number;
  readonly to: number;
}

/** The events that others wait for and that are not here: whom to ask, and for which. */
export type MissingEvents = ReadonlyMap<NodeId, readonly CounterRange[]>;

/**
 * Holds events back until their causes were delivered (K. Birman, A. Schiper, P. Stephenson, "Lightweight Causal
 * and Atomic Group Multicast", 1991). Synchronous and without I/O; {@link createCausalReceiver} adds waiting.
 */
export interface CausalInbox<T> {
  /** What was delivered so far. Store it with the effects of the events, to go on from it after a restart. */
  readonly delivered: VersionVector;
  /** How many events wait for their causes. */
  readonly buffered: number;
  /**
   * Takes an event and returns all that can be delivered now, in causal order: each event comes once, after all its
   * causes. A duplicate gives nothing.
   * @throws {@link CausalBufferFullError} when the event would have to wait and the buffer is full; it was not taken
   * @throws InvalidOptionError when it is no event, or of the 16,385th node
   */
  offer(event: CausalEvent<T>): readonly CausalEvent<T>[];
  /**
   * Counts all events up to `delivered` as delivered, as after the installation of a snapshot, and returns what
   * could wait only for them.
   */
  advance(delivered: VersionVector): readonly CausalEvent<T>[];
  /** What the waiting events lack. Ask the nodes for it, or anybody who has their events. */
  missing(): MissingEvents;
}

/** The bound of a {@link CausalInbox}, and where it goes on. */
export interface CausalInboxOptions {
  /** How many events may wait for their causes. */
  readonly maxBuffered: number;
  /**
   * What was delivered in earlier runs.
   * @defaultValue nothing
   */
  readonly delivered?: VersionVector;
}

/** An empty {@link CausalInbox}. */
export function createCausalInbox<T>(options: CausalInboxOptions): CausalInbox<T> {
  const maxBuffered = integerOption('maxBuffered', options.maxBuffered);
  return new Inbox<T>(maxBuffered, options.delivered ?? VersionVector.empty);
}

class Inbox<T> implements CausalInbox<T> {
  readonly #maxBuffered: number;
  #delivered: VersionVector;
  /** The waiting events, by node and counter. */
  readonly #waiting = new Map<NodeId, Map<number, CausalEvent<T>>>();
  /** By node and counter of one undelivered cause: the events to look at again when it was delivered. */
  readonly #blockedOn = new Map<NodeId, Map<number, CausalEvent<T>[]>>();
  #buffered = 0;

  constructor(maxBuffered: number, delivered: VersionVector) {
    this.#maxBuffered = maxBuffered;
    this.#delivered = delivered;
  }

  get delivered(): VersionVector {
    return this.#delivered;
  }

  get buffered(): number {
    return this.#buffered;
  }

  offer(event: CausalEvent<T>): readonly CausalEvent<T>[] {
    const { dot } = eventOption('event', event);
    if (this.#delivered.covers(dot) || this.#waiting.get(dot.node)?.has(dot.counter) === true) return [];
    this.#refuseBeyond(this.#delivered, dot.node);
    const cause = this.#undeliveredCause(event);
    if (cause === undefined) return this.#deliver([event]);
    if (this.#buffered >= this.#maxBuffered)
      throw new CausalBufferFullError(dot, this.#maxBuffered, this.missing());
    entryOf(this.#waiting, dot.node).set(dot.counter, event);
    this.#buffered++;
    this.#block(event, cause);
    return [];
  }

  advance(delivered: VersionVector): readonly CausalEvent<T>[] {
    const merged = this.#delivered.merge(delivered);
    this.#refuseBeyond(merged);
    this.#delivered = merged;
    for (const [node, events] of this.#waiting)
      for (const counter of events.keys())
        if (this.#delivered.covers({ node, counter })) this.#remove(node, counter);
    const woken: CausalEvent<T>[] = [];
    for (const [node, blocked] of this.#blockedOn) {
      for (const [counter, events] of blocked) {
        if (!this.#delivered.covers({ node, counter })) continue;
        blocked.delete(counter);
        for (const event of events) woken.push(event);
      }
      if (blocked.size === 0) this.#blockedOn.delete(node);
    }
    return this.#deliver(this.#recheck(woken));
  }

  missing(): MissingEvents {
    const needed = new Map<NodeId, number>();
    for (const events of this.#waiting.values()) {
      for (const { causes } of events.values()) {
        for (const [node, counter] of causes) {
          if (counter > Math.max(this.#delivered.get(node), needed.get(node) ?? 0)) needed.set(node, counter);
        }
      }
    }
    const missing = new Map<NodeId, readonly CounterRange[]>();
    for (const [node, last] of needed) {
      const here = [...(this.#waiting.get(node)?.keys() ?? [])].sort((a, b) => a - b);
      const ranges: CounterRange[] = [];
      let from = this.#delivered.get(node) + 1;
      for (const counter of [...here.filter((one) => one <= last), last + 1]) {
        if (counter > from) ranges.push({ from, to: counter - 1 });
        from = counter + 1;
      }
      if (ranges.length > 0) missing.set(node, ranges);
    }
    return missing;
  }

  /**
   * Keeps room in `delivered` for the nodes of all events that wait, so that a delivery can never fail halfway.
   */
  #refuseBeyond(delivered: VersionVector, node?: NodeId): void {
    if (delivered.size + this.#waiting.size < MAX_VECTOR_ENTRIES) return;
    let nodes = delivered.size;
    for (const one of this.#waiting.keys()) if (delivered.get(one) === 0) nodes++;
    if (node !== undefined && delivered.get(node) === 0 && !this.#waiting.has(node)) nodes++;
    if (nodes <= MAX_VECTOR_ENTRIES) return;
    throw new InvalidOptionError(
      'event',
      node,
      `of one of at most ${String(MAX_VECTOR_ENTRIES)} nodes that an inbox can follow`,
    );
  }

  /** Delivers events that lack nothing, and whatever waited only for them. */
  #deliver(ready: CausalEvent<T>[]): readonly CausalEvent<T>[] {
    // The list grows while it is walked: breadth first, causes before what they release.
    for (const { dot } of ready) {
      this.#remove(dot.node, dot.counter);
      this.#delivered = this.#delivered.with(dot.node, dot.counter);
      const blocked = this.#blockedOn.get(dot.node);
      const woken = blocked?.get(dot.counter);
      if (blocked === undefined || woken === undefined) continue;
      blocked.delete(dot.counter);
      if (blocked.size === 0) this.#blockedOn.delete(dot.node);
      for (const event of this.#recheck(woken)) ready.push(event);
    }
    return ready;
  }

  /** Of events whose cause was delivered, those that lack no other; the rest wait on. */
  #recheck(events: readonly CausalEvent<T>[]): CausalEvent<T>[] {
    return events.filter((event) => {
      const { node, counter } = event.dot;
      if (this.#waiting.get(node)?.has(counter) !== true) return false;
      const cause = this.#undeliveredCause(event);
      if (cause !== undefined) this.#block(event, cause);
      return cause === undefined;
    });
  }

  #undeliveredCause({ causes }: CausalEvent<T>): Dot | undefined {
    for (const [node, counter] of causes) if (counter > this.#delivered.get(node)) return { node, counter };
    return undefined;
  }

  #block(event: CausalEvent<T>, cause: Dot): void {
    const blocked = entryOf(this.#blockedOn, cause.node);
    const events = blocked.get(cause.counter);
    if (events === undefined) blocked.set(cause.counter, [event]);
    else events.push(event);
  }

  #remove(node: NodeId, counter: number): void {
    const events = this.#waiting.get(node);
    if (events?.delete(counter) !== true) return;
    this.#buffered--;
    if (events.size === 0) this.#waiting.delete(node);
  }
}

function entryOf<V>(map: Map<NodeId, Map<number, V>>, node: NodeId): Map<number, V> {
  let entry = map.get(node);
  if (entry === undefined) map.set(node, (entry = new Map<number, V>()));
  return entry;
}

/** Makes the events of one node. */
export interface CausalOutbox<T> {
  /**
   * A new event whose causes are all that was delivered or emitted here. It counts as delivered here: hand it to
   * the others, in any order and as often as you like.
   * @throws {@link CausalityError} when a waiting event names the new one as its cause: this node forgot its counter
   */
  emit(payload: T): CausalEvent<T>;
}

/** An outbox that shares its history with the inbox of the same node. */
export function createCausalOutbox<T>(options: {
  /** This node. After a restart its counter must go on: restore the inbox with `delivered`. */
  readonly node: NodeId;
  /** Stamps the events. */
  readonly clock: { now(): Hlc };
  /** The inbox of this node. */
  readonly inbox: CausalInbox<T>;
}): CausalOutbox<T> {
  const { clock, inbox } = options;
  const node = nodeOption('node', options.node);
  return {
    emit(payload) {
      const causes = inbox.delivered;
      const after = causes.increment(node);
      const event = { dot: { node, counter: after.get(node) }, causes, hlc: clock.now(), payload };
      const released = inbox.offer(event);
      if (released.length !== 1) {
        throw new CausalityError(
          `others know events of ${node} that it has forgotten; it must come back under a new id`,
          released.map((one) => one.dot),
        );
      }
      return event;
    },
  };
}
