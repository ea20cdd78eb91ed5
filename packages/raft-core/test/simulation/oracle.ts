import type { Entry, Index, Term } from '@quorate/durable-log';
import type { AppliedCommand, ConsensusCore, Effects, Recovered } from '@quorate/replicated-log';
import type { RaftCore, RaftMessage, RaftStatus } from '@quorate/raft-core';
import { type KvResult, KvMachine } from '@quorate/replicated-log/kv';

/** What a node's log must look like, by what it asked to be written. */
interface Mirror {
  /** The entry before the first. */
  base: { readonly index: Index; readonly term: Term };
  terms: Term[];
  /** The term in which it leads, and how long its log was then. */
  led: { readonly term: Term; readonly last: Index } | undefined;
}

interface Committed {
  readonly term: Term;
  /** The term of the node that was the first to say so: it was committed in that one or before. */
  readonly committedIn: Term;
  readonly content: Content;
}

/** What an entry says. A witness has commands without their data, so that it is unknown until another node shows it. */
interface Content {
  readonly head: string;
  data: string | undefined;
}

/**
 * Watches every node of a cluster and knows what none of them may do: the five properties of Figure 3 of the raft
 * paper, looked at after every step of every core, that reads see what was committed, and that state machines answer
 * alike. What it finds first is in
 * {@link Oracle.violation}.
 */
export class Oracle {
  violation: { readonly property: string; readonly what: string } | undefined;
  readonly counts = { elections: 0, committed: 0, installed: 0, truncated: 0, configurations: 0, reads: 0 };
  readonly #leaders = new Map<Term, string>();
  /** By index and term: the content, and the term of the entry before. Log Matching follows by induction. */
  readonly #entries = new Map<string, { readonly content: Content; readonly prevTerm: Term | undefined }>();
  readonly #committed: Committed[] = [];
  readonly #results: string[] = [];
  /** Read barriers that are open, with what was committed when they were asked for. */
  readonly #reads = new Map<string, Index>();

  readonly #witnesses: ReadonlySet<string>;

  constructor(witnesses: readonly string[] = []) {
    this.#witnesses = new Set(witnesses);
  }

  /** The index of the last entry that is known to be committed. */
  get committed(): Index {
    return this.#committed.length;
  }

  /** A core to be run in place of `core`, which has recovered what is given. */
  watch(core: RaftCore, { loaded, entries }: Recovered): ConsensusCore<RaftMessage, RaftStatus> {
    const [first] = entries;
    const known = loaded.snapshot?.index === loaded.first - 1 ? loaded.snapshot : undefined;
    const mirror: Mirror = {
      base:
        first !== undefined && loaded.first > 1 && known === undefined
          ? { index: first.index, term: first.term }
          : { index: loaded.first - 1, term: known?.term ?? 0 },
      terms: [],
      led: undefined,
    };
    for (const entry of entries) if (entry.index > mirror.base.index) this.#append(core.id, mirror, entry);
    return new WatchedCore(core, {
      took: (effects) => {
        this.#took(core, mirror, effects);
      },
      asked: (id) => {
        // A barrier that is asked for again keeps what was true when its user called.
        if (!this.#reads.has(id)) this.#reads.set(id, this.committed);
      },
    });
  }

  /** A key-value machine whose answers must be those of every other node. */
  machine(id: string): KvMachine {
    return new WatchedMachine((index, result) => {
      const said = JSON.stringify(result);
      const known = this.#results[index];
      if (known === undefined) this.#results[index] = said;
      else if (known !== said) {
        this.#report(
          'State Machine Safety',
          `${id} answers ${said} at ${String(index)}; another said ${known}`,
        );
      }
    });
  }

