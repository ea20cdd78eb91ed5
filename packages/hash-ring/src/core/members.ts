import { describeValue, identifierOption, InvalidOptionError, numberOption } from '@quorate/runtime';
import { DuplicateNodeError, UnknownNodeError } from '../errors.js';
import type { NodeSpec, PlacementChange, PlacementNode } from '../placement.js';

/** Whether a strategy can give nodes different shares. */
export type Weights = 'any' | 'equal';

/** The members after a change, and what the change was. */
export interface MemberChange {
  /** By ascending id. */
  readonly nodes: readonly PlacementNode[];
  readonly added: readonly PlacementNode[];
  readonly removed: readonly PlacementNode[];
  /** Members whose weight is another one, as they are now. */
  readonly reweighted: readonly PlacementNode[];
}

/** By ascending UTF-16 code units: a total order that no locale changes. */
export function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Checks nodes and sorts them by id. */
export function resolveNodes(specs: Iterable<string | NodeSpec>, weights: Weights): PlacementNode[] {
  if (
    typeof specs === 'string' ||
    typeof (specs as Partial<Iterable<unknown>>)[Symbol.iterator] !== 'function'
  ) {
    throw new InvalidOptionError('nodes', specs, 'a list of ids or nodes');
  }
  const members = new Map<string, PlacementNode>();
  for (const spec of specs) addNode(members, resolveNode(spec, weights));
  return sorted(members);
}

/** Applies a change to members that are sorted by id; undefined when it changes nothing. */
export function changeMembers(
  nodes: readonly PlacementNode[],
  change: PlacementChange,
  weights: Weights,
): MemberChange | undefined {
  const members = new Map(nodes.map((node) => [node.id, node]));
  const removed: PlacementNode[] = [];
  for (const id of change.remove ?? []) {
    const node = members.get(id);
    if (node === undefined) throw new UnknownNodeError(id);
    members.delete(id);
    removed.push(node);
  }
  const added = new Map<string, PlacementNode>();
  for (const spec of change.add ?? []) {
    const node = resolveNode(spec, weights);
    addNode(members, node);
    added.set(node.id, node);
  }
  const reweighted: PlacementNode[] = [];
  const entries = change.reweight instanceof Map ? change.reweight : Object.entries(change.reweight ?? {});
  for (const [id, value] of entries as Iterable<[string, number]>) {
    const node = members.get(id);
    if (node === undefined) throw new UnknownNodeError(id);
    const weight = checkWeight(id, value, weights);
    if (weight === node.weight) continue;
    const changed = Object.freeze({ ...node, weight });
    members.set(id, changed);
    if (added.has(id)) added.set(id, changed);
    else reweighted.push(changed);
  }
  if (added.size + removed.length + reweighted.length === 0) return undefined;
  return { nodes: sorted(members), added: [...added.values()], removed, reweighted };
}

function addNode(members: Map<string, PlacementNode>, node: PlacementNode): void {
  if (members.has(node.id)) throw new DuplicateNodeError(node.id);
  members.set(node.id, node);
}

function sorted(members: ReadonlyMap<string, PlacementNode>): PlacementNode[] {
  return [...members.values()].sort((a, b) => compareIds(a.id, b.id));
}

function resolveNode(spec: string | NodeSpec, weights: Weights): PlacementNode {
  const given: unknown = spec;
  if (typeof given === 'string') return resolveNode({ id: given }, weights);
  if (typeof given !== 'object' || given === null) {
    throw new InvalidOptionError('nodes', given, 'a list of ids or nodes');
  }
  const { id, weight = 1, zone, rack } = spec as NodeSpec;
  identifierOption('id', id);
  return Object.freeze({
    id,
    weight: checkWeight(id, weight, weights),
    zone: zone === undefined ? undefined : identifierOption('zone', zone),
    rack: rack === undefined ? undefined : identifierOption('rack', rack),
  });
}

/** The sum of millions of these stays finite, also in the 32-bit floats of ketama. */
const MAX_WEIGHT = 1e30;

/** Whether a node can weigh this much. */
export function isWeight(weight: number): boolean {
  return weight >= 0 && weight <= MAX_WEIGHT;
}

function checkWeight(id: string, weight: unknown, weights: Weights): number {
  const option = `weight of ${describeValue(id)}`;
  if (weights === 'equal' && weight !== 1) {
    throw new InvalidOptionError(
      option,
      weight,
      '1, since this strategy is for equal nodes (ring, rendezvous and maglev take weights)',
    );
  }
  return numberOption(option, weight, { max: MAX_WEIGHT });
}
