import {
  createLocks,
  type Lease,
  type LockBackend,
  type LockMode,
  type Locks,
  type ReadWriteLease,
} from '@quorate/distributed-lock';
import { LockHistory } from '@quorate/distributed-lock/conformance';
import { replicatedLockSpace } from '@quorate/distributed-lock/replicated-log';
import { createFileLog } from '@quorate/durable-log/file';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { LockMachine } from '@quorate/replicated-log/lock';
import { type Runtime, sleep } from '@quorate/runtime';
import type { SimProcess, Simulation } from '@quorate/simulator';
import { createTransport } from '@quorate/transport';

/** What a run of {@link LockStack} is made of. */
export interface LockStackOptions {
  readonly nodes: readonly string[];
  readonly leaseMs: number;
  /** What of a lease the clients keep off its end. */
  readonly driftRatio: number;
  readonly tickMs: number;
  readonly snapshotEntries: number;
  readonly keepEntries: number;
  /** The clock by which nodes see leases pass; theirs, unless a test plants another. */
  readonly observer?: (runtime: Runtime) => Runtime;
  /** What is between the core and the backend; nothing, unless a test plants something. */
  readonly spoil?: (backend: LockBackend) => LockBackend;
}

/** What a worker relies on: less than its lease says while it is being downgraded. */
interface Belief {
  mode: LockMode;
  readonly permits: number;
}

/** One life of a process: a node of raft, and workers that take locks. */
interface Life {
  readonly client: string;
  readonly locks: Locks;
  readonly machine: LockMachine;
  /** What its workers believe to hold. */
  readonly held: Map<Lease, Belief>;
  working: number;
}

const KEYS = ['a', 'b'];
const WORKERS = 2;
const TOTAL = 3;

/** Locks as users run them, on simulated machines: file logs, transport, raft, `createLocks`, workers in every process. */
export class LockStack {
  readonly history = new LockHistory();
  readonly lives = new Map<string, Life>();
  readonly counts = { held: 0, lost: 0, refused: 0, upgraded: 0 };
  /** No new work begins. */
  calm = false;
  readonly #written = new Map<string, number>();
  #boots = 0;

  constructor(
    readonly simulation: Simulation,
    readonly options: LockStackOptions,
  ) {
    simulation.invariant('mutual exclusion', () => this.#conflict());
    for (const id of options.nodes) simulation.node(id, (process) => this.#boot(process));
  }

  leader(): string | undefined {
    for (const [id, life] of this.lives) if (this.#runs(id) && life.locks === this.#leading) return id;
    return undefined;
  }
  #leading: Locks | undefined;

  /** Whether all workers are done, and every node knows that nothing is held and nobody waits. */
  settled(): boolean {
    return this.options.nodes.every((id) => {
      const life = this.lives.get(id);
      if (life === undefined || life.working > 0 || !this.#runs(id)) return false;
      return life.machine.claims()[Symbol.iterator]().next().done === true;
    });
  }

  #runs(id: string): boolean {
    const node = this.simulation.nodes.get(id);
    return node?.up === true && !node.paused;
  }

  /** Two who believe, each by its own clock, to hold what only one of them can. Who stands still does nothing. */
  #conflict(): string | undefined {
    // It is asked after every event, and one alone is in nobody's way.
    let believed = 0;
    for (const life of this.lives.values()) believed += life.held.size;
    if (believed < 2) return undefined;
    const held: (Belief & { readonly lease: Lease; readonly id: string })[] = [];
    for (const [id, life] of this.lives) {
      if (!this.#runs(id)) continue;
      for (const [lease, belief] of life.held) if (lease.held) held.push({ ...belief, lease, id });
    }
    for (const [at, one] of held.entries()) {
      let taken = one.permits;
      for (const other of held.slice(at + 1)) {
        if (other.lease.key !== one.lease.key) continue;
        taken += other.permits;
        if (one.mode !== other.mode || one.mode === 'exclusive')
          return `${one.lease.owner} (${one.mode}) at ${one.id} beside ${other.lease.owner} (${other.mode}) at ${other.id}`;
      }
      if (one.mode === 'permits' && taken > TOTAL)
        return `${String(taken)} of ${String(TOTAL)} permits of ${one.lease.key}`;
    }
    return undefined;
  }

  async #boot(process: SimProcess): Promise<void> {
    const { options, simulation } = this;
    const { id, runtime, link, fileSystem } = process;
    // A node gives up when its disk fails it; its supervisor starts it again.
    const exit = (): void => {
      process.exit();
      simulation.after(50, () => {
        const node = simulation.nodes.get(id);
        if (node?.up === false) node.start();
      });
    };
    const client = `${id}.${String(++this.#boots)}`;
    this.lives.delete(id);
    const machine = new LockMachine();
    const transport = createTransport(link, { runtime });
    try {
      const log = await startNode({
        core: (recovered, seed) =>
          createRaft({
            id,
            seed,
            membership: { voters: options.nodes, learners: [] },
            recovered,
            electionTicks: 5,
          }),
        codec: raftCodec({ group: 'locks' }),
        transport,
        storage: createFileLog({
          directory: '/log',
          fileSystem,
          runtime,
          segmentBytes: 16_384,
          groupBytes: 2_048,
        }),
        stateMachine: machine,
        tickMs: options.tickMs,
        snapshotEntries: options.snapshotEntries,
        keepEntries: options.keepEntries,
        snapshotChunkBytes: 256,
        snapshotChunkTimeoutMs: 300,
      });
      const space = replicatedLockSpace({ log, machine, runtime: options.observer?.(runtime) ?? runtime });
      await transport.start();
      log.stopped.addEventListener('abort', exit);
      const backend = options.spoil?.(space.backend()) ?? space.backend();
      const locks = createLocks(this.history.backend(backend), {
        runtime,
        client,
        leaseMs: options.leaseMs,
        driftRatio: options.driftRatio,
      });
      const life: Life = { client, locks, machine, held: new Map(), working: WORKERS };
      this.lives.set(id, life);
      void this.#follow(log.watch(), id, locks);
      for (let worker = 0; worker < WORKERS; worker++)
        this.#work(life, runtime).then(
          () => life.working--,
          (error: unknown) => simulation.fail('worker', `${client} failed: ${String(error)}`, error),
        );
    } catch {
      exit();
    }
  }

  async #follow(
    statuses: AsyncIterable<{ readonly leader: string | undefined }>,
    id: string,
    locks: Locks,
  ): Promise<void> {
    for await (const { leader } of statuses) if (leader === id) this.#leading = locks;
  }

