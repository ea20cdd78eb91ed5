import { checkLockHistory } from '@quorate/distributed-lock/conformance';
import {
  type FaultKind,
  type FaultName,
  nemesis,
  type Scenario,
  type Simulation,
  twoPhases,
} from '@quorate/simulator';
import { LockStack, type LockStackOptions } from './lock-stack.js';

/*
 * Locks on raft under every fault that the simulator has. After every event no two clients hold, each by its own clock,
 * what only one of them can. At the end everything is healed; then everybody who waits gets what he waits for, nothing
 * stays behind, and the history has rising fences, and on a network without faults the order of arrival.
 */

interface Plan {
  readonly name: string;
  readonly nodes: number;
  readonly network: 'stream' | 'datagram';
  readonly faults?: readonly (FaultName | FaultKind)[];
  readonly planted?: Pick<LockStackOptions, 'observer' | 'spoil' | 'driftRatio'>;
}

const FAULTS_MS = 1_500;
const PROGRESS_MS = 20_000;
/** The nemesis lets clocks run up to a tenth too fast or too slow: 1 - 0.9 / 1.1, and the drift that they begin with. */
const DRIFT_RATIO = 0.2;

/* Those of the simulator multiply up to hours where several overlap, which no healing takes back. */
const slowDisk: FaultKind = {
  name: 'disk-slower',
  draw: (simulation, target) => ({
    name: 'disk slower',
    begin: () => simulation.nodes.get(target.id())?.disk.disturb({ slowdown: 4 }),
  }),
};
const slowNetwork: FaultKind = {
  name: 'delay-more',
  draw: ({ network }) => ({
    name: 'long delays',
    begin: () => network.disturb({ maxDelayMs: 80, straggle: 0.05 }),
  }),
};
const FAULTS: readonly (FaultName | FaultKind)[] = [
  ...(['crash', 'kill', 'pause', 'partition', 'bridge', 'isolate', 'clog'] as const),
  ...(['clock-jump', 'clock-drift', 'disk-error', 'disk-full', 'sync-error'] as const),
  slowDisk,
  slowNetwork,
];

/** A scenario of this plan. */
export function lockScenario({ name, nodes, network, faults, planted }: Plan): Scenario {
  return {
    name,
    options: {
      network: { kind: network, sessionTimeoutMs: 300 },
      clock: { maxSkewMs: 500, maxDriftPpm: 10_000 },
      disk: { maxDelayMs: 2 },
    },
    async run(simulation) {
      const stack = new LockStack(simulation, {
        nodes: Array.from({ length: nodes }, (_, at) => `n${String(at + 1)}`),
        driftRatio: DRIFT_RATIO,
        ...draw(simulation),
        ...planted,
      });
      simulation.network.configure({ maxDelayMs: [1, 5, 15][Math.floor(simulation.random() * 3)] ?? 1 });
      const kinds = nemesis(simulation, {
        durationMs: FAULTS_MS,
        target: () => stack.leader(),
        faults: faults ?? [
          ...FAULTS,
          ...(network === 'stream' ? (['reset'] as const) : (['loss', 'duplicate'] as const)),
        ],
      });
      await twoPhases(simulation, {
        faultsMs: FAULTS_MS,
        withinMs: PROGRESS_MS,
        progress: () => {
          stack.calm = true;
          return stack.settled();
        },
      });
      let closed = false;
      void stack.close().then(() => (closed = true));
      await simulation.runUntil(() => closed, PROGRESS_MS);
      stack.bury();
      // A place may be lost where its owner could not ask: order is judged where nothing went wrong.
      const found = checkLockHistory(stack.history.events, { fencing: 'durable', fifo: kinds.length === 0 });
      if (found.length > 0) simulation.fail('history', found.join('\n'));
      for (const [what, count] of Object.entries(stack.counts)) totals[what] = (totals[what] ?? 0) + count;
    },
  };
}

/** What all runs together did. */
export const totals: Record<string, number> = {};

function draw(simulation: Simulation): Omit<LockStackOptions, 'nodes' | 'driftRatio'> {
  const pick = <T>(...of: readonly T[]): T => of[Math.floor(simulation.random() * of.length)] as T;
  return {
    leaseMs: pick(300, 600, 1_200),
    tickMs: pick(10, 20),
    snapshotEntries: pick(8, 40, 10_000),
    keepEntries: pick(0, 5, 50),
  };
}

export const scenarios: readonly Scenario[] = [
  lockScenario({ name: 'locks-raft-3', nodes: 3, network: 'stream' }),
  lockScenario({ name: 'locks-raft-5', nodes: 5, network: 'datagram' }),
  lockScenario({ name: 'locks-raft-order', nodes: 3, network: 'stream', faults: [] }),
];
