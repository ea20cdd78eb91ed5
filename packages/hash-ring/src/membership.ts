import {
  abortable,
  eventChannel,
  functionOption,
  integerOption,
  linkSignals,
  numberOption,
  type Runtime,
  systemRuntime,
  type Timer,
} from '@quorate/runtime';
import { Damper, type Settled } from './core/damping.js';
import { resolveNodes } from './core/members.js';
import type { NodeSpec, Placement, PlacementChange } from './placement.js';

/** Options of {@link createMembership}. */
export interface MembershipOptions {
  /**
   * A node is admitted when it has been up for this many milliseconds.
   * @defaultValue 1000
   */
  readonly joinAfterMs?: number;
  /**
   * A member is removed when it has been down for this many milliseconds.
   * @defaultValue 10_000
   */
  readonly leaveAfterMs?: number;
  /**
   * Changes that fall due within this many milliseconds make one snapshot.
   * @defaultValue 100
   */
  readonly batchMs?: number;
  /**
   * Each fall of a node adds 1 to its penalty, which halves every so many milliseconds.
   * @defaultValue 60_000
   */
  readonly halfLifeMs?: number;
  /**
   * A node whose penalty exceeds this is not admitted again before the penalty has decayed to `reuseBelow`.
   * @defaultValue 3
   */
  readonly suppressAbove?: number;
  /**
   * See `suppressAbove`.
   * @defaultValue 1
   */
  readonly reuseBelow?: number;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** Whatever tells of peers coming and going and first replays those present, such as a transport. */
export interface PeerSource {
  onPeer(listen: (event: { readonly type: 'up' | 'down'; readonly peer: string }) => void): () => void;
}

/** One snapshot followed another. */
export interface MembershipChange<P extends Placement> {
  readonly before: P;
  readonly after: P;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** What the event channel `quorate:hash-ring:membership` carries. */
export interface MembershipEvent {
  readonly strategy: string;
  readonly epoch: number;
  readonly checksum: string;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** Every snapshot that a {@link Membership} goes over to. */
export const membershipEvents = eventChannel<MembershipEvent>('hash-ring', 'membership');

/** What the event channel `quorate:hash-ring:node-refused` carries. */
export interface NodeRefusedEvent {
  readonly node: string;
  readonly error: unknown;
}

/**
 * A node that the placement cannot take, such as one too many for an anchor, or one of weight 2 for jump. It stays as it
 * was, in or out, while the others come and go. A node that is out is tried again when it describes itself in another
 * way, when a member leaves, and after `halfLifeMs`.
 */
export const nodeRefusedEvents = eventChannel<NodeRefusedEvent>('hash-ring', 'node-refused');

/** What the event channel `quorate:hash-ring:listener-failed` carries. */
export interface ListenerFailedEvent {
  /** The epoch of the snapshot that the listener was told of. */
  readonly epoch: number;
  readonly error: unknown;
}

/** A listener of {@link Membership.onChange} that threw. The others were told. */
export const listenerFailedEvents = eventChannel<ListenerFailedEvent>('hash-ring', 'listener-failed');

/**
 * Turns observations of nodes into snapshots, with damping: a short absence changes nothing, and a node that keeps
 * coming and going is removed once and stays out until it has been stable.
 *
 * This is one process's view. Two processes that observe differently have different snapshots for a while, or for
 * as long as they observe differently: compare checksums, and where that must not be, agree on the members first
 * (a replicated log) and pass snapshots on.
 */
export class Membership<P extends Placement> implements Disposable {
  readonly #runtime: Runtime;
  readonly #batchMs: number;
  readonly #damper: Damper;
  readonly #listeners = new Set<(change: MembershipChange<P>) => void>();
  readonly #sources = new Set<() => void>();
  readonly #closed = linkSignals();
  #current: P;
  #timer: Timer | undefined;

  /** Use {@link createMembership}. @internal */
  constructor(placement: P, options: MembershipOptions) {
    this.#runtime = options.runtime ?? systemRuntime;
    this.#batchMs = numberOption('batchMs', options.batchMs ?? 100);
    const suppressAbove = numberOption('suppressAbove', options.suppressAbove ?? 3, { min: 1 });
    const damping = {
      joinAfterMs: numberOption('joinAfterMs', options.joinAfterMs ?? 1000),
      leaveAfterMs: numberOption('leaveAfterMs', options.leaveAfterMs ?? 10_000),
      halfLifeMs: integerOption('halfLifeMs', options.halfLifeMs ?? 60_000, { min: 1 }),
      suppressAbove,
      reuseBelow: numberOption('reuseBelow', options.reuseBelow ?? Math.min(1, suppressAbove), {
        min: Number.MIN_VALUE,
        max: suppressAbove,
      }),
    };
    this.#current = placement;
    this.#damper = new Damper(damping, placement.nodes.map(specOf), this.#runtime.monotonic());
  }

  /** The snapshot in force. */
  get current(): P {
    return this.#current;
  }

