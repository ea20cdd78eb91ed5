import type { Entry, LoadedLog, PersistBatch, SnapshotMeta } from '@quorate/durable-log';
import type { Effects, Membership } from '@quorate/replicated-log';
import { seededRandom } from '@quorate/runtime';
import type { RaftCore, RaftMessage, RaftOptions } from '@quorate/raft-core';

/**
 * A raft cluster on a network and disks that fail, in ticks of virtual time, from one seed.
 *
 * Faults: messages are lost, duplicated, delayed and so reordered; nodes are cut off in groups, also in one
 * direction; a node crashes at any moment and loses what it had not synced, and comes back later; writes take
 * several ticks, during which the core goes on; applying takes its time too; the membership changes; leadership is
 * handed over; logs are compacted, so that snapshots are sent, and their transfer fails at times.
 *
 * After every step the five properties of Figure 3 are checked, and that reads are linearizable: the index of a
 * read barrier is not below any command that was acknowledged before the barrier was asked for.
 */
export interface Faults {
  readonly loss: number;
  readonly duplicate: number;
  readonly maxDelay: number;
  /** How many messages take ten times as long. */
  readonly stragglers: number;
  readonly crash: number;
  /** The most ticks that a crashed node stays away. */
  readonly maxDowntime: number;
  readonly partition: number;
  /** Of the current leader alone: to crash it for a moment, and to cut it off. */
  readonly crashLeader: number;
  readonly isolateLeader: number;
  readonly heal: number;
  readonly maxWriteDelay: number;
  readonly membership: number;
  readonly transfer: number;
  readonly compact: number;
  readonly snapshotFailure: number;
}

/**
 * Faults and settings drawn from a seed. Runs that differ in kind find more than runs that all have every fault at a
 * middling strength (A. Groce et al., "Swarm Testing", ISSTA 2012).
 */
