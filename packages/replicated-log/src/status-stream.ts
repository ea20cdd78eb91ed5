import type { CoreStatus, Membership } from './contract.js';

/** The changes of a node's status. A slow reader gets the latest, not all. */
export class StatusStream<S extends CoreStatus> {
  readonly #read: () => S;
  readonly #watchers = new Set<Watcher<S>>();
  #seen: S;
  #ended = false;

  constructor(read: () => S) {
    this.#read = read;
    this.#seen = read();
  }

  /** Looks whether anything changed that somebody may wait for. Costs little while nobody does. */
  update(): void {
    if (this.#watchers.size === 0) return;
    const next = this.#read();
    const changed = !same(next, this.#seen);
    this.#seen = next;
    if (!changed) return;
    for (const watcher of this.#watchers) watcher.offer(next);
  }

  /** The readers get what they have not seen, and end. */
  end(): void {
    this.#ended = true;
    const last = this.#read();
    const changed = !same(last, this.#seen);
    for (const watcher of this.#watchers) {
      if (changed) watcher.offer(last);
      watcher.end();
    }
    this.#watchers.clear();
  }

  watch(): AsyncIterable<S> {
    return {
      [Symbol.asyncIterator]: () => {
        const watcher = new Watcher<S>((gone) => this.#watchers.delete(gone));
        const now = this.#read();
        this.#seen = now;
        watcher.offer(now);
        if (this.#ended) watcher.end();
        else this.#watchers.add(watcher);
        return watcher;
      },
    };
  }
}

/** One reader, with the latest that it has not taken. */
class Watcher<S> implements AsyncIterator<S, undefined> {
  readonly #leave: (watcher: Watcher<S>) => void;
  #latest: S | undefined;
  #ended = false;
  readonly #asking: ((result: IteratorResult<S, undefined>) => void)[] = [];

  constructor(leave: (watcher: Watcher<S>) => void) {
    this.#leave = leave;
  }

  offer(value: S): void {
    const asking = this.#asking.shift();
    if (asking === undefined) this.#latest = value;
    else asking({ done: false, value });
  }

  end(): void {
    this.#ended = true;
    for (const asking of this.#asking.splice(0)) asking({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<S, undefined>> {
    const value = this.#latest;
    if (value !== undefined) {
      this.#latest = undefined;
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#asking.push(resolve));
  }

  return(): Promise<IteratorResult<S, undefined>> {
    this.#leave(this);
    this.#latest = undefined;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** It is asked after every message, and a core goes on giving the lists that it had: what is the same is not looked into. */
function same(one: CoreStatus, other: CoreStatus): boolean {
  return (
    one.role === other.role &&
    one.term === other.term &&
    one.leader === other.leader &&
    sameMembership(one.membership, other.membership)
  );
}

function sameMembership(one: Membership, other: Membership): boolean {
  const { voters, outgoing, learners, witnesses } = one;
  const identical =
    voters === other.voters &&
    outgoing === other.outgoing &&
    learners === other.learners &&
    witnesses === other.witnesses;
  return identical || JSON.stringify(one) === JSON.stringify(other);
}
