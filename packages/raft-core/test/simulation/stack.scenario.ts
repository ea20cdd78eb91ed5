import { createKvClient, type KvItem } from '@quorate/replicated-log/kv';
import { createRaft } from '@quorate/raft-core';
import {
  type FaultKind,
  type FaultName,
  type History,
  type MapInput,
  mapModel,
  nemesis,
  type RegisterOutput,
  type Scenario,
  type Simulation,
  twoPhases,
} from '@quorate/simulator';
import { type Life, Stack } from './stack.js';

/*
 * Nodes as users run them, under every fault that the simulator has, with clients that call any node. The five
 * properties of the paper are looked at after every step; then everything is healed, every node must catch up within a
 * bound, and what the clients saw must be linearizable.
 */

/** What a scenario is made of. */
interface Plan {
  readonly name: string;
  readonly nodes: readonly string[];
  /** The first voters. Where they are not all, the membership changes all the time. */
  readonly founders: readonly string[];
  readonly network: 'stream' | 'datagram';
  /** Nodes that are witnesses whenever they are voters. */
  readonly witnesses?: readonly string[];
}

const FAULTS_MS = 4_000;
const PROGRESS_MS = 20_000;
const CLIENTS = 4;
const KEYS = 3;
/** The nemesis lets clocks drift by a tenth either way. */
const DRIFT_BOUND = 1.25;

const COMMON: readonly FaultName[] = [
  'crash',
  'kill',
  'pause',
  'partition',
  'bridge',
  'isolate',
  'clog',
  'clock-jump',
  'clock-drift',
  'disk-error',
  'disk-full',
  'sync-error',
];

const PLANS: readonly Plan[] = [
  { name: 'raft-3', nodes: ids(3), founders: ids(3), network: 'stream' },
  { name: 'raft-5', nodes: ids(5), founders: ids(5), network: 'datagram' },
  { name: 'raft-5-membership', nodes: ids(5), founders: ids(3), network: 'stream' },
  { name: 'raft-witness', nodes: ids(4), founders: ids(3), network: 'stream', witnesses: ['n3'] },
];

/** The scenarios, over cores of this make. */
export function stackScenarios(create: typeof createRaft): Scenario[] {
  return PLANS.map((plan) => ({
    name: plan.name,
    options: {
      network: { kind: plan.network, sessionTimeoutMs: 300 },
      clock: { maxSkewMs: 500 },
      disk: { maxDelayMs: 2 },
    },
    run: (simulation) => new Run(simulation, plan, create).run(),
  }));
}

export const scenarios: readonly Scenario[] = stackScenarios(createRaft);

class Run {
  readonly stack: Stack;
  readonly history: History<MapInput, RegisterOutput>;
  readonly #plan: Plan;
  readonly #leases: boolean;
  readonly #random: () => number;
  #calm = false;
  #clients = CLIENTS;
  #values = 0;

