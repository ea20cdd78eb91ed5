import {
  type Membership,
  type NodeOptions,
  type ReplicatedLog,
  startNode,
  type StateMachine,
} from '@quorate/replicated-log';
import {
  createRaft,
  raftCodec,
  type RaftMessage,
  type RaftOptions,
  type RaftStatus,
} from '@quorate/raft-core';
import { createVirtualRuntime, type VirtualRuntime } from '@quorate/runtime/virtual';
import {
  createMemoryNetwork,
  createTransport,
  type Link,
  type MemoryNetwork,
  type Transport,
} from '@quorate/transport';
import { Disk } from './node-disk.js';

export interface ClusterOptions<R, Q, A> {
  readonly machine: (id: string) => StateMachine<R, Q, A>;
  readonly witnesses?: readonly string[];
  readonly nodes?: readonly string[];
  readonly raft?: Partial<RaftOptions>;
  readonly node?: Partial<NodeOptions<RaftMessage, RaftStatus, R, Q, A>>;
  readonly seed?: number;
  readonly maxPayload?: number;
  /** Puts something between a node and its link. */
  readonly link?: (link: Link, runtime: VirtualRuntime) => Link;
}

interface Member<R, Q, A> {
  readonly log: ReplicatedLog<R, Q, A, RaftStatus>;
  readonly transport: Transport;
  readonly machine: StateMachine<R, Q, A>;
}

/** Nodes in one process, in virtual time, over a memory network and disks that survive them. */
export class Cluster<R, Q, A> {
  readonly runtime: VirtualRuntime;
  readonly network: MemoryNetwork;
  readonly disks = new Map<string, Disk>();
  readonly members = new Map<string, Member<R, Q, A>>();
  readonly #options: ClusterOptions<R, Q, A>;
  readonly membership: Membership;

  constructor(options: ClusterOptions<R, Q, A>) {
    this.#options = options;
    this.runtime = createVirtualRuntime({ seed: options.seed ?? 1 });
    const { runtime } = this;
    this.network = createMemoryNetwork({
      runtime,
      latencyMs: 1,
      ...(options.maxPayload && { maxPayload: options.maxPayload }),
    });
    const { nodes: voters = ['a', 'b', 'c'], witnesses } = options;
    this.membership = { voters, learners: [], ...(witnesses && { witnesses }) };
  }

  static async start<R, Q, A>(options: ClusterOptions<R, Q, A>): Promise<Cluster<R, Q, A>> {
    const cluster = new Cluster(options);
    for (const id of cluster.membership.voters) await cluster.up(id);
    return cluster;
  }

  /** Starts a node, for the first time or again. A node that is no first member learns the membership. */
  async up(id: string): Promise<ReplicatedLog<R, Q, A, RaftStatus>> {
    const { runtime } = this;
    const disk = this.disks.get(id) ?? new Disk(runtime);
    this.disks.set(id, disk);
    const plain = this.network.link(id);
    const transport = createTransport(this.#options.link?.(plain, runtime) ?? plain, { runtime });
    const machine = this.#options.machine(id);
    const first = this.membership.voters.includes(id);
    const log = await startNode({
      core: (recovered, seed) =>
        createRaft({
          id,
          membership: first ? this.membership : { voters: [], learners: [] },
          recovered,
          seed,
          ...this.#options.raft,
        }),
      codec: raftCodec({ group: 'test' }),
      transport,
      storage: disk.open(),
      stateMachine: machine,
      ...this.#options.node,
    });
    await transport.start();
    this.members.set(id, { log, transport, machine });
    return log;
  }

  /** The process dies: what is not synced is lost. */
  async crash(id: string): Promise<void> {
    this.disks.get(id)?.crash();
    await this.down(id);
  }

  async down(id: string): Promise<void> {
    const { log, transport } = this.member(id);
    this.members.delete(id);
    const closed = Promise.all([transport.close({ drainMs: 0 }), log.close()]);
    await this.settled(closed);
  }

  member(id: string): Member<R, Q, A> {
    const member = this.members.get(id);
    if (member === undefined) throw new Error(`node ${id} is down`);
    return member;
  }

  log(id: string): ReplicatedLog<R, Q, A, RaftStatus> {
    return this.member(id).log;
  }

  /** Lets time pass until the promise settles, and gives its value. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    promise.then(end, end);
    await this.runtime.runUntil(() => over, 120_000);
    return promise;
  }

  /** The one that leads by its own account, with the latest term. */
  leader(): string | undefined {
    const leaders = [...this.members.values()]
      .map(({ log }) => log.status())
      .filter(({ role }) => role === 'leader');
    return leaders.sort((one, other) => other.term - one.term)[0]?.id;
  }

  async elected(): Promise<string> {
    await this.runtime.runUntil(() => {
      const id = this.leader();
      return id !== undefined && this.agree(id);
    }, 60_000);
    return this.leader() ?? '';
  }

  /** Cuts a node off from all others. */
  isolate(id: string): void {
    for (const other of this.disks.keys()) if (other !== id) this.network.sever(id, other);
  }

  heal(id: string): void {
    for (const other of this.disks.keys()) if (other !== id) this.network.restore(id, other);
  }

  others(id: string): string[] {
    return [...this.members.keys()].filter((other) => other !== id);
  }

  async close(): Promise<void> {
    for (const id of [...this.members.keys()]) await this.down(id);
  }

  private agree(id: string): boolean {
    const { voters } = this.log(id).status().membership;
    const knowing = voters.filter((voter) => this.members.get(voter)?.log.status().leader === id);
    return knowing.length * 2 > voters.length && this.log(id).status().commit > 0;
  }
}
