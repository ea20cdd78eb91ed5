import { abortable, deadline, sleep } from '@quorate/runtime';
import { strict as assert } from 'node:assert';
import { setImmediate } from 'node:timers/promises';
import type { Message, PeerEvent, Transport } from '../contract.js';

/** What can be written in place of a frame. */
export type GarbageKind = 'random' | 'zero-length' | 'negative-length' | 'oversized' | 'truncated';

/** How somebody can pretend to be a node. */
export type ImpostorKind = 'forged-sender' | 'wrong-cluster';

/** Nodes for one check, and what can be done to the medium between them. Nodes are given by their index. */
export interface ConformanceNetwork {
  /** As many as were asked for, all of whom know each other; not started. */
  readonly nodes: readonly Transport[];
  /** Cuts the connection between two nodes and keeps it cut. */
  sever(a: number, b: number): Promise<void>;
  /** Ends the cut: the two nodes find each other again. */
  restore(a: number, b: number): Promise<void>;
  /** Closes every node and whatever else was opened for them. */
  teardown(): Promise<void>;
  /** Stops a node from taking anything from the medium, so that what is sent to it piles up at the senders. */
  stall?(node: number): Promise<void>;
  /** Ends `stall`. */
  resume?(node: number): Promise<void>;
  /** The bound of a sender's queue to one peer, in bytes. Goes with `stall`. */
  readonly queueBytes?: number;
  /** Counts the connections that exist between two nodes. */
  connections?(a: number, b: number): number;
  /**
   * Writes bytes that are no frame to `to`, on the connection that `from` has with it. `truncated` is the beginning of
   * a frame, after which the connection ends.
   */
  garbage?(from: number, to: number, kind: GarbageKind): Promise<void>;
  /**
   * Starts somebody who says that it is node `claim`, which was closed before, and who lacks its credentials or
   * belongs to another cluster, and lets it try to reach `to`. `refused` resolves when it was turned away.
   */
  impostor?(
    claim: number,
    to: number,
    kind: ImpostorKind,
  ): Promise<{ readonly transport: Transport; readonly refused: Promise<unknown> }>;
}

/** What a check may need of the medium beyond the cutting of connections. */
export type ConformanceHook = 'stall' | 'connections' | 'garbage' | 'impostor';

/** How long a check waits. */
export interface Patience {
  /** Milliseconds after which something that must happen counts as not happening. */
  readonly limitMs: number;
  /** Milliseconds that a medium without order may hold a message back. */
  readonly settleMs: number;
}

/** One check of the kit. */
export interface Check {
  /** Its number in the list of checks. */
  readonly number: number;
  readonly name: string;
  readonly nodes: number;
  readonly needs?: ConformanceHook;
  /** Nodes are left to the check to start. */
  readonly unstarted?: true;
  run(context: CheckContext): Promise<void>;
}

