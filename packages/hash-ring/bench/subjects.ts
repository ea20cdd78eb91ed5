import { createRequire } from 'node:module';
import {
  cacheHotKeys,
  createRing,
  fnv1a,
  type NodeSpec,
  type Placement,
  type PlacementChange,
  xxh32,
} from '@quorate/hash-ring';
import { createAnchor } from '@quorate/hash-ring/anchor';
import { createPartitioned } from '@quorate/hash-ring/bounded';
import { createJump } from '@quorate/hash-ring/jump';
import { createKetama } from '@quorate/hash-ring/ketama';
import { createMaglev } from '@quorate/hash-ring/maglev';
import { createRendezvous } from '@quorate/hash-ring/rendezvous';
import { HashRing, PrimaryKey } from 'effect';

/** A placement under measurement. `add` and `remove` give the placement to go on with. */
export interface Subject {
  get(key: string): unknown;
  add(node: string): Subject;
  remove(node: string): Subject;
}

/** What is measured, by name: our strategies, the peers, and the limits. */
export interface Entry {
  readonly kind: 'ours' | 'peer' | 'limit';
  readonly create: (nodes: readonly string[]) => Subject;
}

const require = createRequire(import.meta.url);
const POINTS = 160;

function ours(create: (nodes: readonly (string | NodeSpec)[]) => Placement): Entry {
  const wrap = (placement: Placement): Subject => ({
    get: (key) => placement.get(key),
    add: (node) => wrap(changed(placement, { add: [node] })),
    remove: (node) => wrap(changed(placement, { remove: [node] })),
  });
  return { kind: 'ours', create: (nodes) => wrap(create(nodes)) };
}

function changed(placement: Placement, change: PlacementChange): Placement {
  return placement.with(change);
}

function withHotKeys(placement: Placement): Subject {
  return {
    get: cacheHotKeys(placement),
    add: (node) => withHotKeys(placement.with({ add: [node] })),
    remove: (node) => withHotKeys(placement.with({ remove: [node] })),
  };
}

/** A peer that is changed in place. */
function mutable<T>(
  create: (nodes: readonly string[]) => T,
  methods: {
    get: (peer: T, key: string) => unknown;
    add: (peer: T, node: string) => void;
    remove: (peer: T, node: string) => void;
  },
): Entry {
  return {
    kind: 'peer',
    create(nodes) {
      const peer = create(nodes);
      const subject: Subject = {
        get: (key) => methods.get(peer, key),
        add(node) {
          methods.add(peer, node);
          return subject;
        },
        remove(node) {
          methods.remove(peer, node);
          return subject;
        },
      };
      return subject;
    },
  };
}

interface HashringPeer {
  get(key: string): string;
  add(node: string): void;
  remove(node: string): void;
}
const Hashring = require('hashring') as new (nodes: readonly string[]) => HashringPeer;

interface ConsistentHashPeer {
  get(key: string): string;
  add(node: string, points: number): void;
  remove(node: string): void;
}
// Its default range of 100,003 points runs out at 198 nodes of 160 points.
const ConsistentHash = require('consistent-hash') as new (options: { range: number }) => ConsistentHashPeer;

interface ConsistentHashingPeer {
  getNode(key: string): string;
  addNode(node: string): void;
  removeNode(node: string): void;
}
const ConsistentHashing = require('consistent-hashing') as new (nodes: string[]) => ConsistentHashingPeer;

const jumphash = require('jumphash') as (key: string, buckets: number) => number;

class EffectNode implements PrimaryKey.PrimaryKey {
  constructor(readonly id: string) {}
  [PrimaryKey.symbol](): string {
    return this.id;
  }
}

/** FNV-1a, a sorted Uint32Array of points and a binary search: what one writes by hand. */
class HandWritten implements Subject {
  readonly #points: Uint32Array;
  readonly #owners: string[];
  readonly #nodes: readonly string[];

  constructor(nodes: readonly string[]) {
    const points = nodes.flatMap((node) =>
      Array.from({ length: POINTS }, (_, i) => ({ token: xxh32.string(`${node}-${String(i)}`, 0), node })),
    );
    points.sort((a, b) => a.token - b.token);
    this.#nodes = nodes;
    this.#points = Uint32Array.from(points, ({ token }) => token);
    this.#owners = points.map(({ node }) => node);
  }

  get(key: string): string | undefined {
    let token = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) token = Math.imul(token ^ key.charCodeAt(i), 0x01000193);
    token >>>= 0;
    const points = this.#points;
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((points[middle] ?? 0) < token) low = middle + 1;
      else high = middle;
    }
    return this.#owners[low === points.length ? 0 : low];
  }

  add(node: string): Subject {
    return new HandWritten([...this.#nodes, node]);
  }

  remove(node: string): Subject {
    return new HandWritten(this.#nodes.filter((other) => other !== node));
  }
}

/** No placement at all: only the hash that any placement must compute. */
function hashOnly(hash: typeof xxh32): Entry {
  const subject: Subject = {
    get: (key) => hash.string(key, 0),
    add: () => subject,
    remove: () => subject,
  };
  return { kind: 'limit', create: () => subject };
}

export const subjects: Readonly<Record<string, Entry>> = {
  ring: ours((nodes) => createRing(nodes)),
  'ring, hot keys cached': { kind: 'ours', create: (nodes) => withHotKeys(createRing(nodes)) },
  ketama: ours((nodes) => createKetama(nodes)),
  rendezvous: ours((nodes) => createRendezvous(nodes)),
  jump: ours((nodes) => createJump(nodes)),
  maglev: ours((nodes) => createMaglev(nodes)),
  anchor: ours((nodes) => createAnchor(nodes)),
  'bounded, 16,384 partitions': ours((nodes) => createPartitioned(createRing(nodes), { partitions: 16_384 })),
  hashring: mutable((nodes) => new Hashring(nodes), {
    get: (peer, key) => peer.get(key),
    add: (peer, node) => peer.add(node),
    remove: (peer, node) => peer.remove(node),
  }),
  'consistent-hash': mutable(
    (nodes) => {
      const peer = new ConsistentHash({ range: 2 ** 31 });
      for (const node of nodes) peer.add(node, POINTS);
      return peer;
    },
    {
      get: (peer, key) => peer.get(key),
      add: (peer, node) => peer.add(node, POINTS),
      remove: (peer, node) => peer.remove(node),
    },
  ),
  'consistent-hashing': mutable((nodes) => new ConsistentHashing([...nodes]), {
    get: (peer, key) => peer.getNode(key),
    add: (peer, node) => peer.addNode(node),
    remove: (peer, node) => peer.removeNode(node),
  }),
  jumphash: mutable((nodes) => [...nodes], {
    get: (nodes, key) => nodes[jumphash(key, nodes.length)],
    add: (nodes, node) => nodes.push(node),
    remove: (nodes, node) => nodes.splice(nodes.indexOf(node), 1),
  }),
  'effect HashRing': mutable(
    (nodes) => {
      const ring = HashRing.make<EffectNode>({ baseWeight: POINTS });
      return HashRing.addMany(
        ring,
        nodes.map((id) => new EffectNode(id)),
      );
    },
    {
      get: (ring, key) => HashRing.get(ring, key)?.id,
      add: (ring, node) => HashRing.add(ring, new EffectNode(node)),
      remove: (ring, node) => HashRing.remove(ring, new EffectNode(node)),
    },
  ),
  'by hand: binary search': { kind: 'limit', create: (nodes) => new HandWritten(nodes) },
  'hash alone: fnv1a': hashOnly(fnv1a),
  'hash alone: xxh32': hashOnly(xxh32),
};