  #report(property: string, what: string): void {
    this.violation ??= { property, what };
  }

  #took(core: RaftCore, mirror: Mirror, effects: Effects<RaftMessage>): void {
    const { id } = core;
    const { role, term, last } = core.status();
    const { installSnapshot, persist, committed } = effects;
    if (installSnapshot !== undefined) {
      this.counts.installed++;
      mirror.base = { index: installSnapshot.index, term: installSnapshot.term };
      mirror.terms = [];
    }
    if (persist?.truncateFrom !== undefined) {
      this.counts.truncated++;
      if (mirror.led?.term === term && role === 'leader')
        this.#report(
          'Leader Append-Only',
          `${id} removes entries from ${String(persist.truncateFrom)} on while it leads`,
        );
      mirror.terms.length = Math.max(0, persist.truncateFrom - 1 - mirror.base.index);
    }
    for (const entry of persist?.entries ?? []) this.#append(id, mirror, entry);
    for (const result of effects.results) {
      const floor = this.#reads.get(result.id);
      if (!result.ok || floor === undefined) continue;
      this.#reads.delete(result.id);
      this.counts.reads++;
      if (result.index < floor) {
        this.#report(
          'Linearizable reads',
          `${id} may read at ${String(result.index)}; ${String(floor)} was committed before it asked`,
        );
      }
    }
    for (const entry of committed) this.#commit(id, term, entry);
    if (role === 'leader') this.#leads(id, term, last, mirror);
    else mirror.led = undefined;
  }

  #leads(id: string, term: Term, last: Index, mirror: Mirror): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== id) {
      this.#report('Election Safety', `${other} and ${id} lead in term ${String(term)}`);
    }
    if (mirror.led?.term === term && last < mirror.led.last) {
      this.#report(
        'Leader Append-Only',
        `the log of ${id} shrank from ${String(mirror.led.last)} to ${String(last)}`,
      );
    }
    if (mirror.led?.term !== term) {
      if (other === undefined) this.counts.elections++;
      this.#leaders.set(term, id);
      // By Log Matching the last entry that was committed in an earlier term stands for those before.
      let index = this.#committed.length;
      while (index > 0 && (this.#committed[index - 1]?.committedIn ?? 0) >= term) index--;
      const wanted = this.#committed[index - 1]?.term;
      const own =
        index === mirror.base.index ? mirror.base.term : mirror.terms[index - mirror.base.index - 1];
      if (index > mirror.base.index && own !== wanted) {
        this.#report(
          'Leader Completeness',
          `${id} leads term ${String(term)} without entry ${String(index)} of term ${String(wanted)}, which is committed`,
        );
      }
    }
    mirror.led = { term, last };
  }

  #append(id: string, mirror: Mirror, entry: Entry): void {
    const { base, terms } = mirror;
    if (entry.index !== base.index + terms.length + 1) {
      this.#report(
        'Log Matching',
        `${id} writes entry ${String(entry.index)} behind ${String(base.index + terms.length)}`,
      );
    }
    const prevTerm = terms.at(-1) ?? base.term;
    terms.push(entry.term);
    const name = `${String(entry.index)}/${String(entry.term)}`;
    const content = this.#contentOf(id, entry);
    const known = this.#entries.get(name);
    if (known === undefined) this.#entries.set(name, { content, prevTerm });
    else if (!agree(known.content, content) || known.prevTerm !== prevTerm)
      this.#report('Log Matching', `two logs differ at or before entry ${name}; ${id} has the second`);
  }

  #contentOf(node: string, { kind, id = '', data }: Entry): Content {
    const unknown = kind === 'command' && this.#witnesses.has(node);
    return { head: `${kind} ${id}`, data: unknown ? undefined : Buffer.from(data).toString('latin1') };
  }

  #commit(id: string, committedIn: Term, entry: Entry): void {
    const content = this.#contentOf(id, entry);
    const known = this.#committed[entry.index - 1];
    if (known === undefined) {
      if (entry.index !== this.#committed.length + 1) {
        this.#report(
          'State Machine Safety',
          `${id} commits ${String(entry.index)} while ${String(this.#committed.length)} are known`,
        );
      }
      this.#committed.push({ term: entry.term, committedIn, content });
      this.counts.committed++;
      if (entry.kind === 'config') this.counts.configurations++;
    } else if (known.term !== entry.term || !agree(known.content, content)) {
      this.#report(
        'State Machine Safety',
        `${id} commits another entry at ${String(entry.index)}, of term ${String(entry.term)}; there was one of term ${String(known.term)}`,
      );
    }
  }
}

/** Whether two nodes have the same entry, as far as both know it; from then on both know what one of them does. */
function agree(known: Content, found: Content): boolean {
  known.data ??= found.data;
  return known.head === found.head && (found.data === undefined || known.data === found.data);
}

class WatchedMachine extends KvMachine {
  constructor(readonly answered: (index: Index, result: KvResult) => void) {
    super();
  }

  override apply(commands: readonly AppliedCommand[]): readonly KvResult[] {
    const results = super.apply(commands);
    for (const [at, result] of results.entries()) this.answered(commands[at]?.index ?? 0, result);
    return results;
  }
}

/** Hands everything on, and shows what was asked and what was taken. */
class WatchedCore implements ConsensusCore<RaftMessage, RaftStatus> {
  readonly id: string;

  constructor(
    readonly core: RaftCore,
    readonly watcher: { took(effects: Effects<RaftMessage>): void; asked(id: string): void },
  ) {
    this.id = core.id;
  }

  reportStall: RaftCore['reportStall'] = () => this.core.reportStall();
  tick: RaftCore['tick'] = () => this.core.tick();
  step: RaftCore['step'] = (...given) => this.core.step(...given);
  propose: RaftCore['propose'] = (...given) => this.core.propose(...given);
  changeMembership: RaftCore['changeMembership'] = (...given) => this.core.changeMembership(...given);
  transferLeadership: RaftCore['transferLeadership'] = (...given) => this.core.transferLeadership(...given);
  reportUnreachable: RaftCore['reportUnreachable'] = (...given) => this.core.reportUnreachable(...given);
  reportSnapshot: RaftCore['reportSnapshot'] = (...given) => this.core.reportSnapshot(...given);
  snapshotMessage: RaftCore['snapshotMessage'] = (...given) => this.core.snapshotMessage(...given);
  hasEffects: RaftCore['hasEffects'] = () => this.core.hasEffects();
  persisted: RaftCore['persisted'] = (...given) => this.core.persisted(...given);
  applied: RaftCore['applied'] = (...given) => this.core.applied(...given);
  snapshotMeta: RaftCore['snapshotMeta'] = () => this.core.snapshotMeta();
  compact: RaftCore['compact'] = (...given) => this.core.compact(...given);
  status: RaftCore['status'] = () => this.core.status();

  readBarrier(...given: Parameters<RaftCore['readBarrier']>): void {
    this.watcher.asked(given[0]);
    this.core.readBarrier(...given);
  }

  takeEffects(): Effects<RaftMessage> {
    const effects = this.core.takeEffects();
    this.watcher.took(effects);
    return effects;
  }
}