  constructor(
    readonly simulation: Simulation,
    plan: Plan,
    create: typeof createRaft,
  ) {
    this.#plan = plan;
    const { nodes, founders, witnesses = [] } = plan;
    const draw = simulation.stream('options');
    const pick = <T>(...of: readonly T[]): T => of[Math.floor(draw() * of.length)] as T;
    const checkQuorum = pick(true, true, true, false);
    this.#leases = checkQuorum && pick(true, false);
    this.#random = simulation.stream('clients');
    this.history = simulation.history(mapModel);
    this.stack = new Stack(simulation, {
      nodes,
      founders,
      witnesses,
      create,
      raft: {
        electionTicks: pick(5, 10),
        // A removed node that is not told so disturbs a cluster without either (dissertation, section 4.2.3).
        preVote: pick(true, true, false) || (founders.length < nodes.length && !checkQuorum),
        checkQuorum,
        ...(this.#leases && { leaseDriftBound: DRIFT_BOUND }),
        forwardProposals: pick(true, true, false),
        maxBytesPerMessage: pick(200, 65_536),
        maxInflightMessages: pick(2, 64),
      },
      tickMs: pick(10, 20),
      snapshotEntries: pick(8, 40, 10_000),
      keepEntries: pick(0, 5, 50),
      segmentBytes: pick(4_096, 16_384),
    });
  }

  async run(): Promise<void> {
    const { simulation, stack } = this;
    const { network, nodes, founders } = this.#plan;
    nemesis(simulation, {
      durationMs: FAULTS_MS,
      faults: [
        ...COMMON,
        ...(network === 'stream' ? (['reset'] as const) : (['loss', 'duplicate'] as const)),
        this.#slowNetwork,
        this.#slowDisk,
        this.#transfer,
        this.#snapshot,
        ...(founders.length < nodes.length ? [this.#membership, this.#membership] : []),
      ],
      target: () => stack.leader(),
    });
    for (let client = 0; client < CLIENTS; client++) void this.#client(`c${String(client)}`);
    await twoPhases(simulation, {
      faultsMs: FAULTS_MS,
      progress: () => this.#progress(),
      withinMs: PROGRESS_MS,
    });
  }

  /** After the storm: the cluster takes a write, and every node that takes part comes to hold everything. */
  async #progress(): Promise<void> {
    this.#calm = true;
    for (let written = false; !written || this.#clients > 0 || !this.#caughtUp();) {
      if (!written) written = await this.#write();
      this.#leaveJoint();
      await this.simulation.sleep(50);
    }
  }

  async #write(): Promise<boolean> {
    // Nodes that were removed know nobody to ask.
    const life = this.stack.life(this.stack.leader());
    if (life === undefined) return false;
    const done = createKvClient(life.log).put('last', 'x', { timeoutMs: 2_000 });
    return within(
      this.simulation,
      2_100,
      done.then(
        () => true,
        () => false,
      ),
    ).catch(() => false);
  }

  /** A joint configuration that was asked for stays until somebody leaves it. */
  #leaveJoint(): void {
    const life = this.stack.life(this.stack.leader());
    const { voters, learners, outgoing } = life?.log.status().membership ?? {};
    if (voters === undefined || learners === undefined || outgoing === undefined) return;
    const next = { voters, learners, ...this.#witnesses(voters) };
    life?.log.changeMembership(next, { timeoutMs: 1_000 }).catch(() => undefined);
  }

  #caughtUp(): boolean {
    const lead = this.stack.life(this.stack.leader())?.log.status();
    if (lead === undefined || lead.commit !== lead.last || lead.membership.outgoing !== undefined)
      return false;
    return [...lead.membership.voters, ...lead.membership.learners].every(
      (id) => this.stack.life(id)?.log.status().applied === lead.commit,
    );
  }

  async #client(name: string): Promise<void> {
    const { simulation } = this;
    while (!this.#calm) {
      await simulation.sleep(this.#random() * 60);
      const life = this.stack.life(this.#pick(this.stack.options.nodes));
      // How it ended is in the history.
      if (life !== undefined) await this.#operation(name, life).catch(() => undefined);
    }
    this.#clients--;
  }

  async #operation(name: string, life: Life): Promise<unknown> {
    const { simulation } = this;
    const random = this.#random;
    // A new set of keys now and then: an open outcome overlaps with everything behind it, which makes judging slow.
    const key = `k${String(Math.floor(simulation.nowMs / 500))}-${String(Math.floor(random() * KEYS))}`;
    const timeoutMs = 100 + random() * 900;
    const value = ++this.#values;
    const [sessionDice, kindDice, leaseDice] = [random(), random(), random()];
    const session = sessionDice < 0.3 ? await within(simulation, timeoutMs, life.session) : undefined;
    const kv = createKvClient(life.log, session?.ended.aborted === false ? session : undefined);
    // A node that dies answers nothing any more.
    const record = (input: MapInput, call: () => Promise<RegisterOutput>): Promise<unknown> =>
      this.history.record(name, input, () => within(simulation, timeoutMs + 50, call()));
    if (kindDice < 0.4) {
      const level = this.#leases && leaseDice < 0.6 ? 'lease' : 'linearizable';
      return record({ type: 'read', key }, async () => valueOf(await kv.get(key, { level, timeoutMs })));
    }
    if (kindDice < 0.7) {
      return record({ type: 'write', key, value }, async () => {
        await kv.put(key, String(value), { timeoutMs });
        return undefined;
      });
    }
    if (kindDice < 0.8) {
      return record({ type: 'remove', key }, async () => {
        await kv.delete(key, { timeoutMs });
        return undefined;
      });
    }
    // Every value is written once, so that a version stands for a value.
    const seen = await kv.get(key, { level: 'stale' });
    return record({ type: 'cas', key, expected: valueOf(seen), value }, async () => {
      const { applied } = await kv.put(key, String(value), { timeoutMs, ifVersion: seen?.version ?? 0 });
      return applied;
    });
  }

