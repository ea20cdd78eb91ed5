import { InvalidOptionError } from '@quorate/runtime';
import { CausalityError } from '../errors.js';
import { type CausalEvent, eventOption } from './event.js';
import { compareHlc } from './hlc.js';
import { compareNodes, type NodeId } from './node.js';
import type { Dot } from './version-vector.js';

/** A cause that follows from no other: the arrow that is drawn. */
export interface CausalLink {
  readonly from: Dot;
  readonly to: Dot;
  /** Whether the event at `from` is absent, so that only its name is known. */
  readonly missing: boolean;
}

/** Events in causal order with the direct links between them. */
export interface CausalChain<T> {
  /** Every event after all its causes; concurrent ones by their time. The same for the same events in any order. */
  readonly events: readonly CausalEvent<T>[];
  /** Happened-before without what follows from other links (its transitive reduction). */
  readonly links: readonly CausalLink[];
}

/**
 * One list of several, without duplicates, in causal order: every event comes after all its causes, concurrent
 * events by time, then node. The result depends on the set of events only.
 * @throws {@link CausalityError} when the causes form a cycle, or one dot names two different events
 */
export function mergeEvents<T>(...lists: readonly Iterable<CausalEvent<T>>[]): CausalEvent<T>[] {
  return orderLanes(lanesOf(lists));
}

/**
 * The events with their direct links: all of them, or with `of` one event and everything that led to it.
 * @throws {@link CausalityError} as {@link mergeEvents}; InvalidOptionError when `of` is not among the events
 */
export function causalChain<T>(
  events: Iterable<CausalEvent<T>>,
  options: { readonly of?: Dot } = {},
): CausalChain<T> {
  const { of } = options;
  let lanes = lanesOf([events]);
  if (of !== undefined) {
    const last = lanes.get(of.node)?.find(({ dot }) => dot.counter === of.counter);
    if (last === undefined)
      throw new InvalidOptionError('of', `${of.node}:${String(of.counter)}`, 'the dot of one of the events');
    const led: CausalEvent<T>[] = [last];
    for (const lane of lanes.values())
      for (const event of lane) if (last.causes.covers(event.dot)) led.push(event);
    lanes = lanesOf([led]);
  }
  const ordered = orderLanes(lanes);
  return { events: ordered, links: ordered.flatMap((event) => directCauses(event, lanes)) };
}

/** The events of each node, by counter. */
type Lanes<T> = ReadonlyMap<NodeId, readonly CausalEvent<T>[]>;

function lanesOf<T>(lists: readonly Iterable<CausalEvent<T>>[]): Lanes<T> {
  const byNode = new Map<NodeId, Map<number, CausalEvent<T>>>();
  for (const list of lists) {
    for (const event of list) {
      const { node, counter } = eventOption('event', event).dot;
      let lane = byNode.get(node);
      if (lane === undefined) byNode.set(node, (lane = new Map<number, CausalEvent<T>>()));
      const known = lane.get(counter);
      if (known === undefined) lane.set(counter, event);
      else if (
        known !== event &&
        !(compareHlc(known.hlc, event.hlc) === 0 && known.causes.equals(event.causes))
      )
        throw new CausalityError('two different events have one dot', [event.dot]);
    }
  }
  return new Map(
    [...byNode]
      .sort(([a], [b]) => compareNodes(a, b))
      .map(([node, lane]) => [node, [...lane.values()].sort((a, b) => a.dot.counter - b.dot.counter)]),
  );
}

/** How many events of a lane have a counter of at most `counter`. */
function countUpTo(lane: readonly CausalEvent<unknown>[], counter: number): number {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((lane[middle]?.dot.counter ?? Infinity) <= counter) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Of the lanes' next events whose present causes are all out, takes the one with the least time, until none is left. */
function orderLanes<T>(lanes: Lanes<T>): CausalEvent<T>[] {
  const taken = new Map<NodeId, number>([...lanes.keys()].map((node) => [node, 0]));
  /** A cause that a lane's next event waits for: no need to look at the others before that one is out. */
  const blockedBy = new Map<NodeId, { readonly node: NodeId; readonly count: number }>();
  const heads = [...lanes.keys()];
  const total = [...lanes.values()].reduce((sum, lane) => sum + lane.length, 0);
  const ordered: CausalEvent<T>[] = [];
  const ready = (node: NodeId, head: CausalEvent<T>): boolean => {
    const blocker = blockedBy.get(node);
    if (blocker !== undefined && (taken.get(blocker.node) ?? 0) < blocker.count) return false;
    for (const [cause, counter] of head.causes) {
      if (cause === node) continue;
      const count = countUpTo(lanes.get(cause) ?? [], counter);
      if ((taken.get(cause) ?? 0) < count) {
        blockedBy.set(node, { node: cause, count });
        return false;
      }
    }
    return true;
  };
  while (ordered.length < total) {
    let next: CausalEvent<T> | undefined;
    for (const node of heads) {
      const head = lanes.get(node)?.[taken.get(node) ?? 0];
      if (head === undefined || !ready(node, head)) continue;
      if (next === undefined || compareHlc(head.hlc, next.hlc) < 0) next = head;
    }
    if (next === undefined) {
      const stuck = heads.flatMap((node) => lanes.get(node)?.[taken.get(node) ?? 0]?.dot ?? []);
      throw new CausalityError('causes form a cycle', stuck);
    }
    ordered.push(next);
    taken.set(next.dot.node, (taken.get(next.dot.node) ?? 0) + 1);
  }
  return ordered;
}

/** The latest cause on each lane, without those that are causes of another one of them. */
function directCauses<T>(event: CausalEvent<T>, lanes: Lanes<T>): CausalLink[] {
  const latest: { readonly dot: Dot; readonly present: CausalEvent<T> | undefined }[] = [];
  for (const [node, counter] of event.causes) {
    const lane = lanes.get(node) ?? [];
    const newest = lane[countUpTo(lane, counter) - 1];
    const exact = newest?.dot.counter === counter;
    if (newest !== undefined) latest.push({ dot: newest.dot, present: newest });
    if (!exact) latest.push({ dot: { node, counter }, present: undefined });
  }
  return latest
    .filter(({ dot }) => !latest.some(({ present }) => present?.causes.covers(dot)))
    .map(({ dot, present }) => ({ from: dot, to: event.dot, missing: present === undefined }));
}
