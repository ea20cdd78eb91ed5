import type { NodeSpec } from '../placement.js';

/** How quickly membership follows what is observed. */
export interface Damping {
  readonly joinAfterMs: number;
  readonly leaveAfterMs: number;
  readonly halfLifeMs: number;
  readonly suppressAbove: number;
  readonly reuseBelow: number;
}

interface Watched {
  spec: NodeSpec;
  /** When a member's `spec` became another one; Infinity while it is the one that was admitted. */
  changedAt: number;
  up: boolean;
  /** When `up` became what it is. */
  since: number;
  member: boolean;
  /** Grows by one with each fall and halves every `halfLifeMs`. */
  penalty: number;
  penaltyAt: number;
  suppressed: boolean;
  /** Not to be admitted before: it was refused. */
  refusedUntil: number;
}

/** What is due: nodes to admit, and ids to remove. */
export interface Settled {
  readonly join: readonly NodeSpec[];
  readonly leave: readonly string[];
  /** Members that describe themselves in another way than before. */
  readonly change: readonly NodeSpec[];
}

/**
 * Decides when a node that comes or goes counts as come or gone, after the route flap damping of RFC 2439: a node
 * must be up or down for a while; each fall adds to a penalty that decays, and a node whose penalty grew too great
 * is not admitted again until it has decayed. Times are passed in.
 */
export class Damper {
  readonly #damping: Damping;
  readonly #nodes = new Map<string, Watched>();

  constructor(damping: Damping, members: readonly NodeSpec[], now: number) {
    this.#damping = damping;
    for (const spec of members) {
      this.#nodes.set(spec.id, { ...fresh(spec, now), member: true });
    }
  }

  /** The nodes that are up, or were taken for up at the start. */
  up(): string[] {
    return [...this.#nodes].flatMap(([id, { up }]) => (up ? [id] : []));
  }

  /** A node was seen. */
  rise(spec: NodeSpec, now: number): void {
    const node = this.#nodes.get(spec.id);
    if (node === undefined) {
      this.#nodes.set(spec.id, fresh(spec, now));
      return;
    }
    if (!alike(node.spec, spec)) {
      node.refusedUntil = -Infinity;
      if (node.member) node.changedAt = Math.min(node.changedAt, now);
    }
    node.spec = spec;
    if (node.up) return;
    node.up = true;
    node.since = now;
  }

  /** A node was seen to be gone. */
  fall(id: string, now: number): void {
    const node = this.#nodes.get(id);
    if (node?.up !== true) return;
    node.penalty = this.#penaltyAt(node, now) + 1;
    node.penaltyAt = now;
    if (node.penalty > this.#damping.suppressAbove) node.suppressed = true;
    node.up = false;
    node.since = now;
  }

  /** Admits and removes what is due, and forgets nodes that are gone for good. */
  settle(now: number): Settled {
    const join: NodeSpec[] = [];
    const leave: string[] = [];
    const change: NodeSpec[] = [];
    for (const [id, node] of this.#nodes) {
      if (node.up || this.#dueAt(node) > now) continue;
      if (node.member) {
        leave.push(id);
        node.member = false;
      } else {
        this.#nodes.delete(id);
      }
    }
    for (const node of this.#nodes.values()) {
      // Whoever was refused may have the place of one that leaves.
      if (leave.length > 0) node.refusedUntil = -Infinity;
      if (!node.up || this.#dueAt(node) > now) continue;
      (node.member ? change : join).push(node.spec);
      node.changedAt = Infinity;
      if (node.member) continue;
      node.member = true;
      node.suppressed = false;
    }
    return { join, leave, change };
  }

  /** Takes back that a node joins: the placement does not take it, for now. */
  refuse(id: string, now: number): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.member = false;
    node.refusedUntil = now + this.#damping.halfLifeMs;
  }

  /** When something is due next; Infinity when nothing is. */
  nextDue(): number {
    let next = Infinity;
    for (const node of this.#nodes.values()) next = Math.min(next, this.#dueAt(node));
    return next;
  }

  #dueAt(node: Watched): number {
    const { joinAfterMs, leaveAfterMs, halfLifeMs, reuseBelow } = this.#damping;
    if (node.up) {
      if (node.member) return node.changedAt;
      const joinsAt = Math.max(node.since + joinAfterMs, node.refusedUntil);
      if (!node.suppressed) return joinsAt;
      return Math.max(
        joinsAt,
        node.penaltyAt + halfLifeMs * Math.max(0, Math.log2(node.penalty / reuseBelow)),
      );
    }
    // A node that is out is remembered until its penalty no longer matters.
    return node.since + (node.member ? leaveAfterMs : Math.max(leaveAfterMs, 10 * halfLifeMs));
  }

  #penaltyAt(node: Watched, now: number): number {
    return node.penalty * 2 ** (-(now - node.penaltyAt) / this.#damping.halfLifeMs);
  }
}

/** A node that is up and no member. */
function fresh(spec: NodeSpec, now: number): Watched {
  return {
    spec,
    changedAt: Infinity,
    up: true,
    since: now,
    member: false,
    penalty: 0,
    penaltyAt: now,
    suppressed: false,
    refusedUntil: -Infinity,
  };
}

function alike(a: NodeSpec, b: NodeSpec): boolean {
  return (a.weight ?? 1) === (b.weight ?? 1) && a.zone === b.zone && a.rack === b.rack;
}
