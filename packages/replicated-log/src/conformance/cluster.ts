import type { Entry, Index, SnapshotMeta, Term } from '@quorate/durable-log';
import type {
  ConsensusCore,
  CoreStatus,
  Effects,
  Membership,
  MessageCodec,
  Recovered,
  Result,
} from '@quorate/replicated-log';
import { seededRandom } from '@quorate/runtime';
import { strict as assert } from 'node:assert';

/** What a core is made of, for a check. */
export interface CoreSetup {
  readonly id: string;
  /** The first membership; without voters on a node that joins later. */
  readonly membership: Membership;
  /** What its disk holds. */
  readonly recovered: Recovered;
  /** Differs from one start to the next. */
  readonly seed: number;
}

/** The faults of a cluster, as probabilities; times are in ticks. */
export interface Faults {
  readonly loss: number;
  readonly duplication: number;
  readonly maxDelay: number;
  readonly maxSync: number;
}

export const NO_FAULTS: Faults = { loss: 0, duplication: 0, maxDelay: 0, maxSync: 0 };

interface Disk {
  state: Uint8Array;
  entries: Entry[];
  base: Index;
  snapshot: { readonly meta: SnapshotMeta; readonly applied: readonly string[] } | undefined;
  /** The term in which the node was when it wrote its state last. */
  term: number;
}

interface Write<M> {
  readonly effects: Effects<M>;
  readonly install: Disk['snapshot'];
  readonly due: number;
  readonly term: number;
}

interface Member<M> {
  readonly core: ConsensusCore<M>;
  /** Everything applied, one string for each index. */
  applied: string[];
  readonly writes: Write<M>[];
  seq: number;
  restoring: boolean;
}

interface Packet {
  readonly from: string;
  readonly to: string;
  readonly bytes: Uint8Array;
  readonly due: number;
  readonly snapshot: Disk['snapshot'];
}

/**
 * Cores on a network and on disks that do what the seed says, in ticks. It executes effects as the contract orders
 * them, and fails as soon as two nodes apply different entries at one index, an entry is left out, or effects are
 * numbered wrongly.
 */
export class CoreCluster<M> {
  readonly disks = new Map<string, Disk>();
  readonly up = new Map<string, Member<M>>();
  readonly results = new Map<string, Result>();
  /** Where each proposal was applied. */
  readonly indexOf = new Map<string, Index>();
  /** The latest index that some proposer has seen applied. */
  acknowledged = 0;
  faults: Faults = NO_FAULTS;
  /** Whether a message gets from one node to another. */
  connected: (from: string, to: string) => boolean = () => true;
  /** Nodes whose disks do not answer. */
  readonly held = new Set<string>();
  snapshotEvery = Number.POSITIVE_INFINITY;
  readonly random: () => number;
  readonly #log: string[] = [];
  readonly #leaders = new Map<Term, string>();
  readonly #proposedAt = new Map<string, string>();
  #packets: Packet[] = [];
  #now = 0;
  #starts = 0;
  #ids = 0;

  constructor(
    readonly make: (setup: CoreSetup) => ConsensusCore<M>,
    readonly codec: MessageCodec<M>,
    readonly membership: Membership,
    seed: number,
  ) {
    this.random = seededRandom(seed);
    for (const id of membership.voters) this.start(id);
  }

  core(id: string): ConsensusCore<M> {
    const member = this.up.get(id);
    assert.ok(member !== undefined, `node ${id} is up`);
    return member.core;
  }

  /** Starts a node from what its disk holds. */
  start(id: string): void {
    const disk = this.disks.get(id) ?? {
      state: new Uint8Array(),
      entries: [],
      base: 0,
      snapshot: undefined,
      term: 0,
    };
    this.disks.set(id, disk);
    const { state, base, entries, snapshot } = disk;
    const first = this.membership.voters.includes(id);
    const core = this.make({
      id,
      membership: first ? this.membership : { voters: [], learners: [] },
      recovered: {
        loaded: {
          state,
          first: base + 1,
          last: base + entries.length,
          ...(snapshot && { snapshot: snapshot.meta }),
        },
        entries: [...entries],
      },
      seed: Math.floor(this.random() * 2 ** 40) + ++this.#starts,
    });
    assert.ok(core.status().term >= disk.term, `node ${id} remembers the term that it has entered`);
    const applied = [...(snapshot?.applied ?? [])];
    this.up.set(id, { core, applied, writes: [], seq: 0, restoring: false });
    this.#drain(id);
  }

  /** Stops a node; what its disk has not synced is lost. */
  crash(id: string): void {
    this.up.delete(id);
  }

