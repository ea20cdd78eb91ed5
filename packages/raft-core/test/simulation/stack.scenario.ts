import { createKvClient } from '@quorate/replicated-log/kv';
import { checkLinearizable, type Scenario, type Simulation } from '@quorate/simulator';
import { KvHistory, type KvInput, kvModel, type KvOutput, UNKNOWN } from './kv-history.js';
import { type Life, Stack, type StackOptions } from './stack.js';

/*
 * Nodes as users run them, under every fault that the simulator has, with clients that call any node. Each seed draws
 * how often each fault comes, since runs that differ in kind find more than runs that are all alike (A. Groce et al.,
 * "Swarm Testing", ISSTA 2012). The five properties of the paper are looked at after every step; then everything is
 * healed, every node must catch up within a bound, and what the clients saw must be linearizable.
 */

interface Plan {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly founders: readonly string[];
  readonly network: 'stream' | 'datagram';
}

/** Mean milliseconds between two faults of a kind; none where it is infinite. */
interface Weather {
  readonly crash: number;
  readonly crashLeader: number;
  readonly pause: number;
  readonly partition: number;
  readonly oneWay: number;
  readonly clog: number;
  readonly diskErrors: number;
  readonly diskFull: number;
  readonly membership: number;
  readonly transfer: number;
  readonly snapshot: number;
  readonly jumpClock: number;
}

const FAULTY_MS = 4_000;
const PROGRESS_MS = 20_000;
const CLIENTS = 4;
const KEYS = 3;
/** The ratio of the fastest to the slowest clock is below the bound that leases are told. */
const DRIFT_PPM = 20_000;
const DRIFT_BOUND = 1.05;

export const scenarios: readonly Scenario[] = [
  plan({ name: 'raft-3', nodes: ids(3), founders: ids(3), network: 'stream' }),
  plan({ name: 'raft-5', nodes: ids(5), founders: ids(5), network: 'datagram' }),
  plan({ name: 'raft-5-membership', nodes: ids(5), founders: ids(3), network: 'stream' }),
];

function plan(of: Plan): Scenario {
  return {
    name: of.name,
    options: {
      network: { kind: of.network, sessionTimeoutMs: 300 },
      clock: { maxSkewMs: 500, maxDriftPpm: DRIFT_PPM },
      disk: { maxDelayMs: 2 },
    },
    run: (simulation) => new Run(simulation, of).run(),
  };
}

class Run {
  readonly stack: Stack;
  readonly history = new KvHistory();
  readonly #weather: Weather;
  readonly #leases: boolean;
  readonly #churns: boolean;
  #calm = false;
  #clients = CLIENTS;
  #values = 0;

  constructor(
    readonly simulation: Simulation,
    { nodes, founders, network }: Plan,
  ) {
    const pick = <T>(...of: readonly T[]): T => this.#pick(of);
    const never = Number.POSITIVE_INFINITY;
    this.#churns = founders.length < nodes.length;
    this.#weather = {
      crash: pick(never, 400, 1_500),
      crashLeader: pick(never, never, 500, 1_500),
      pause: pick(never, 400, 1_500),
      partition: pick(never, 400, 1_500),
      oneWay: pick(never, 500, 2_000),
      clog: pick(never, 500),
      diskErrors: pick(never, never, 1_000),
      diskFull: pick(never, never, 1_500),
      membership: this.#churns ? pick(150, 600) : never,
      transfer: pick(never, 300, 1_000),
      snapshot: pick(never, 400),
      jumpClock: pick(never, 500),
    };
    simulation.network.configure({
      maxDelayMs: pick(1, 5, 20),
      straggle: pick(0, 0.02, 0.1),
      ...(network === 'datagram' && { loss: pick(0, 0.02, 0.2), duplicate: pick(0, 0.02, 0.2) }),
    });
    const checkQuorum = pick(true, true, true, false);
    this.#leases = checkQuorum && pick(true, false);
    const raft: StackOptions['raft'] = {
      electionTicks: pick(5, 10),
      preVote: pick(true, true, false) || (this.#churns && !checkQuorum),
      checkQuorum,
      ...(this.#leases && { leaseDriftBound: DRIFT_BOUND }),
      forwardProposals: pick(true, true, false),
      maxBytesPerMessage: pick(200, 65_536),
      maxInflightMessages: pick(2, 64),
    };
    this.stack = new Stack(simulation, {
      nodes,
      founders,
      raft,
      tickMs: pick(10, 20),
      snapshotEntries: pick(8, 40, 10_000),
      keepEntries: pick(0, 5, 50),
      segmentBytes: pick(4_096, 16_384),
    });
  }

  async run(): Promise<void> {
    const { simulation, stack } = this;
    this.#disturb();
    for (let client = 0; client < CLIENTS; client++) void this.#client(`c${String(client)}`);
    await simulation.runFor(FAULTY_MS);
    this.#calm = true;
    for (const id of stack.options.nodes) stack.node(id).disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    simulation.heal();
    simulation.network.configure({ maxDelayMs: 2 });
    let written = false;
    void this.#lastWrite().then(() => {
      written = true;
    });
    void this.#leaveJoint();
    await simulation.runUntil(() => written && this.#clients === 0 && this.#caughtUp(), PROGRESS_MS);
    const verdict = checkLinearizable(kvModel, this.history.operations);
    if (!verdict.linearizable) {
      const lines = verdict.counterexample?.map((one) => JSON.stringify(one)).join('\n') ?? '';
      simulation.fail('linearizable', `key ${verdict.partition ?? ''} is not\n${lines}`);
    }
  }

