import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createMembership, createRing, type Membership, type Ring, TOKENS } from '@quorate/hash-ring';
import { randomId, systemRuntime } from '@quorate/runtime';
import { createTransport, type NodeId, type Transport } from '@quorate/transport';
import { createTcpLink, type TcpLink } from '@quorate/transport/tcp';
import { call, entriesOf, type Entry } from './protocol.js';

export const REPLICAS = 2;
const POINTS_PER_WEIGHT = 40;

/** The coordinator's side: it starts and kills node processes, and follows who is there. */
export class Cluster implements AsyncDisposable {
  readonly #settings = { clusterId: randomId(systemRuntime), secret: randomId(systemRuntime) };
  readonly #processes = new Map<NodeId, ChildProcess>();
  readonly #addresses = new Map<NodeId, string>();
  readonly #link: TcpLink;
  readonly transport: Transport;
  readonly membership: Membership<Ring>;

  constructor() {
    this.#link = createTcpLink({
      self: 'coordinator',
      clusterId: this.#settings.clusterId,
      auth: { secret: this.#settings.secret },
    });
    this.transport = createTransport(this.#link);
    // Everything is on one machine: what takes seconds in earnest takes fractions of one here.
    this.membership = createMembership(createRing([], { pointsPerWeight: POINTS_PER_WEIGHT }), {
      joinAfterMs: 200,
      leaveAfterMs: 300,
      batchMs: 300,
    });
  }

  async start(nodes: readonly NodeId[]): Promise<void> {
    await this.transport.start();
    this.membership.follow(this.transport);
    await Promise.all(nodes.map((node) => this.join(node)));
  }

  /** Starts a node; the membership notices it when it is connected. */
  async join(node: NodeId): Promise<void> {
    const child = fork(fileURLToPath(new URL('node.ts', import.meta.url)), { stdio: 'inherit' });
    this.#processes.set(node, child);
    child.send({ self: node, ...this.#settings });
    const [address] = (await once(child, 'message')) as [string];
    this.#addresses.set(node, address);
    this.#tellAddresses();
  }

  /** Ends a node the hard way: no goodbye, and its memory is gone. */
  async kill(node: NodeId): Promise<void> {
    const child = this.#processes.get(node);
    if (child === undefined) throw new Error(`no process of ${node}`);
    this.#processes.delete(node);
    this.#addresses.delete(node);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    this.#tellAddresses();
  }

  /** The placement once the membership has settled on exactly these nodes. */
  async settled(nodes: readonly NodeId[]): Promise<Ring> {
    for (;;) {
      const { current } = this.membership;
      if (current.nodes.length === nodes.length && nodes.every((id) => current.node(id) !== undefined))
        return current;
      await new Promise<void>((resolve) => {
        const stop = this.membership.onChange(() => {
          stop();
          resolve();
        });
      });
    }
  }

  /** Stores an entry on nodes; resolves when all have it. */
  async put(nodes: Iterable<NodeId>, entries: readonly Entry[]): Promise<void> {
    await Promise.all([...nodes].map((node) => call(this.transport, node, 'put', { entries })));
  }

  /** All that a node has. */
  async contents(node: NodeId): Promise<Map<string, Entry>> {
    const contents = new Map<string, Entry>();
    for await (const page of entriesOf(this.transport, node, { start: 0, end: TOKENS - 1 })) {
      for (const entry of page) contents.set(entry.key, entry);
    }
    return contents;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.membership.close();
    await this.transport.close();
    await Promise.all(
      [...this.#processes.values()].map(async (child) => {
        const exited = once(child, 'exit');
        child.disconnect();
        await exited;
      }),
    );
  }

  #tellAddresses(): void {
    const addresses = Object.fromEntries(this.#addresses);
    this.#link.setPeers(addresses);
    for (const child of this.#processes.values()) if (child.connected) child.send(addresses);
  }
}
