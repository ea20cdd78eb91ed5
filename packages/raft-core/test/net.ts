import type { Entry } from '@quorate/durable-log';
import type { Effects, Membership, Result } from '@quorate/replicated-log';
import { createRaft, type RaftCore, type RaftMessage, type RaftOptions } from '@quorate/raft-core';

interface Sent {
  readonly from: string;
  readonly to: string;
  readonly message: RaftMessage;
}

/**
 * Raft nodes whose messages go where a test lets them, in order and at once. Disks are immediate unless `hold` names a
 * node; then its writes wait for {@link Net.release}.
 */
export class Net {
  readonly nodes = new Map<string, RaftCore>();
  readonly committed = new Map<string, Entry[]>();
  readonly results = new Map<string, Result[]>();
  /** Every message that was sent, delivered or not. */
  readonly sent: Sent[] = [];
  /** Whether a message gets through. */
  allow: (sent: Sent) => boolean = () => true;
  /** Nodes whose disks do not answer. */
  readonly hold = new Set<string>();
  readonly #held = new Map<string, Effects<RaftMessage>[]>();
  #queue: Sent[] = [];

  constructor(ids: readonly string[], options: Partial<RaftOptions> = {}, membership?: Membership) {
    for (const [at, id] of ids.entries()) {
      const members = membership ?? { voters: ids, learners: [] };
      this.add(createRaft({ id, seed: at + 1, membership: members, ...options }));
    }
  }

  add(core: RaftCore): void {
    this.nodes.set(core.id, core);
    this.committed.set(core.id, []);
    this.results.set(core.id, []);
  }

  node(id: string): RaftCore {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Delivers until nothing moves. */
  run(): void {
    for (;;) {
      for (const id of this.nodes.keys()) this.#take(id);
      const next = this.#queue.shift();
      if (next === undefined) return;
      if (this.allow(next)) this.nodes.get(next.to)?.step(next.from, next.message);
    }
  }

  /** Lets time pass on the nodes named, or on all. */
  tick(count: number, ...ids: string[]): void {
    for (let tick = 0; tick < count; tick++) {
      for (const [id, node] of this.nodes) if (ids.length === 0 || ids.includes(id)) node.tick();
      this.run();
    }
  }

  elect(id: string): void {
    this.node(id).campaign();
    this.run();
  }

  propose(id: string, ...commands: string[]): void {
    this.node(id).propose(
      commands.map((command) => Buffer.from(command)),
      commands.map((command) => `${id}/${command}`),
    );
    this.run();
  }

  /** The commands that a node has committed. */
  commands(id: string): string[] {
    return (this.committed.get(id) ?? [])
      .filter(({ kind }) => kind === 'command')
      .map(({ data }) => Buffer.from(data).toString());
  }

  /** Ends the writes that a disk held back. */
  release(id: string): void {
    this.hold.delete(id);
    for (const effects of this.#held.get(id)?.splice(0) ?? []) this.#persisted(id, effects);
    this.run();
  }

  #take(id: string): void {
    const node = this.node(id);
    while (node.hasEffects()) {
      const effects = node.takeEffects();
      this.#post(id, effects.sendNow);
      this.results.get(id)?.push(...effects.results);
      if (this.hold.has(id)) {
        const held = this.#held.get(id) ?? [];
        held.push(effects);
        this.#held.set(id, held);
      } else {
        this.#persisted(id, effects);
      }
      const last = effects.committed.at(-1);
      if (last !== undefined) {
        this.committed.get(id)?.push(...effects.committed);
        node.applied(last.index);
      }
    }
  }

  #persisted(id: string, effects: Effects<RaftMessage>): void {
    this.node(id).persisted(effects.seq);
    if (effects.installSnapshot !== undefined) this.node(id).applied(effects.installSnapshot.index);
    this.#post(id, effects.sendAfterPersist);
  }

  #post(from: string, envelopes: Effects<RaftMessage>['sendNow']): void {
    for (const { to, message } of envelopes) {
      const sent = { from, to, message };
      this.sent.push(sent);
      this.#queue.push(sent);
    }
  }
}

/** A node with a log of entries with these terms, in the last of them unless told otherwise. */
export function withLog(
  id: string,
  voters: readonly string[],
  terms: readonly number[],
  options: Partial<RaftOptions> & { readonly term?: number } = {},
): RaftCore {
  const entries = terms.map((term, at): Entry => ({
    index: at + 1,
    term,
    kind: 'command',
    data: Buffer.from(`${String(term)}.${String(at + 1)}`),
  }));
  const { term, ...rest } = options;
  const core = createRaft({
    id,
    seed: 7,
    membership: { voters, learners: [] },
    recovered: { loaded: { state: new Uint8Array(), first: 1, last: entries.length }, entries },
    ...rest,
  });
  // A refused append of a later term brings a node into it.
  if (term !== undefined) {
    core.step('nobody', { type: 'vote-reply', term, commit: 0, commitTerm: 0, pre: false, granted: false });
  }
  return core;
}