  /** Delays that do not multiply where two overlap: what was sent before the healing arrives soon after it. */
  readonly #slowNetwork: FaultKind = {
    name: 'slow network',
    draw: ({ network }, _target, random) => {
      const maxDelayMs = this.#drawn(random, [10, 50, 200]);
      const straggle = this.#drawn(random, [0, 0.05]);
      return {
        name: `delays of up to ${String(maxDelayMs)} ms`,
        begin: () => network.disturb({ maxDelayMs, straggle }),
      };
    },
  };

  readonly #slow = new Set<string>();
  readonly #slowDisk: FaultKind = {
    name: 'slow disk',
    draw: (_simulation, target, random) => {
      const slowdown = this.#drawn(random, [10, 100]);
      return {
        name: `disk ${String(slowdown)} times slower`,
        begin: (show) => {
          const id = target.id();
          if (this.#slow.has(id)) return undefined;
          show(`disk of ${id} ${String(slowdown)} times slower`);
          this.#slow.add(id);
          const undo = this.stack.node(id).disk.disturb({ slowdown });
          return () => {
            this.#slow.delete(id);
            undo();
          };
        },
      };
    },
  };

  readonly #transfer: FaultKind = {
    name: 'transfer',
    draw: (_simulation, _target, random) => {
      const to = this.#drawn(random, this.stack.options.nodes);
      return this.#once(`hand leadership to ${to}`, ({ log }) =>
        log.transferLeadership(to, { timeoutMs: 500 }),
      );
    },
  };

  readonly #snapshot: FaultKind = {
    name: 'snapshot',
    draw: (_simulation, _target, random) => {
      const id = this.#drawn(random, this.stack.options.nodes);
      return this.#once(`snapshot of ${id}`, ({ log }) => log.snapshot(), id);
    },
  };

  readonly #membership: FaultKind = {
    name: 'membership',
    draw: (_simulation, _target, random) => {
      const shuffled = this.stack.options.nodes
        .map((id) => ({ id, at: random() }))
        .sort((one, other) => one.at - other.at)
        .map(({ id }) => id);
      const voters = shuffled.slice(0, 1 + Math.floor(random() * shuffled.length));
      const rest = shuffled.slice(voters.length);
      const learners = rest
        .slice(0, Math.floor(random() * (rest.length + 1)))
        .filter((id) => !this.stack.options.witnesses.includes(id));
      const explicit = random() < 0.2;
      return this.#once(`voters ${voters.join()}, learners ${learners.join()}`, ({ log }) => {
        const outgoing: { outgoing?: readonly string[] } = explicit
          ? { outgoing: log.status().membership.voters }
          : {};
        const next = {
          voters,
          learners,
          ...outgoing,
          ...this.#witnesses([...voters, ...(outgoing.outgoing ?? [])]),
        };
        return log.changeMembership(next, { timeoutMs: 2_000 });
      });
    },
  };

  #witnesses(voters: readonly string[]): { readonly witnesses?: readonly string[] } {
    const witnesses = this.stack.options.witnesses.filter((id) => voters.includes(id));
    return witnesses.length > 0 ? { witnesses } : {};
  }

  /** Something that is asked of a node, of the leader unless told otherwise, whether it comes about or not. */
  #once(name: string, run: (life: Life) => Promise<unknown>, id?: string): ReturnType<FaultKind['draw']> {
    return {
      name,
      begin: () => {
        const life = this.stack.life(id ?? this.stack.leader());
        if (life !== undefined) run(life).catch(() => undefined);
        return undefined;
      },
    };
  }

  #pick<T>(from: readonly T[]): T {
    return this.#drawn(this.#random, from);
  }

  #drawn<T>(random: () => number, from: readonly T[]): T {
    return from[Math.floor(random() * from.length)] as T;
  }
}

/** What a promise gives, or a rejection once so much virtual time has passed. */
function within<T>(simulation: Simulation, ms: number, promise: Promise<T>): Promise<T> {
  return Promise.race([
    promise,
    simulation.sleep(ms).then(() => {
      throw new Error('no answer');
    }),
  ]);
}

function valueOf(item: KvItem | undefined): number | undefined {
  return item && Number(Buffer.from(item.value).toString());
}

function ids(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `n${String(at + 1)}`);
}