  /** Ends what is still cleaned up in the background. */
  async close(): Promise<void> {
    await Promise.all([...this.lives.values()].map(({ locks }) => locks.close()));
  }

  /** What former lives of the nodes asked for is over, as far as anybody can tell. */
  bury(): void {
    const living = [...this.lives.values()].map(({ client }) => `${client}~`);
    const open = new Map<string, string>();
    for (const { type, owner, key } of this.history.events) {
      if (type === 'asked' && !living.some((client) => owner.startsWith(client))) open.set(owner, key);
      if (type === 'over') open.delete(owner);
    }
    for (const [owner, key] of open) this.history.events.push({ type: 'over', key, owner });
  }

  async #work(life: Life, runtime: Runtime): Promise<void> {
    const { simulation } = this;
    const { leaseMs } = this.options;
    const random = simulation.stream(
      `worker ${String(this.#boots)} ${String(life.working)} ${String(life.held.size)}`,
    );
    const dice = (): number => (random() + runtime.random()) % 1;
    while (!this.calm) {
      await sleep(runtime, dice() * leaseMs * 0.3);
      const key = KEYS[Math.floor(dice() * KEYS.length)] ?? 'a';
      // Some wait for as long as it takes.
      const waitMs = dice() < 0.4 ? Number.POSITIVE_INFINITY : dice() * leaseMs * 4;
      const fair = dice() < 0.9;
      const permits = 1 + Math.floor(dice() * TOTAL);
      const kind = dice();
      try {
        const lease =
          kind < 0.5
            ? await life.locks.rw(key).write({ waitMs, fair })
            : kind < 0.8
              ? await life.locks.rw(key).read({ waitMs, fair })
              : await life.locks.semaphore(key, TOTAL).acquire({ waitMs, fair, permits });
        await this.#hold(life, lease, runtime, kind < 0.8 ? 1 : permits, dice);
      } catch (error) {
        const { code } = error as { readonly code?: string };
        if (!['LOCK_TIMEOUT', 'LOCK_BACKEND', 'LOCK_LOST', 'LOCK_DEADLOCK'].includes(code ?? '')) throw error;
      }
    }
  }

  async #hold(
    life: Life,
    lease: Lease | ReadWriteLease,
    runtime: Runtime,
    permits: number,
    dice: () => number,
  ): Promise<void> {
    const { simulation, counts, options } = this;
    counts.held++;
    const belief: Belief = { mode: lease.mode, permits };
    life.held.set(lease, belief);
    try {
      await sleep(runtime, dice() < 0.2 ? options.leaseMs * 1.5 : dice() * 40);
      if (lease.mode !== 'permits' && 'upgrade' in lease && dice() < 0.4) {
        if (lease.mode === 'shared') {
          await lease.upgrade({ waitMs: dice() * options.leaseMs });
          belief.mode = 'exclusive';
        } else {
          belief.mode = 'shared';
          await lease.downgrade();
        }
        counts.upgraded++;
        await sleep(runtime, dice() * 40);
      }
      if (lease.mode === 'exclusive') {
        // A write may arrive long after its writer lost the lock: the guard decides.
        const { fence, key } = lease;
        simulation.after(dice() * options.leaseMs, () => {
          if (fence < (this.#written.get(key) ?? 0)) {
            counts.refused++;
            return;
          }
          this.#written.set(key, fence);
          this.history.wrote(lease, fence);
        });
      }
    } finally {
      life.held.delete(lease);
      if ((await lease.release().catch(() => 'lost' as const)) === 'lost') counts.lost++;
    }
  }
}
