import type { NodeId } from '@quorate/transport';
import { DELAY_SHAPES } from './core/delays.js';
import type { Simulation } from './simulation.js';

/**
 * The kinds of faults that the nemesis knows:
 *
 * - `crash`: a node loses its power, `kill`: its process ends, `pause`: its process stands still; for a while each
 * - `partition`: the nodes fall into two halves, one way or both ways; `bridge`: they do, but for one node that reaches
 *   all; `isolate`: one node is cut off, in one direction or both
 * - `clog`: what one node sends to another waits
 * - `reset`: the session of two nodes ends (streams)
 * - `loss`, `duplicate`: a share of the frames is lost, or arrives twice (datagrams)
 * - `delay`: frames take longer, and some much longer
 * - `clock-jump`: a wall clock jumps; `clock-drift`: a node's clocks run too fast or too slow
 * - `disk-error`, `disk-full`, `disk-slow`, `sync-error`: what they say, of one node's disk
 * - `bit-flip`: one bit of one file of one node flips, for good. Only on request: few programs promise to survive it
 */
export type FaultName =
  | 'crash'
  | 'kill'
  | 'pause'
  | 'partition'
  | 'bridge'
  | 'isolate'
  | 'clog'
  | 'reset'
  | 'loss'
  | 'duplicate'
  | 'delay'
  | 'clock-jump'
  | 'clock-drift'
  | 'disk-error'
  | 'disk-full'
  | 'disk-slow'
  | 'sync-error'
  | 'bit-flip';

/** Whom a fault hits. */
export interface Target {
  /** The node, decided when it is asked for: ask when the fault begins. */
  id(): NodeId;
  /** All nodes that may be hit. */
  readonly nodes: readonly NodeId[];
  /** Whether one more node may be taken down now. */
  mayGoDown(): boolean;
}

/** A kind of fault, for the nemesis to draw from. */
export interface FaultKind {
  readonly name: string;
  /** The kind of network that it needs. */
  readonly network?: 'stream' | 'datagram';
  /**
   * Draws one fault. All chance comes from `random`, and is drawn now and not when the fault begins, so that it stays
   * the same when others are left out. `begin` is that of a {@link Fault}.
   */
  draw(
    simulation: Simulation,
    target: Target,
    random: () => number,
  ): { readonly name: string; begin(show: (name: string) => void): (() => void) | undefined };
}

export const FAULT_KINDS: readonly FaultKind[] = [
  {
    name: 'crash',
    draw: (simulation, target) => down(simulation, target, 'crash'),
  },
  {
    name: 'kill',
    draw: (simulation, target) => down(simulation, target, 'kill'),
  },
  {
    name: 'pause',
    draw: (simulation, target) =>
      ofNode(simulation, target, 'pause', (node) => {
        if (!node.up || node.paused) return undefined;
        node.pause();
        return () => {
          node.resume();
        };
      }),
  },
  {
    name: 'partition',
    draw({ network }, { nodes }, random) {
      const { here, there } = halves(nodes, random);
      const oneWay = random() < 0.3;
      const groups = oneWay && random() < 0.5 ? [there, here] : [here, there];
      const [first = [], second = []] = groups;
      return {
        name: `partition ${first.join(',')} ${oneWay ? '↛' : '∤'} ${second.join(',')}`,
        begin: () => network.partition(groups, { oneWay }),
      };
    },
  },
  {
    name: 'bridge',
    draw({ network }, { nodes }, random) {
      const bridge = nodes[Math.floor(random() * nodes.length)] ?? '';
      const { here, there } = halves(
        nodes.filter((id) => id !== bridge),
        random,
      );
      return {
        name: `bridge ${here.join(',')} ∤ ${there.join(',')} by ${bridge}`,
        begin: () =>
          network.partition([
            [...here, bridge],
            [...there, bridge],
          ]),
      };
    },
  },
  {
    name: 'isolate',
    draw(simulation, target, random) {
      const direction = (['in', 'out', 'both'] as const)[Math.floor(random() * 3)] ?? 'both';
      return ofNode(simulation, target, `isolate (${direction})`, (_node, id) =>
        simulation.network.isolate(id, direction),
      );
    },
  },
  {
    name: 'clog',
    draw({ network }, { nodes }, random) {
      const [from, to] = pair(nodes, random);
      return { name: `clog ${from} → ${to}`, begin: () => network.clog(from, to) };
    },
  },
  {
    name: 'reset',
    network: 'stream',
    draw({ network }, { nodes }, random) {
      const [one, other] = pair(nodes, random);
      return {
        name: `reset ${one} – ${other}`,
        begin() {
          network.reset(one, other);
          return undefined;
        },
      };
    },
  },
  {
    name: 'loss',
    network: 'datagram',
    draw({ network }, _target, random) {
      const loss = [0.02, 0.1, 0.4][Math.floor(random() * 3)] ?? 0;
      return { name: `lose ${percent(loss)} of the frames`, begin: () => network.disturb({ loss }) };
    },
  },
  {
    name: 'duplicate',
    network: 'datagram',
    draw({ network }, _target, random) {
      const duplicate = [0.02, 0.1, 0.4][Math.floor(random() * 3)] ?? 0;
      return {
        name: `repeat ${percent(duplicate)} of the frames`,
        begin: () => network.disturb({ duplicate }),
      };
    },
  },
  {
    name: 'delay',
    draw({ network }, _target, random) {
      const factor = [2, 10, 50][Math.floor(random() * 3)] ?? 1;
      const delayShape = DELAY_SHAPES[Math.floor(random() * DELAY_SHAPES.length)] ?? 'uniform';
      const straggle = random() < 0.5 ? 0 : 0.1;
      // Of what is usual: faults that overlap must not multiply.
      const maxDelayMs = network.usualFaults.maxDelayMs * factor;
      return {
        name: `delays of up to ${String(factor)} times, ${delayShape}`,
        begin: () => network.disturb({ maxDelayMs, delayShape, straggle }),
      };
    },
  },
  {
    name: 'clock-jump',
    draw(simulation, target, random) {
      const byMs = Math.round((random() * 2 - 1) * ([100, 5_000, 600_000][Math.floor(random() * 3)] ?? 0));
      return ofNode(simulation, target, `clock jumps ${String(byMs)} ms`, (node) => {
        node.jumpClock(byMs);
        return undefined;
      });
    },
  },
  {
    name: 'clock-drift',
    draw(simulation, target, random) {
      const ppm = Math.round((random() * 2 - 1) * ([200, 10_000, 100_000][Math.floor(random() * 3)] ?? 0));
      return ofNode(simulation, target, `clock drifts ${String(ppm)} ppm`, (node) => {
        node.setDrift(ppm);
        return () => {
          node.setDrift(0);
        };
      });
    },
  },
  {
    name: 'disk-error',
    draw: (simulation, target, random) =>
      ofDisk(simulation, target, 'disk errors', { errors: share(random) }),
  },
  {
    name: 'disk-full',
    draw: (simulation, target) => ofDisk(simulation, target, 'disk full', { full: true }),
  },
  {
    name: 'disk-slow',
    draw: (simulation, target, random) =>
      ofDisk(simulation, target, 'disk slow', { slowdown: [10, 100, 1_000][Math.floor(random() * 3)] ?? 1 }),
  },
  {
    name: 'sync-error',
    draw: (simulation, target, random) =>
      ofDisk(simulation, target, 'syncs fail', { syncErrors: share(random) }),
  },
  {
    name: 'bit-flip',
    draw(simulation, target, random) {
      const [file, bit] = [random(), random()];
      return ofNode(simulation, target, 'bit flip', ({ disk }, id, show) => {
        const files = disk.files();
        const path = files[Math.floor(file * files.length)];
        const bits = path === undefined ? 0 : disk.content(path).length * 8;
        if (path === undefined || bits === 0) return undefined;
        disk.flipBit(path, Math.floor(bit * bits));
        show(`bit flip in ${path} of ${id}`);
        return undefined;
      });
    },
  },
];