  /**
   * Says that a node is there. A member's new weight, zone or rack makes a new snapshot after `batchMs`. Throws
   * `INVALID_OPTION` for a bad id, weight, zone or rack; what only the strategy refuses is told by
   * {@link nodeRefusedEvents} when the node would be admitted.
   */
  up(node: string | NodeSpec): void {
    if (this.#closed.signal.aborted) return;
    const spec = typeof node === 'string' ? { ...this.#memberSpec(node), id: node } : node;
    // A bad node is refused here, by its caller, and not when a timer admits it.
    resolveNodes([spec], 'any');
    this.#damper.rise(spec, this.#now());
    this.#schedule();
  }

  /** Says that a node is gone. An unknown one is ignored. */
  down(id: string): void {
    if (this.#closed.signal.aborted) return;
    this.#damper.fall(id, this.#now());
    this.#schedule();
  }

  /**
   * Follows peers until the returned function is called. `describe` gives a peer's weight and zone, or undefined
   * for one that is to hold no keys.
   */
  follow(
    source: PeerSource,
    describe: (peer: string) => string | NodeSpec | undefined = (peer) => peer,
  ): () => void {
    functionOption('describe', describe);
    const stop = source.onPeer(({ type, peer }) => {
      const node = describe(peer);
      if (node === undefined) return;
      if (type === 'up') this.up(node);
      else this.down(typeof node === 'string' ? node : node.id);
    });
    this.#sources.add(stop);
    return () => {
      if (this.#sources.delete(stop)) stop();
    };
  }

  /**
   * Follows a naming service that tells all nodes each time: whoever is missing from a list is down. Resolves when
   * the lists end or the membership is closed, and rejects with the signal's reason or the error of the lists. The
   * last snapshot stays in force in every case.
   */
  async followLists(
    lists: AsyncIterable<Iterable<string | NodeSpec>>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const iterator = lists[Symbol.asyncIterator]();
    const linked = linkSignals(options.signal, this.#closed.signal);
    try {
      for (;;) {
        const next = await abortable(iterator.next(), linked.signal);
        if (next.done === true) return;
        const nodes = [...next.value];
        const present = new Set(nodes.map((node) => (typeof node === 'string' ? node : node.id)));
        for (const node of nodes) this.up(node);
        for (const id of this.#damper.up()) if (!present.has(id)) this.down(id);
      }
    } catch (error) {
      if (this.#closed.signal.aborted && options.signal?.aborted !== true) return;
      throw error;
    } finally {
      linked[Symbol.dispose]();
      // A source that waits for its next list may never answer; nobody has to wait for it.
      void iterator.return?.().catch(() => undefined);
    }
  }

  /** Listens to changes until the returned function is called. A listener that throws harms nobody else. */
  onChange(listen: (change: MembershipChange<P>) => void): () => void {
    functionOption('listen', listen);
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  /** Stops following and listening. The snapshot stays as it is. Idempotent. */
  close(): void {
    this.#closed.abort(new DOMException('The membership was closed.', 'AbortError'));
    this.#timer?.cancel();
    for (const stop of this.#sources) stop();
    this.#sources.clear();
    this.#listeners.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #now(): number {
    return this.#runtime.monotonic();
  }

  #memberSpec(id: string): Partial<NodeSpec> {
    const node = this.#current.node(id);
    return node === undefined ? {} : specOf(node);
  }

  #schedule(): void {
    this.#timer?.cancel();
    const due = this.#damper.nextDue();
    if (due === Infinity) return;
    this.#timer = this.#runtime.setTimer(due + this.#batchMs - this.#now(), () => this.#settle());
  }

  #settle(): void {
    const now = this.#now();
    const due = this.#damper.settle(now);
    let change = changeOf(due);
    const before = this.#current;
    let after: Placement;
    try {
      after = before.with(change);
    } catch {
      change = this.#withoutRefused(due, now);
      after = before.with(change);
    }
    this.#schedule();
    // Every strategy's `with` gives a placement of its own kind.
    if (after !== before) this.#goOver(before, after as P);
  }

  /** Tries one node after the other, those that leave first. */
  #withoutRefused({ join, leave, change }: Settled, now: number): PlacementChange {
    let trial = this.#current.with({ remove: leave });
    const taken = (replaces: boolean) => (spec: NodeSpec) => {
      try {
        trial = trial.with({ add: [spec], remove: replaces ? [spec.id] : [] });
        return true;
      } catch (error) {
        if (!replaces) this.#damper.refuse(spec.id, now);
        if (nodeRefusedEvents.active) nodeRefusedEvents.publish({ node: spec.id, error });
        return false;
      }
    };
    return changeOf({ leave, change: change.filter(taken(true)), join: join.filter(taken(false)) });
  }

  #goOver(before: P, after: P): void {
    this.#current = after;
    const added = after.nodes.flatMap(({ id }) => (before.node(id) === undefined ? [id] : []));
    const removed = before.nodes.flatMap(({ id }) => (after.node(id) === undefined ? [id] : []));
    if (membershipEvents.active) {
      const { strategy, epoch, checksum } = after;
      membershipEvents.publish({ strategy, epoch, checksum, added, removed });
    }
    for (const listen of [...this.#listeners]) {
      try {
        listen({ before, after, added, removed });
      } catch (error) {
        if (listenerFailedEvents.active) listenerFailedEvents.publish({ epoch: after.epoch, error });
      }
    }
  }
}

/** A member that describes itself anew is replaced: its points lie where they lay. */
function changeOf({ join, leave, change }: Settled): PlacementChange {
  return { add: [...join, ...change], remove: [...leave, ...change.map(({ id }) => id)] };
}

/** Begins with the members of a placement, which are taken for up until somebody says otherwise. */
export function createMembership<P extends Placement>(
  placement: P,
  options: MembershipOptions = {},
): Membership<P> {
  return new Membership(placement, options);
}

function specOf({ id, weight, zone, rack }: Required<Placement>['nodes'][number]): NodeSpec {
  return { id, weight, ...(zone === undefined ? {} : { zone }), ...(rack === undefined ? {} : { rack }) };
}