/** What happened, in order, and a way to wait for more of it. */
export class Log<T> {
  readonly items: T[] = [];
  readonly #context: CheckContext;
  #wake: (() => void) | undefined;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  readonly add = (item: T): void => {
    this.items.push(item);
    this.#wake?.();
  };

  /** Waits until `done` holds of the items; fails after the limit. */
  async until(done: (items: readonly T[]) => boolean, what: string): Promise<void> {
    const arrived = (async () => {
      while (!done(this.items)) await new Promise<void>((resolve) => (this.#wake = resolve));
    })();
    await this.#context.within(arrived, `${what}; so far ${String(this.items.length)} arrived`);
  }

  async atLeast(count: number, what: string): Promise<void> {
    await this.until((items) => items.length >= count, `${String(count)} ${what}`);
  }
}

/** A network under check, and the ways to wait for it. */
export class CheckContext {
  constructor(
    readonly network: ConformanceNetwork,
    readonly patience: Patience,
  ) {}

  /** The node of that index; by default the first. */
  node(index = 0): Transport {
    const node = this.network.nodes[index];
    assert.ok(node, `setup made no node ${String(index)}`);
    return node;
  }

  id(index: number): string {
    return this.node(index).self;
  }

  /** Starts the nodes and waits until all see each other, as far as the link tells. */
  async start(nodes: readonly Transport[] = this.network.nodes): Promise<void> {
    const connected = nodes.map((node) => this.peerEvents(node));
    await this.within(Promise.all(nodes.map((node) => node.start())), 'the nodes to start');
    for (const [index, node] of nodes.entries()) {
      if (node.capabilities.peerEvents === 'none') continue;
      const others = nodes.filter((other) => other !== node).map(({ self }) => self);
      await connected[index]?.until(
        (events) => others.every((id) => events.some(({ type, peer }) => type === 'up' && peer === id)),
        `${node.self} to see ${others.join(', ')} up`,
      );
    }
  }

  /** What `promise` resolves to; fails after the limit and says for what it waited. */
  async within<T>(promise: Promise<T>, what: string): Promise<T> {
    const limit = deadline(this.node().runtime, this.patience.limitMs, { what: `waiting for ${what}` });
    try {
      return await abortable(promise, limit.signal);
    } finally {
      limit[Symbol.dispose]();
    }
  }

  log<T>(): Log<T> {
    return new Log<T>(this);
  }

  /** Everything that arrives on a channel. */
  messages(node: Transport, channel: string): Log<Message> {
    const log = this.log<Message>();
    node.subscribe(channel, log.add);
    return log;
  }

  /** Peers coming and going. */
  peerEvents(node: Transport): Log<PeerEvent> {
    const log = this.log<PeerEvent>();
    node.onPeer(log.add);
    return log;
  }

  /** A request that waits for room in the queue. */
  async ask(from: Transport, to: string, channel: string, body: Uint8Array): Promise<Uint8Array> {
    for (;;) {
      try {
        return await from.request(to, channel, body, { timeoutMs: this.patience.limitMs });
      } catch (error) {
        if ((error as { code?: string }).code !== 'OVERLOADED') throw error;
        await this.within(from.writable(to), 'writable');
      }
    }
  }

  /** A message that waits for room in the queue. */
  async tell(from: Transport, to: string, channel: string, body: Uint8Array): Promise<void> {
    for (;;) {
      const outcome = from.send(to, channel, body);
      if (outcome === 'queued') return;
      assert.equal(outcome, 'dropped-full', `sending to ${to}`);
      await this.within(from.writable(to), 'writable');
    }
  }

  /** Returns when what was sent between two nodes before has arrived, or never will. */
  async quiet(from: Transport, to: Transport): Promise<void> {
    for (const [asking, asked] of [
      [from, to],
      [to, from],
    ] as const) {
      const end = asked.respond(BARRIER, ({ body }) => body);
      await this.ask(asking, asked.self, BARRIER, new Uint8Array(0));
      end();
    }
    if (from.capabilities.ordering === 'none') await this.pause(this.patience.settleMs);
    await setImmediate();
  }

  /** For what cannot be waited for because it must not happen. */
  async pause(durationMs: number): Promise<void> {
    await sleep(this.node().runtime, durationMs);
  }
}

const BARRIER = 'conformance-barrier';

/** Checks that a promise rejects with a code, and with the right word on whether the handler ran. */
export async function rejects(
  promise: Promise<unknown>,
  code: string | readonly string[],
  definite?: boolean,
): Promise<void> {
  const codes = typeof code === 'string' ? [code] : code;
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as Error & { readonly code?: string; readonly definite?: boolean },
  );
  assert.ok(error !== undefined, `must fail with ${codes.join(' or ')}, but succeeded`);
  const shown = String(error.stack);
  assert.ok(
    codes.includes(String(error.code)),
    `must fail with ${codes.join(' or ')}, failed with: ${shown}`,
  );
  if (definite !== undefined) assert.equal(error.definite, definite, `definite of: ${shown}`);
}

/** Checks that a call throws at once, with a code. */
export function throwsCode(call: () => unknown, code: string): void {
  try {
    call();
  } catch (error) {
    assert.equal((error as { code?: unknown }).code, code, String(error));
    return;
  }
  assert.fail(`must throw ${code}`);
}

/** A number as a body, and back. */
export function numbered(value: number, size = 4): Uint8Array {
  const body = new Uint8Array(Math.max(4, size));
  new DataView(body.buffer).setUint32(0, value);
  return body;
}

export function numberOf(body: Uint8Array): number {
  return new DataView(body.buffer, body.byteOffset, body.byteLength).getUint32(0);
}

/** Bytes in which a shift, a cut or an overwriting shows. */
export function pattern(size: number, salt = 0): Uint8Array {
  const body = new Uint8Array(size);
  for (let index = 0; index < size; index++) body[index] = (index * 31 + (index >> 8) + salt) & 0xff;
  return body;
}

export function sameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(Buffer.compare(actual, expected), 0, `${what} arrived changed`);
}
