import { createFileLog } from '@quorate/durable-log/file';
import type { ReplicatedLog, Session } from '@quorate/replicated-log';
import { startNode } from '@quorate/replicated-log';
import type { KvAnswer, KvQuery, KvResult } from '@quorate/replicated-log/kv';
import { createRaft, raftCodec, type RaftOptions, type RaftStatus } from '@quorate/raft-core';
import { SimDiskError, type SimNode, type SimProcess, type Simulation } from '@quorate/simulator';
import { createTransport } from '@quorate/transport';
import { Oracle } from './oracle.js';

/** What a run of {@link Stack} is made of. */
export interface StackOptions {
  readonly nodes: readonly string[];
  /** The first voters; the other nodes start without a membership. */
  readonly founders: readonly string[];
  readonly raft: Partial<RaftOptions>;
  readonly tickMs: number;
  readonly snapshotEntries: number;
  readonly keepEntries: number;
  readonly segmentBytes: number;
}

export type KvLog = ReplicatedLog<KvResult, KvQuery, KvAnswer, RaftStatus>;

/** One life of a node. Whoever waits for it waits for `gone` too: what it had under way never settles. */
export interface Life {
  readonly log: KvLog;
  readonly gone: Promise<void>;
  readonly session: Promise<Session<KvResult> | undefined>;
}

/**
 * The stack as it is published, on simulated machines: file logs on simulated disks, `createTransport` over the
 * simulated link, `startNode` with raft, and the key-value machine. A supervisor restarts nodes that stopped.
 */
export class Stack {
  readonly oracle = new Oracle();
  readonly lives = new Map<string, Life>();
  readonly counts = { crashes: 0, stops: 0, boots: 0 };
  readonly #ends = new Map<string, () => void>();
  /** Nodes whose disk has failed calls: an error of a start is excused. */
  readonly #suspect = new Set<string>();

  constructor(
    readonly simulation: Simulation,
    readonly options: StackOptions,
  ) {
    simulation.invariant('raft', () => {
      const { violation } = this.oracle;
      return violation && `${violation.property}: ${violation.what}`;
    });
    for (const id of options.nodes) simulation.node(id, (process) => this.#boot(process));
  }

  node(id: string): SimNode {
    const node = this.simulation.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** The life of a node that can be called: up, started and not paused. */
  life(id: string | undefined): Life | undefined {
    if (id === undefined) return undefined;
    const { up, paused } = this.node(id);
    return up && !paused ? this.lives.get(id) : undefined;
  }

  crash(id: string): void {
    const node = this.node(id);
    if (!node.up) return;
    this.counts.crashes++;
    node.resume();
    node.crash();
    this.lives.delete(id);
    this.#ends.get(id)?.();
    this.#ends.delete(id);
  }

  restart(id: string): void {
    const node = this.node(id);
    if (!node.up) node.start();
  }

  suspect(id: string): void {
    this.#suspect.add(id);
  }

  /** Who leads by its own account, in the latest term. */
  leader(): string | undefined {
    let best: RaftStatus | undefined;
    for (const { log } of this.lives.values()) {
      const status = log.status();
      if (status.role === 'leader' && status.term > (best?.term ?? 0)) best = status;
    }
    return best?.id;
  }

  async #boot({ id, runtime, link, fileSystem }: SimProcess): Promise<void> {
    this.counts.boots++;
    const { options, oracle } = this;
    const gone = new Promise<void>((resolve) => this.#ends.set(id, resolve));
    const voters = options.founders.includes(id) ? options.founders : [];
    const transport = createTransport(link, { runtime });
    try {
      const log = await startNode({
        core: (recovered, seed) =>
          oracle.watch(
            createRaft({ id, seed, membership: { voters, learners: [] }, recovered, ...options.raft }),
            recovered,
          ),
        codec: raftCodec({ group: 'sim' }),
        transport,
        storage: createFileLog({
          directory: '/log',
          fileSystem,
          runtime,
          segmentBytes: options.segmentBytes,
          groupBytes: 2_048,
        }),
        stateMachine: oracle.machine(id),
        tickMs: options.tickMs,
        snapshotEntries: options.snapshotEntries,
        keepEntries: options.keepEntries,
        snapshotChunkBytes: 256,
        snapshotChunkTimeoutMs: 300,
      });
      await transport.start();
      log.stopped.addEventListener('abort', () => {
        this.#stopped(id, log.stopped.reason);
      });
      const session = log.openSession({ timeoutMs: 3_000, ttlMs: 5_000 }).catch(() => undefined);
      this.lives.set(id, { log, gone, session });
    } catch (error) {
      this.#stopped(id, error);
    }
  }

  /** A node ends by itself only where its disk failed it. */
  #stopped(id: string, error: unknown): void {
    this.counts.stops++;
    if (!this.#suspect.has(id) || !isDiskError(error)) {
      this.simulation.fail('node', `${id} stopped: ${describe(error)}`, error);
      return;
    }
    this.simulation.after(20 + this.simulation.random() * 100, () => {
      this.crash(id);
      this.restart(id);
    });
  }
}

function isDiskError(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) if (one instanceof SimDiskError) return true;
  return false;
}

function describe(error: unknown): string {
  const parts: string[] = [];
  for (let one = error; one instanceof Error; one = one.cause) parts.push(one.stack ?? one.message);
  return parts.join('\ncaused by ');
}