  /** One tick on every node, and what follows from it. */
  tick(count = 1): void {
    for (let left = count; left > 0; left--) {
      this.#now++;
      for (const [id, { core }] of [...this.up]) {
        core.tick();
        this.#drain(id);
      }
      this.#settle();
    }
  }

  /** Ticks until `done`; fails when that takes longer than `limit`. */
  until(what: string, done: () => boolean, limit = 2_000): void {
    for (let left = limit; !done(); left--) {
      assert.ok(left > 0, `within ${String(limit)} ticks: ${what}`);
      this.tick();
    }
  }

  /** The node that leads with the latest term, if a majority follows it. */
  leader(): string | undefined {
    const statuses = [...this.up.values()].map(({ core }) => core.status());
    const [latest] = statuses
      .filter(({ id, leader }) => leader === id)
      .sort((one, other) => other.term - one.term);
    if (latest === undefined) return undefined;
    const { voters } = latest.membership;
    const following = statuses.filter(({ id, leader }) => leader === latest.id && voters.includes(id));
    return following.length * 2 > voters.length ? latest.id : undefined;
  }

  elected(): string {
    this.until('a leader that a majority follows', () => this.leader() !== undefined);
    return this.leader() ?? '';
  }

  /** Proposes a command under an id of its own, which also is the command. */
  propose(at: string): string {
    const id = `${at}/proposal/${String(++this.#ids)}`;
    this.#proposedAt.set(id, at);
    this.core(at).propose([Buffer.from(id)], [id]);
    this.#drain(at);
    return id;
  }

  /** Proposes until it is committed, as a client would. */
  put(at: string): Index {
    let id = this.propose(at);
    this.until(`a command of ${at} is applied there`, () => {
      if (this.results.has(id)) id = this.propose(at);
      const index = this.indexOf.get(id);
      return index !== undefined && this.applied(at) >= index;
    });
    return this.indexOf.get(id) ?? 0;
  }

  /** Asks for a barrier. */
  barrier(at: string): string {
    const id = `${at}/read/${String(++this.#ids)}`;
    this.core(at).readBarrier(id);
    this.#drain(at);
    return id;
  }

  change(at: string, next: Membership): string {
    const id = `${at}/change/${String(++this.#ids)}`;
    this.core(at).changeMembership(next, id);
    this.#drain(at);
    return id;
  }

  transfer(at: string, to: string): void {
    this.core(at).transferLeadership(to);
    this.#drain(at);
  }

  step(to: string, from: string, message: M): void {
    this.core(to).step(from, message);
    this.#drain(to);
  }

  applied(id: string): Index {
    return this.up.get(id)?.applied.length ?? 0;
  }

  /** The messages under way, as bytes. */
  get packets(): readonly Packet[] {
    return this.#packets;
  }

  /** Delivers and writes what is due until nothing more follows. */
  #settle(): void {
    for (let turns = 0; turns < 10_000; turns++) {
      const due = this.#packets.filter((packet) => packet.due <= this.#now);
      this.#packets = this.#packets.filter((packet) => packet.due > this.#now);
      let moved = due.length > 0;
      for (const packet of due) this.#deliver(packet);
      for (const [id, member] of [...this.up]) {
        for (let write = member.writes[0]; write !== undefined; write = member.writes[0]) {
          if (write.due > this.#now || this.held.has(id)) break;
          member.writes.shift();
          moved = true;
          this.#written(id, member, write);
        }
        this.#drain(id);
      }
      if (!moved) return;
    }
    assert.fail('messages go back and forth within one tick without end');
  }

