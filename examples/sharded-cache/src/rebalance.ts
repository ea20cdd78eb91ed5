import {
  type CheckpointStore,
  inRange,
  migrate,
  type MigrationProgress,
  type MovementPlan,
  plan,
  type Ring,
  type TokenRange,
} from '@quorate/hash-ring';
import type { NodeId } from '@quorate/transport';
import { type Cluster, REPLICAS } from './cluster.js';
import { call, type Entry } from './protocol.js';
import type { Traffic } from './traffic.js';

/** What a change of the members led to. */
export interface Rebalanced {
  readonly plan: MovementPlan;
  /** Entries that were copied. */
  readonly copied: number;
  /** What the audit found; empty when all is well. */
  readonly faults: readonly string[];
}

/**
 * Moves what the change from one placement to another asks for while clients go on reading and writing, then audits every node.
 *
 * Until the moves are done, reads go to the old replicas and writes to the old and the new ones; after that the new
 * placement is in force and the old copies are released.
 */
export async function rebalance(
  cluster: Cluster,
  before: Ring,
  after: Ring,
  traffic: Traffic,
  onProgress: (progress: MigrationProgress) => void,
): Promise<Rebalanced> {
  // The members that are gone were killed here; one that says goodbye could still be read from.
  const gone = before.nodes.flatMap(({ id }) => (after.node(id) === undefined ? [id] : []));
  const movement = plan(before, after, { replicas: REPLICAS, unavailable: gone });
  const held = await contentsOf(cluster, after);
  const checkpoint = memoryCheckpoint();
  let copied = 0;
  traffic.start({ before, after, gone });
  try {
    await migrate(
      movement,
      async ({ start, end, to, from }) => {
        const { entries } = await call(cluster.transport, to, 'fetch', { start, end, from });
        copied += entries;
      },
      { concurrency: 8, onProgress, checkpoint },
    );
  } finally {
    await traffic.stop();
  }
  for (const { node, start, end } of movement.releases)
    await call(cluster.transport, node, 'release', { start, end });
  const now = await contentsOf(cluster, after);
  const faults = [
    ...traffic.faults,
    ...movement.lost.map(({ start, end }) => `tokens ${String(start)} to ${String(end)} are lost`),
    ...auditPlaces(after, now, traffic.entries),
    ...auditMoves(after, movement, held, now, traffic.entries),
  ];
  return { plan: movement, copied, faults };
}

type Contents = ReadonlyMap<NodeId, ReadonlyMap<string, Entry>>;

async function contentsOf(cluster: Cluster, { nodes }: Ring): Promise<Contents> {
  return new Map(await Promise.all(nodes.map(async ({ id }) => [id, await cluster.contents(id)] as const)));
}

/** Every key is on exactly the nodes where the placement says, in its latest version. */
function auditPlaces(placement: Ring, contents: Contents, entries: ReadonlyMap<string, Entry>): string[] {
  const faults: string[] = [];
  for (const { key, version } of entries.values()) {
    const wanted = new Set(placement.pick(key, REPLICAS));
    for (const [node, held] of contents) {
      const found = held.get(key)?.version;
      if (found !== (wanted.has(node) ? version : undefined)) {
        const place = wanted.has(node) ? `version ${String(version)}` : 'nothing';
        faults.push(`${node} has version ${String(found)} of ${key} where ${place} belongs`);
      }
    }
  }
  return faults;
}

/** Nodes gained and lost only keys of ranges that the plan names for them. */
function auditMoves(
  placement: Ring,
  movement: MovementPlan,
  before: Contents,
  after: Contents,
  entries: ReadonlyMap<string, Entry>,
): string[] {
  const faults: string[] = [];
  const planned = (ranges: readonly TokenRange[], key: string): boolean => {
    const token = placement.token(key);
    return ranges.some((range) => inRange(range, token));
  };
  for (const { id } of placement.nodes) {
    const moves = movement.moves.filter(({ to }) => to === id);
    const releases = movement.releases.filter(({ node }) => node === id);
    for (const key of entries.keys()) {
      const had = before.get(id)?.has(key) === true;
      const has = after.get(id)?.has(key) === true;
      if (has && !had && !planned(moves, key)) faults.push(`${id} got ${key}, which was not to move there`);
      if (had && !has && !planned(releases, key)) faults.push(`${id} lost ${key}, which was to stay`);
    }
  }
  return faults;
}

/** A service would keep it where a successor of this process finds it. */
function memoryCheckpoint(): CheckpointStore {
  let saved: Uint8Array | undefined;
  return { load: () => saved, save: (bytes) => void (saved = bytes) };
}