type Drawn = ReturnType<FaultKind['draw']>;
type Node = NonNullable<ReturnType<Simulation['nodes']['get']>>;

/** A fault of one node, whose name is shown once it is known. */
function ofNode(
  simulation: Simulation,
  target: Target,
  what: string,
  begin: (node: Node, id: NodeId, show: (name: string) => void) => (() => void) | undefined,
): Drawn {
  return {
    name: what,
    begin(show) {
      const id = target.id();
      const node = simulation.nodes.get(id);
      show(`${what} ${id}`);
      return node && begin(node, id, show);
    },
  };
}

function down(simulation: Simulation, target: Target, how: 'crash' | 'kill'): Drawn {
  return ofNode(simulation, target, how, (node) => {
    if (!node.up || !target.mayGoDown()) return undefined;
    node[how]();
    return () => {
      startIfDown(node);
    };
  });
}

function startIfDown(node: Node): void {
  if (!node.up) node.start();
}

/** A node that gave up because of its disk is started again when the disk is well. */
function ofDisk(
  simulation: Simulation,
  target: Target,
  what: string,
  faults: Parameters<Node['disk']['disturb']>[0],
): Drawn {
  return ofNode(simulation, target, what, (node) => {
    if (!target.mayGoDown()) return undefined;
    const undo = node.disk.disturb(faults);
    if (!node.up) return undo;
    return () => {
      undo();
      startIfDown(node);
    };
  });
}

function halves(
  nodes: readonly NodeId[],
  random: () => number,
): { readonly here: readonly NodeId[]; readonly there: readonly NodeId[] } {
  const shuffled = [...nodes];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [shuffled[at], shuffled[other]] = [shuffled[other] ?? '', shuffled[at] ?? ''];
  }
  const size = 1 + Math.floor(random() * Math.max(1, shuffled.length - 1));
  return { here: shuffled.slice(0, size).sort(), there: shuffled.slice(size).sort() };
}

function pair(nodes: readonly NodeId[], random: () => number): readonly [NodeId, NodeId] {
  const one = Math.floor(random() * nodes.length);
  const other = nodes.length < 2 ? one : (one + 1 + Math.floor(random() * (nodes.length - 1))) % nodes.length;
  return [nodes[one] ?? '', nodes[other] ?? ''];
}

function share(random: () => number): number {
  return [0.05, 0.3, 1][Math.floor(random() * 3)] ?? 1;
}

function percent(part: number): string {
  return `${String(Math.round(part * 100))} %`;
}