  #deliver({ from, to, bytes, snapshot }: Packet): void {
    const member = this.up.get(to);
    const arrives = member !== undefined && this.connected(from, to) && !member.restoring;
    if (arrives) {
      member.core.step(from, this.codec.decode(bytes));
      this.#drain(to, snapshot);
    }
    if (snapshot === undefined) return;
    this.up.get(from)?.core.reportSnapshot(to, arrives ? 'finished' : 'failed');
    this.#drain(from);
  }

  #send(from: string, to: string, message: M, snapshot?: Disk['snapshot']): void {
    const { loss, duplication, maxDelay } = this.faults;
    const bytes = this.codec.encode(message);
    const copies = this.random() < duplication ? 2 : 1;
    // That a snapshot was lost is told to its sender.
    if (this.random() < loss && snapshot === undefined) return;
    for (let copy = 0; copy < (snapshot === undefined ? copies : 1); copy++) {
      const due = this.#now + Math.floor(this.random() * (maxDelay + 1));
      this.#packets.push({ from, to, bytes, due, snapshot });
    }
  }

  #drain(id: string, arrived?: Disk['snapshot']): void {
    const member = this.up.get(id);
    if (member === undefined) return;
    while (member.core.hasEffects()) {
      const effects = member.core.takeEffects();
      const { term, leader }: CoreStatus = member.core.status();
      if (leader === id) {
        const rival: string = this.#leaders.get(term) ?? id;
        assert.equal(id, rival, `one node leads in term ${String(term)}`);
        this.#leaders.set(term, id);
      }
      assert.equal(effects.seq, ++member.seq, 'effects are numbered one after another');
      for (const { to, message } of effects.sendNow) this.#send(id, to, message);
      for (const to of effects.sendSnapshots) this.#sendSnapshot(id, to);
      if (effects.installSnapshot !== undefined) {
        assert.ok(
          arrived !== undefined,
          'a snapshot is installed in answer to the message that came with it',
        );
        member.restoring = true;
      }
      const install = effects.installSnapshot === undefined ? undefined : arrived;
      const due = this.#now + Math.floor(this.random() * (this.faults.maxSync + 1));
      const write = { effects, install, due, term };
      if (member.writes.length === 0 && due <= this.#now && !this.held.has(id)) {
        this.#written(id, member, write);
      } else {
        member.writes.push(write);
      }
      this.#apply(id, member, effects.committed);
      for (const result of effects.results) this.#result(result);
    }
  }

  #written(id: string, member: Member<M>, { effects, install, term }: Write<M>): void {
    const disk = this.disks.get(id);
    assert.ok(disk !== undefined);
    if (install !== undefined) {
      const { meta } = install;
      const own = disk.entries.find(({ index }) => index === meta.index)?.term;
      if (own !== meta.term) Object.assign(disk, { entries: [], base: meta.index });
      disk.snapshot = install;
      member.applied = [...install.applied];
      member.restoring = false;
      member.core.applied(meta.index);
    }
    const { persist } = effects;
    if (persist?.state !== undefined) Object.assign(disk, { state: persist.state, term });
    const from = Math.min(persist?.truncateFrom ?? Infinity, persist?.entries[0]?.index ?? Infinity);
    if (persist !== undefined && from !== Infinity) {
      assert.ok(from <= disk.base + disk.entries.length + 1, 'entries to write follow those on the disk');
      disk.entries = [...disk.entries.slice(0, Math.max(0, from - disk.base - 1)), ...persist.entries];
    }
    member.core.persisted(effects.seq);
    for (const { to, message } of effects.sendAfterPersist) this.#send(id, to, message);
  }

  #apply(id: string, member: Member<M>, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { index, term, kind, data } = entry;
      assert.equal(index, member.applied.length + 1, `node ${id} applies without gap`);
      const what = `${String(term)} ${kind} ${Buffer.from(data).toString('hex')}`;
      const known = (this.#log[index - 1] ??= what);
      assert.equal(what, known, `all nodes apply the same entry at ${String(index)}`);
      member.applied.push(what);
      if (entry.id === undefined) continue;
      const before = this.indexOf.get(entry.id) ?? index;
      assert.equal(index, before, `proposal ${entry.id} takes effect once`);
      this.indexOf.set(entry.id, index);
      if (this.#proposedAt.get(entry.id) === id) this.acknowledged = Math.max(this.acknowledged, index);
    }
    const last = entries.at(-1)?.index;
    if (last === undefined) return;
    member.core.applied(last);
    const disk = this.disks.get(id);
    if (disk === undefined || last - (disk.snapshot?.meta.index ?? 0) < this.snapshotEvery) return;
    const meta = member.core.snapshotMeta();
    // What is not on the disk yet cannot be cut from it.
    if (meta === undefined || meta.index > disk.base + disk.entries.length) return;
    disk.snapshot = { meta, applied: member.applied.slice(0, meta.index) };
    disk.entries = disk.entries.filter(({ index }) => index > meta.index);
    disk.base = meta.index;
    member.core.compact(meta, meta.index);
  }

  #sendSnapshot(from: string, to: string): void {
    const snapshot = this.disks.get(from)?.snapshot;
    const core = this.core(from);
    const message = snapshot && core.snapshotMessage(to, snapshot.meta);
    if (message === undefined) core.reportSnapshot(to, 'failed');
    else this.#send(from, to, message, snapshot);
  }

  #result(result: Result): void {
    assert.ok(!this.results.has(result.id) || this.#proposedAt.has(result.id), 'a call settles once');
    this.results.set(result.id, result);
  }
}