export function swarm(seed: number, membership: boolean): Pick<ClusterOptions, 'faults' | 'raft'> {
  const random = seededRandom(-seed);
  const pick = <T>(...of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const checkQuorum = pick(true, true, false);
  // A removed node that is not told so disturbs a cluster without either (dissertation, section 4.2.3).
  const preVote = pick(true, false) || (membership && !checkQuorum);
  return {
    faults: {
      loss: pick(0, 0.05, 0.3),
      duplicate: pick(0, 0.05, 0.3),
      maxDelay: pick(1, 4, 12, 25),
      stragglers: pick(0, 0.02, 0.2),
      crash: pick(0, 0.01, 0.1),
      maxDowntime: pick(2, 30),
      partition: pick(0, 0.02, 0.1),
      crashLeader: pick(0, 0, 0.05, 0.2),
      isolateLeader: pick(0, 0, 0.03),
      heal: pick(0.03, 0.1, 0.3),
      maxWriteDelay: pick(0, 4, 15),
      membership: membership ? pick(0.02, 0.1) : 0,
      transfer: pick(0, 0.01, 0.05),
      compact: pick(0, 0.02, 0.2),
      snapshotFailure: pick(0, 0.3),
    },
    raft: {
      electionTicks: pick(5, 10, 20),
      preVote,
      checkQuorum,
      ...(checkQuorum && pick(true, false) && { leaseDriftBound: 1 }),
      forwardProposals: pick(true, false),
      maxBytesPerMessage: pick(1, 40),
      maxInflightMessages: pick(1, 4),
    },
  };
}

/**
 * The bound within which a healed cluster must commit. Generous: with one entry to a message and one message under
 * way, a long tail of an earlier term has to be copied first.
 */
const PROGRESS_TICKS = 6_000;

/** What a broken promise of the core is reported as. */
export class Violation extends Error {}

interface Disk {
  state: Uint8Array;
  entries: Entry[];
  base: { index: number; term: number };
  snapshot: SnapshotMeta | undefined;
}

interface Write {
  readonly effects: Effects<RaftMessage>;
  readonly due: number;
}

class Node {
  core: RaftCore;
  up = true;
  restartAt = 0;
  writes: Write[] = [];
  toApply: Entry[] = [];
  installs: SnapshotMeta[] = [];
  applied = 0;
  /** Of the term in which it leads: its log must only grow. */
  led: { term: number; last: number } | undefined;

  constructor(
    core: RaftCore,
    readonly disk: Disk,
  ) {
    this.core = core;
  }
}

interface Flight {
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly message: RaftMessage;
  /** A snapshot's meta as the sender's disk had it. */
  readonly snapshot?: SnapshotMeta;
}

export interface ClusterOptions {
  readonly seed: number;
  readonly size: number;
  readonly faults: Faults;
  readonly create: (options: RaftOptions) => RaftCore;
  readonly raft?: Partial<RaftOptions>;
  /** Plants a bug in what reaches the disk. */
  readonly forgetVotes?: boolean;
}

export class Cluster {
  readonly nodes = new Map<string, Node>();
  readonly random: () => number;
  readonly ids: readonly string[];
  tickCount = 0;
  steps = 0;
  /** What is known to be committed, by index: (term, id or kind). Grows, and never changes. */
  readonly committed: { term: number; mark: string }[] = [];
  readonly leaders = new Map<number, string>();
  /** The highest index of a command whose proposer has seen it applied. */
  acknowledged = 0;
  readonly counts = {
    crashes: 0,
    elections: 0,
    snapshots: 0,
    reads: 0,
    proposals: 0,
    memberships: 0,
    restored: 0,
  };
  #flights: Flight[] = [];
  #cut: ((from: string, to: string) => boolean) | undefined;
  /** Whether what was under way when the network was cut is lost too. */
  #cutsFlights = true;
  readonly #reads = new Map<string, number>();
  #faults: Faults;
  #lives = 0;
  #sequence = 0;

  constructor(private readonly options: ClusterOptions) {
    this.random = seededRandom(options.seed);
    this.#faults = options.faults;
    this.ids = Array.from({ length: options.size }, (_, at) => `n${String(at + 1)}`);
    const voters = this.ids.slice(0, Math.max(1, options.size - (options.faults.membership > 0 ? 2 : 0)));
    for (const id of this.ids) {
      const disk: Disk = {
        state: new Uint8Array(),
        entries: [],
        base: { index: 0, term: 0 },
        snapshot: undefined,
      };
      const membership = voters.includes(id) ? { voters, learners: [] } : { voters: [], learners: [] };
      this.nodes.set(id, new Node(this.#boot(id, disk, membership), disk));
    }
  }

  /** Runs with all faults for `ticks`, then heals everything and requires progress. */
  run(ticks: number): void {
    for (let tick = 0; tick < ticks; tick++) this.#tick();
    this.#heal();
    const target = this.committed.length + 5;
    const wanted = this.#marksOf(5);
    for (let tick = 0; tick < PROGRESS_TICKS; tick++) {
      if (tick % 20 === 0) this.#proposeTo(this.#leader(), wanted);
      this.#tick();
      if (
        this.committed.length >= target &&
        wanted.some((mark) => this.committed.some((one) => one.mark === mark))
      ) {
        return;
      }
    }
    throw new Violation(
      `no progress within ${String(PROGRESS_TICKS)} ticks after everything healed\n${this.describe()}`,
    );
  }

  describe(): string {
    return [...this.nodes]
      .map(([id, { up, core }]) => {
        const { role, term, leader, commit, applied, first, last, membership } = core.status();
        return `${id} ${up ? '' : 'DOWN '}${role} term=${String(term)} leader=${leader ?? '-'} log=${String(first)}..${String(last)} commit=${String(commit)} applied=${String(applied)} ${JSON.stringify(membership)}`;
      })
      .join('\n');
  }

  #boot(id: string, disk: Disk, membership: Membership): RaftCore {
    const last = disk.base.index + disk.entries.length;
    const loaded: LoadedLog = {
      state: disk.state,
      first: disk.base.index + 1,
      last,
      ...(disk.snapshot !== undefined && { snapshot: disk.snapshot }),
    };
    return this.options.create({
      id,
      membership,
      seed: this.options.seed * 1_000 + ++this.#lives,
      recovered: { loaded, entries: disk.entries },
      maxBytesPerMessage: 40,
      maxInflightMessages: 4,
      maxApplyingBytes: 60,
      ...this.options.raft,
    });
  }

  #chance(probability: number): boolean {
    return this.random() < probability;
  }

  #below(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }

  #tick(): void {
    this.tickCount++;
    this.#nemesis();
    for (const [id, node] of this.nodes) {
      if (!node.up) {
        if (this.tickCount >= node.restartAt) this.#restart(id, node);
        continue;
      }
      node.core.tick();
      this.#settle(id, node);
    }
    this.#load();
    const due = this.#flights.filter(({ at }) => at <= this.tickCount);
    this.#flights = this.#flights.filter(({ at }) => at > this.tickCount);
    for (const flight of due) this.#deliver(flight);
    for (const [id, node] of this.nodes) if (node.up) this.#work(id, node);
  }

  #nemesis(): void {
    const faults = this.#faults;
    for (const [id, node] of this.nodes) {
      if (node.up && this.#chance(faults.crash / this.ids.length)) this.#crash(id, node);
    }
    const leader = this.nodes.get(this.#leader());
    if (leader?.up === true && this.#chance(faults.crashLeader)) this.#crash(this.#leader(), leader);
    if (this.#chance(faults.heal)) this.#cut = undefined;
    if (this.#chance(faults.isolateLeader)) {
      const alone = this.#leader();
      this.#cut = (from, to) => from === alone || to === alone;
      this.#cutsFlights = this.#chance(0.5);
    }
    if (this.#chance(faults.partition)) {
      const side = new Map(this.ids.map((id) => [id, this.#chance(0.5)]));
      const oneWay = this.#chance(0.3);
      this.#cutsFlights = this.#chance(0.5);
      this.#cut = (from, to) => side.get(from) !== side.get(to) && (!oneWay || side.get(from) === true);
    }
  }

  #load(): void {
    const faults = this.#faults;
    const id = this.#pick(this.ids);
    const node = this.nodes.get(id);
    if (node?.up !== true) return;
    if (this.#chance(0.6)) this.#proposeTo(id, this.#marksOf(1 + this.#below(3)));
    if (this.#chance(0.4)) {
      const read = `read-${String(++this.#sequence)}`;
      this.#reads.set(read, this.acknowledged);
      node.core.readBarrier(read, this.#chance(0.5) ? 'lease' : 'quorum');
    }
    if (this.#chance(faults.membership)) {
      const shuffled = [...this.ids].sort(() => this.random() - 0.5);
      const voters = shuffled.slice(0, 1 + this.#below(this.ids.length));
      const rest = shuffled.slice(voters.length);
      const learners = rest.slice(0, this.#below(rest.length + 1));
      this.counts.memberships++;
      const leader = this.nodes.get(this.#leader());
      leader?.core.changeMembership({ voters, learners }, `change-${String(++this.#sequence)}`);
    }
    if (this.#chance(faults.transfer))
      this.nodes.get(this.#leader())?.core.transferLeadership(this.#pick(this.ids));
    if (this.#chance(faults.compact)) this.#compact(node);
    this.#settle(id, node);
  }

  #marksOf(count: number): string[] {
    return Array.from({ length: count }, () => `c${String(++this.#sequence)}`);
  }

  #leader(): string {
    let best = this.ids[0] ?? '';
    let term = -1;
    for (const [id, { up, core }] of this.nodes) {
      const status = core.status();
      if (up && status.role === 'leader' && status.term > term) [best, term] = [id, status.term];
    }
    return best;
  }

  #proposeTo(id: string, marks: readonly string[]): void {
    const node = this.nodes.get(id);
    if (node?.up !== true) return;
    this.counts.proposals += marks.length;
    node.core.propose(
      marks.map((mark) => Buffer.from(mark)),
      marks.map((mark) => `${id}/${mark}`),
    );
    this.#settle(id, node);
  }

  #crash(id: string, node: Node): void {
    this.counts.crashes++;
    node.up = false;
    node.restartAt = this.tickCount + 1 + this.#below(this.#faults.maxDowntime);
    // Some of the writes under way reach the disk, in their order.
    let reached = this.#below(node.writes.length + 1);
    for (const { effects } of node.writes) if (reached-- > 0) this.#toDisk(node, effects);
    node.writes = [];
    node.toApply = [];
    node.installs = [];
    node.led = undefined;
    this.#flights = this.#flights.filter((flight) => flight.from !== id || this.#chance(0.5));
  }

  #restart(id: string, node: Node): void {
    node.up = true;
    node.core = this.#boot(id, node.disk, { voters: [], learners: [] });
    if (node.disk.snapshot === undefined && this.#isFounder(id)) {
      node.core = this.#boot(id, node.disk, { voters: this.#founders(), learners: [] });
    }
    node.applied = node.disk.snapshot?.index ?? 0;
    this.#settle(id, node);
  }

  #founders(): string[] {
    return this.ids.slice(0, Math.max(1, this.ids.length - (this.options.faults.membership > 0 ? 2 : 0)));
  }

  #isFounder(id: string): boolean {
    return this.#founders().includes(id);
  }

  #heal(): void {
    this.#faults = CALM;
    this.#cut = undefined;
    for (const node of this.nodes.values()) if (!node.up) node.restartAt = this.tickCount;
  }

  #compact(node: Node): void {
    const { disk, core } = node;
    const meta = core.snapshotMeta();
    if (
      meta === undefined ||
      meta.index <= (disk.snapshot?.index ?? 0) ||
      node.writes.length > 0 ||
      meta.index !== node.applied
    )
      return;
    // The snapshot is durable before anything is forgotten.
    disk.snapshot = meta;
    const to = Math.max(disk.base.index, meta.index - this.#below(4));
    const cut = to - disk.base.index;
    if (cut > 0 && cut <= disk.entries.length) {
      disk.base = { index: to, term: disk.entries[cut - 1]?.term ?? 0 };
      disk.entries = disk.entries.slice(cut);
      core.compact(meta, to);
      this.counts.snapshots++;
    }
  }

  /** Takes the effects of a node: sends what may go, and starts the writes. */
  #settle(id: string, node: Node): void {
    while (node.core.hasEffects()) {
      const effects = node.core.takeEffects();
      this.steps++;
      for (const { to, message } of effects.sendNow) this.#send(id, to, message);
      for (const to of effects.sendSnapshots) this.#sendSnapshot(id, node, to);
      for (const result of effects.results) this.#result(result);
      const last = node.writes.at(-1)?.due ?? 0;
      node.writes.push({
        effects,
        due: Math.max(last, this.tickCount + this.#below(this.#faults.maxWriteDelay + 1)),
      });
      for (const entry of effects.committed) this.#commit(id, entry);
      node.toApply.push(...effects.committed);
      this.#check(id, node);
    }
  }

  /** Ends writes that are due, and applies. */
  #work(id: string, node: Node): void {
    while ((node.writes[0]?.due ?? Number.POSITIVE_INFINITY) <= this.tickCount) {
      const write = node.writes.shift();
      if (write === undefined) break;
      const { effects } = write;
      this.#toDisk(node, effects);
      node.core.persisted(effects.seq);
      if (effects.installSnapshot !== undefined) {
        this.counts.restored++;
        node.applied = effects.installSnapshot.index;
        node.toApply = node.toApply.filter(({ index }) => index > node.applied);
        node.core.applied(node.applied);
      }
      for (const { to, message } of effects.sendAfterPersist) this.#send(id, to, message);
      this.#settle(id, node);
    }
    if (node.toApply.length > 0 && this.#chance(0.7)) {
      const batch = node.toApply.splice(0, 1 + this.#below(node.toApply.length));
      for (const entry of batch) {
        if (entry.index !== node.applied + 1) {
          throw new Violation(`${id} applies ${String(entry.index)} after ${String(node.applied)}`);
        }
        node.applied = entry.index;
        if (entry.id?.startsWith(`${id}/`) === true)
          this.acknowledged = Math.max(this.acknowledged, entry.index);
      }
      node.core.applied(node.applied);
      this.#settle(id, node);
    }
  }

  #toDisk(node: Node, effects: Effects<RaftMessage>): void {
    const { disk } = node;
    const meta = effects.installSnapshot;
    if (meta !== undefined) {
      disk.snapshot = meta;
      disk.entries = [];
      disk.base = { index: meta.index, term: meta.term };
    }
    if (effects.persist !== undefined) this.#persist(disk, effects.persist);
  }

  #persist(disk: Disk, batch: PersistBatch): void {
    if (batch.state !== undefined && this.options.forgetVotes !== true) disk.state = batch.state;
    if (batch.truncateFrom !== undefined)
      disk.entries.length = Math.max(0, batch.truncateFrom - disk.base.index - 1);
    for (const entry of batch.entries) {
      if (entry.index !== disk.base.index + disk.entries.length + 1) {
        throw new Violation(
          `entry ${String(entry.index)} is written behind ${String(disk.base.index + disk.entries.length)}`,
        );
      }
      disk.entries.push(entry);
    }
  }

  #send(from: string, to: string, message: RaftMessage, snapshot?: SnapshotMeta): void {
    const faults = this.#faults;
    const copies = this.#chance(faults.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance(faults.loss) || this.#cut?.(from, to) === true) continue;
      const slow = this.#chance(faults.stragglers) ? 10 : 1;
      const at = this.tickCount + this.#below(slow * faults.maxDelay + 1);
      this.#flights.push({ at, from, to, message, ...(snapshot !== undefined && { snapshot }) });
    }
  }

  #sendSnapshot(id: string, node: Node, to: string): void {
    const meta = node.disk.snapshot;
    const message = meta === undefined ? undefined : node.core.snapshotMessage(to, meta);
    if (message === undefined || meta === undefined || this.#chance(this.#faults.snapshotFailure)) {
      node.core.reportSnapshot(to, 'failed');
      return;
    }
    this.#send(id, to, message, meta);
    node.core.reportSnapshot(to, 'finished');
  }

  #deliver({ from, to, message }: Flight): void {
    const node = this.nodes.get(to);
    if (node?.up !== true || (this.#cutsFlights && this.#cut?.(from, to) === true)) return;
    node.core.step(from, message);
    this.#settle(to, node);
  }

  #result(result: Effects<RaftMessage>['results'][number]): void {
    if (!result.ok) return;
    const floor = this.#reads.get(result.id);
    if (floor === undefined) return;
    this.counts.reads++;
    if (result.index < floor) {
      throw new Violation(
        `read ${result.id} got index ${String(result.index)}; ${String(floor)} was acknowledged before`,
      );
    }
  }

  /** State Machine Safety: no two nodes apply different entries at one index. */
  #commit(id: string, entry: Entry): void {
    const mark = entry.kind === 'command' ? (entry.id ?? '').replace(/^[^/]*\//, '') : entry.kind;
    const known = this.committed[entry.index - 1];
    if (known === undefined) {
      if (entry.index !== this.committed.length + 1) {
        throw new Violation(
          `${id} commits ${String(entry.index)} while ${String(this.committed.length)} are known`,
        );
      }
      this.committed.push({ term: entry.term, mark });
    } else if (known.term !== entry.term || known.mark !== mark) {
      throw new Violation(
        `State Machine Safety: ${id} commits ${mark} of term ${String(entry.term)} at ${String(entry.index)}; ${known.mark} of term ${String(known.term)} was committed there`,
      );
    }
  }

  #check(id: string, node: Node): void {
    const { role, term, last, first } = node.core.status();
    if (role !== 'leader') {
      node.led = undefined;
      return;
    }
    // Election Safety
    const other = this.leaders.get(term);
    if (other !== undefined && other !== id) {
      throw new Violation(`Election Safety: ${other} and ${id} lead in term ${String(term)}`);
    }
    if (other === undefined) {
      this.counts.elections++;
      this.leaders.set(term, id);
      // Leader Completeness
      if (last < this.committed.length) {
        throw new Violation(
          `Leader Completeness: ${id} leads term ${String(term)} with a log up to ${String(last)}; ${String(this.committed.length)} are committed`,
        );
      }
    }
    // Leader Append-Only
    if (node.led?.term === term && (last < node.led.last || first > last + 1)) {
      throw new Violation(
        `Leader Append-Only: the log of ${id} shrank from ${String(node.led.last)} to ${String(last)}`,
      );
    }
    node.led = { term, last };
  }
}

/** No faults, in which any can be set. */
export const CALM: Faults = {
  loss: 0,
  duplicate: 0,
  maxDelay: 1,
  stragglers: 0,
  crash: 0,
  maxDowntime: 1,
  partition: 0,
  crashLeader: 0,
  isolateLeader: 0,
  heal: 1,
  maxWriteDelay: 0,
  membership: 0,
  transfer: 0,
  compact: 0,
  snapshotFailure: 0,
};