  /** A client after the storm: the cluster must take a write. */
  async #lastWrite(): Promise<void> {
    for (;;) {
      const life = this.stack.life(this.#pick(this.stack.options.nodes));
      if (life !== undefined) {
        const done = createKvClient(life.log).put('last', 'x', { timeoutMs: 2_000 });
        const outcome = await Promise.race([
          done.then(
            () => 'ok' as const,
            () => 'failed' as const,
          ),
          life.gone,
        ]);
        if (outcome === 'ok') return;
      }
      await this.simulation.sleep(50);
    }
  }

  /** A joint configuration that was asked for stays until somebody leaves it. */
  async #leaveJoint(): Promise<void> {
    for (;;) {
      const life = this.stack.life(this.stack.leader());
      const { voters, learners, outgoing } = life?.log.status().membership ?? {};
      if (voters !== undefined && learners !== undefined && outgoing !== undefined) {
        life?.log.changeMembership({ voters, learners }, { timeoutMs: 1_000 }).catch(() => undefined);
      }
      await this.simulation.sleep(500);
    }
  }

  /** Every node that takes part has applied what is committed, and holds the same. */
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
      await simulation.sleep(simulation.random() * 60);
      const life = this.stack.life(this.#pick(this.stack.options.nodes));
      if (life !== undefined) await this.#operation(name, life);
    }
    this.#clients--;
  }

  async #operation(name: string, life: Life): Promise<void> {
    const { simulation, history } = this;
    // A new set of keys now and then: an open outcome overlaps with everything behind it, which makes judging slow.
    const key = `k${String(Math.floor(simulation.nowMs / 500))}-${String(Math.floor(simulation.random() * KEYS))}`;
    const timeoutMs = 100 + simulation.random() * 900;
    const value = ++this.#values;
    const inSession = simulation.random() < 0.3;
    const record = (input: KvInput, call: () => Promise<KvOutput>): Promise<void> =>
      history.record(name, input, () =>
        Promise.race([call(), life.gone.then((): typeof UNKNOWN => UNKNOWN)]),
      );
    const session = inSession ? await Promise.race([life.session, life.gone]) : undefined;
    const kv = createKvClient(life.log, session?.ended.aborted === false ? session : undefined);
    const dice = simulation.random();
    if (dice < 0.4) {
      const level = this.#leases && simulation.random() < 0.6 ? 'lease' : 'linearizable';
      await record({ type: 'get', key }, async () => valueOf(await kv.get(key, { level, timeoutMs })));
    } else if (dice < 0.7) {
      await record({ type: 'put', key, value }, async () => {
        await kv.put(key, String(value), { timeoutMs });
        return undefined;
      });
    } else if (dice < 0.8) {
      await record({ type: 'delete', key }, async () => {
        await kv.delete(key, { timeoutMs });
        return undefined;
      });
    } else {
      const seen = kv.get(key, { level: 'stale' });
      const item = await seen.catch(() => undefined);
      const expected = valueOf(item);
      await record({ type: 'cas', key, expected, value }, async () => {
        const options = { timeoutMs, ifVersion: item?.version ?? 0 };
        return (await kv.put(key, String(value), options)).applied;
      });
    }
  }

  #disturb(): void {
    const { simulation, stack } = this;
    const { nodes } = stack.options;
    const weather = this.#weather;
    const any = (): string => this.#pick(nodes);
    const shortly = (run: () => void): void => simulation.after(5 + simulation.random() * 600, run);
    const crash = (id: string): void => {
      stack.crash(id);
      shortly(() => stack.restart(id));
    };
    this.#every(weather.crash, () => crash(any()));
    this.#every(weather.crashLeader, () => crash(stack.leader() ?? any()));
    this.#every(weather.pause, () => {
      const node = stack.node(simulation.random() < 0.5 ? (stack.leader() ?? any()) : any());
      node.pause();
      shortly(() => node.resume());
    });
    this.#every(weather.partition, () => {
      const sides: [string[], string[]] = [[], []];
      for (const id of nodes) sides[simulation.random() < 0.5 ? 0 : 1].push(id);
      shortly(simulation.network.partition(sides));
    });
    this.#every(weather.oneWay, () => {
      const [from, to] = [any(), any()];
      if (from !== to) shortly(simulation.network.block(from, to));
    });
    this.#every(weather.clog, () => {
      const before = simulation.network.faults;
      if (this.#calm) return;
      simulation.network.configure({ maxDelayMs: 100 });
      simulation.after(100, () => {
        simulation.network.configure({
          maxDelayMs: this.#calm ? 2 : before.maxDelayMs === 100 ? 5 : before.maxDelayMs,
        });
      });
    });
    this.#every(weather.diskErrors, () => {
      const id = any();
      stack.suspect(id);
      stack.node(id).disk.failing = true;
      simulation.after(simulation.random() * 200, () => {
        stack.node(id).disk.failing = false;
      });
    });
    this.#every(weather.diskFull, () => {
      const id = any();
      const { disk } = stack.node(id);
      stack.suspect(id);
      disk.capacityBytes = disk.usedBytes + Math.floor(simulation.random() * 2_000);
      simulation.after(simulation.random() * 400, () => {
        disk.capacityBytes = Number.MAX_SAFE_INTEGER;
      });
    });
    this.#every(weather.membership, () => this.#changeMembership());
    this.#every(weather.transfer, () => {
      const life = this.stack.life(stack.leader() ?? any());
      life?.log.transferLeadership(any(), { timeoutMs: 500 }).catch(() => undefined);
    });
    this.#every(weather.snapshot, () => {
      stack
        .life(any())
        ?.log.snapshot()
        .catch(() => undefined);
    });
    this.#every(weather.jumpClock, () => {
      stack.node(any()).jumpClock((simulation.random() - 0.5) * 2_000);
    });
  }

  #changeMembership(): void {
    const { simulation, stack } = this;
    const shuffled = stack.options.nodes
      .map((id) => ({ id, at: simulation.random() }))
      .sort((one, other) => one.at - other.at)
      .map(({ id }) => id);
    const voters = shuffled.slice(0, 1 + Math.floor(simulation.random() * shuffled.length));
    const rest = shuffled.slice(voters.length);
    const learners = rest.slice(0, Math.floor(simulation.random() * (rest.length + 1)));
    const life = stack.life(stack.leader());
    const outgoing = life?.log.status().membership.voters ?? [];
    const explicit = simulation.random() < 0.2 ? { outgoing } : {};
    life?.log
      .changeMembership({ voters, learners, ...explicit }, { timeoutMs: 2_000 })
      .catch(() => undefined);
  }

  /** Again and again until it is calm, at random intervals around a mean. */
  #every(meanMs: number, run: () => void): void {
    if (!Number.isFinite(meanMs)) return;
    const next = (): void => {
      this.simulation.after((0.2 + 1.6 * this.simulation.random()) * meanMs, () => {
        if (this.#calm) return;
        run();
        next();
      });
    };
    next();
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.simulation.random() * from.length)] as T;
  }
}

function valueOf(item: { readonly value: Uint8Array } | undefined): number | undefined {
  return item && Number(Buffer.from(item.value).toString());
}

function ids(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `n${String(at + 1)}`);
}
