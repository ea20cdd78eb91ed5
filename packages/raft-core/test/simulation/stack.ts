import { createFileLog } from '@quorate/durable-log/file';
import {
  type ReplicatedLog,
  type Session,
  startNode,
  type StateMachine,
  witnessMachine,
} from '@quorate/replicated-log';
import type { KvAnswer, KvQuery, KvResult } from '@quorate/replicated-log/kv';
import { type createRaft, raftCodec, type RaftOptions, type RaftStatus } from '@quorate/raft-core';
import { SimDiskError, type SimNode, type SimProcess, type Simulation } from '@quorate/simulator';
import { createTransport } from '@quorate/transport';
import { Oracle } from './oracle.js';

/** What a run of {@link Stack} is made of. */
export interface StackOptions {
  readonly nodes: readonly string[];
  /** The first voters; the other nodes start without a membership. */
  readonly founders: readonly string[];
  /** Nodes that are witnesses whenever they are voters. */
  readonly witnesses: readonly string[];
  readonly raft: Partial<RaftOptions>;
  readonly tickMs: number;
  readonly snapshotEntries: number;
  readonly keepEntries: number;
  readonly segmentBytes: number;
  /** Makes the cores; another one than raft where a bug was planted into it. */
  readonly create: typeof createRaft;
}

/** One life of a node. */
export interface Life {
  /** A write at a witness resolves with nothing. */
  readonly log: ReplicatedLog<KvResult, KvQuery, KvAnswer, RaftStatus>;
  readonly session: Promise<Session<KvResult> | undefined>;
}

/**
 * The stack as it is published, on simulated machines: file logs on simulated disks, `createTransport` over the
 * simulated link, `startNode` with raft, and the key-value machine. A supervisor starts nodes again that gave up
 * because of their disks; no other reason to give up is accepted.
 */
export class Stack {
  readonly oracle: Oracle;
  readonly #lives = new Map<string, Life>();

  constructor(
    readonly simulation: Simulation,
    readonly options: StackOptions,
  ) {
    this.oracle = new Oracle(options.witnesses);
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
    return up && !paused ? this.#lives.get(id) : undefined;
  }

  /** Who leads by its own account, in the latest term. */
  leader(): string | undefined {
    let best: RaftStatus | undefined;
    for (const [id, { log }] of this.#lives) {
      if (!this.node(id).up) continue;
      const status = log.status();
      if (status.role === 'leader' && status.term > (best?.term ?? 0)) best = status;
    }
    return best?.id;
  }

  async #boot(process: SimProcess): Promise<void> {
    const { id, runtime, link, fileSystem } = process;
    this.#lives.delete(id);
    const { options, oracle } = this;
    const voters = options.founders.includes(id) ? options.founders : [];
    const witnesses = options.witnesses.filter((one) => voters.includes(one));
    const membership = { voters, learners: [], ...(witnesses.length > 0 && { witnesses }) };
    const transport = createTransport(link, { runtime });
    try {
      const log = await startNode({
        core: (recovered, seed) =>
          oracle.watch(options.create({ id, seed, membership, recovered, ...options.raft }), recovered),
        codec: raftCodec({ group: 'sim' }),
        transport,
        storage: createFileLog({
          directory: '/log',
          fileSystem,
          runtime,
          segmentBytes: options.segmentBytes,
          groupBytes: 2_048,
        }),
        stateMachine: options.witnesses.includes(id)
          ? (witnessMachine() as unknown as StateMachine<KvResult, KvQuery, KvAnswer>)
          : oracle.machine(id),
        tickMs: options.tickMs,
        snapshotEntries: options.snapshotEntries,
        keepEntries: options.keepEntries,
        snapshotChunkBytes: 256,
        snapshotChunkTimeoutMs: 300,
      });
      await transport.start();
      log.stopped.addEventListener('abort', () => {
        this.#gaveUp(process, log.stopped.reason);
      });
      if (log.stopped.aborted) {
        this.#gaveUp(process, log.stopped.reason);
        return;
      }
      const session = log.openSession({ timeoutMs: 3_000, ttlMs: 5_000 }).catch(() => undefined);
      this.#lives.set(id, { log, session });
    } catch (error) {
      this.#gaveUp(process, error);
    }
  }

  #gaveUp(process: SimProcess, error: unknown): void {
    const { id } = process;
    if (!isDiskError(error)) {
      this.simulation.fail('node', `${id} stopped: ${describe(error)}`, error);
      return;
    }
    process.exit();
    this.simulation.after(100, () => {
      const node = this.node(id);
      if (!node.up) node.start();
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
