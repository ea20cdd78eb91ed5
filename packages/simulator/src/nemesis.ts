/*
 * The nemesis: draws from the seed which faults a run has, when and how long, and schedules them.
 *
 * Each run leaves out each kind of fault with an even chance, and draws for each kind that is left how often it comes
 * and how long it lasts. Runs that differ in kind find more than runs that all have every fault at a middling strength,
 * because one fault often hides what another would show (A. Groce et al., "Swarm Testing", ISSTA 2012).
 */
import { choiceOption, integerOption, InvalidOptionError, numberOption } from '@quorate/runtime';
import type { NodeId } from '@quorate/transport';
import { FAULT_KINDS, type FaultKind, type FaultName, type Target } from './fault-kinds.js';
import type { Simulation } from './simulation.js';

/** What {@link nemesis} does, and to whom. */
export interface NemesisOptions {
  /** How long faults begin, in milliseconds of virtual time from now on. The last one may end later. */
  readonly durationMs: number;
  /** Whom they hit. @defaultValue all nodes that there are now */
  readonly nodes?: readonly NodeId[];
  /**
   * The kinds of faults that runs are made of: names of {@link FaultName}, or kinds of one's own.
   * @defaultValue all that fit the kind of network, except `bit-flip`
   */
  readonly faults?: readonly (FaultName | FaultKind)[];
  /** Whether each run leaves out some kinds. Without, all are in every run. @defaultValue true */
  readonly swarm?: boolean;
  /** Milliseconds between two faults of one kind, on average over the runs. @defaultValue a sixth of `durationMs` */
  readonly meanGapMs?: number;
  /** How long a fault lasts, in milliseconds, on average over the runs. @defaultValue a twelfth of `durationMs` */
  readonly meanLengthMs?: number;
  /** How many nodes may be down at a time by its doing. @defaultValue all */
  readonly maxDown?: number;
  /** The node that matters most at the moment, such as the leader: a third of the faults of nodes hit it. */
  readonly target?: () => NodeId | undefined;
}

/** Draws the faults of a run from its seed and schedules them. Returns the names of the kinds that this run has. */
export function nemesis(simulation: Simulation, options: NemesisOptions): readonly string[] {
  const durationMs = numberOption('durationMs', options.durationMs);
  const nodes = options.nodes ?? [...simulation.nodes.keys()];
  for (const id of nodes) {
    if (!simulation.nodes.has(id)) throw new InvalidOptionError('nodes', id, 'nodes of the simulation');
  }
  const maxDown = integerOption('maxDown', options.maxDown ?? nodes.length);
  const meanGapMs = numberOption('meanGapMs', options.meanGapMs ?? durationMs / 6);
  const meanLengthMs = numberOption('meanLengthMs', options.meanLengthMs ?? durationMs / 12);
  const random = simulation.stream(`nemesis ${String(simulation.faultCount)}`);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const names: string[] = [];
  for (const kind of kindsOf(simulation, options.faults)) {
    // Drawn also for a kind that is left out, so that the mix of one run says nothing about its details.
    const gapMs = Math.max(1, meanGapMs * pick([0.25, 1, 1.75]));
    const lengthMs = meanLengthMs * pick([0.1, 0.9, 2]);
    const included = random() < 0.5 || options.swarm === false;
    if (!included || nodes.length === 0) continue;
    names.push(kind.name);
    for (let atMs = random() * 2 * gapMs; atMs < durationMs; atMs += random() * 2 * gapMs) {
      const chosen = pick(nodes);
      const targeted = random() < 1 / 3;
      const target: Target = {
        id: () => (targeted ? (options.target?.() ?? chosen) : chosen),
        nodes,
        mayGoDown: () => nodes.filter((id) => simulation.nodes.get(id)?.up === false).length < maxDown,
      };
      const drawn = kind.draw(simulation, target, random);
      simulation.fault({
        name: drawn.name,
        atMs: simulation.nowMs + atMs,
        durationMs: random() * 2 * lengthMs,
        begin: (show) => drawn.begin(show),
      });
    }
  }
  return names;
}

function kindsOf(simulation: Simulation, wanted: NemesisOptions['faults']): readonly FaultKind[] {
  if (wanted === undefined) {
    return FAULT_KINDS.filter(({ name, network }) => {
      return name !== 'bit-flip' && (network === undefined || network === simulation.network.kind);
    });
  }
  const names = FAULT_KINDS.map(({ name }) => name);
  return wanted.flatMap((one) => {
    if (typeof one !== 'string') return [one];
    choiceOption('faults', one, names);
    return FAULT_KINDS.filter(({ name }) => name === one);
  });
}
