import {
  createRing,
  type DecodeOptions,
  decodeRing,
  type NodeSpec,
  type Placement,
  type PlacementOptions,
} from '@quorate/hash-ring';
import { createAnchor, decodeAnchor } from '@quorate/hash-ring/anchor';
import { createPartitioned, decodePartitioned } from '@quorate/hash-ring/bounded';
import { createJump, decodeJump } from '@quorate/hash-ring/jump';
import { createKetama, decodeKetama } from '@quorate/hash-ring/ketama';
import { createMaglev, decodeMaglev } from '@quorate/hash-ring/maglev';
import { createRendezvous, decodeRendezvous } from '@quorate/hash-ring/rendezvous';

/** A strategy under test, and what it promises. */
export interface Strategy {
  readonly name: string;
  readonly create: (nodes: readonly (string | NodeSpec)[], options?: PlacementOptions) => Placement;
  readonly decode: (bytes: Uint8Array, options?: DecodeOptions) => Placement;
  readonly weighted: boolean;
  readonly ranged: boolean;
  /** A new node takes keys and no key moves between others. */
  readonly leastOnAdd: boolean;
  /** Only the keys of a removed node move. */
  readonly leastOnRemove: boolean;
  /** The same holds for each list of replicas: at most one node is replaced. */
  readonly leastForReplicas: boolean;
  /** Members decide everything, however they came to be members. */
  readonly historyFree: boolean;
}

const least = { leastOnAdd: true, leastOnRemove: true };

export const strategies: readonly Strategy[] = [
  {
    name: 'ring',
    create: (nodes, options) => createRing(nodes, { pointsPerWeight: 40, ...options }),
    decode: decodeRing,
    weighted: true,
    ranged: true,
    ...least,
    leastForReplicas: true,
    historyFree: true,
  },
  {
    name: 'ketama',
    create: (nodes) => createKetama(nodes),
    decode: decodeKetama,
    weighted: true,
    ranged: true,
    leastOnAdd: false,
    leastOnRemove: false,
    leastForReplicas: false,
    historyFree: true,
  },
  {
    name: 'rendezvous',
    create: createRendezvous,
    decode: decodeRendezvous,
    weighted: true,
    ranged: false,
    ...least,
    leastForReplicas: true,
    historyFree: true,
  },
  {
    name: 'jump',
    create: createJump,
    decode: decodeJump,
    weighted: false,
    ranged: false,
    leastOnAdd: true,
    leastOnRemove: false,
    leastForReplicas: false,
    historyFree: false,
  },
  {
    name: 'maglev',
    create: (nodes, options) => createMaglev(nodes, { tableSize: 2039, ...options }),
    decode: decodeMaglev,
    weighted: true,
    ranged: true,
    leastOnAdd: false,
    leastOnRemove: false,
    leastForReplicas: false,
    historyFree: true,
  },
  {
    name: 'anchor',
    create: createAnchor,
    decode: decodeAnchor,
    weighted: false,
    ranged: false,
    ...least,
    leastForReplicas: false,
    historyFree: false,
  },
  {
    name: 'partitioned',
    create: (nodes, options) =>
      createPartitioned(createRing(nodes, { pointsPerWeight: 40, ...options }), { partitions: 256 }),
    decode: (bytes, options) => decodePartitioned(bytes, (inner) => decodeRing(inner, options)),
    weighted: true,
    ranged: true,
    leastOnAdd: false,
    leastOnRemove: false,
    leastForReplicas: false,
    historyFree: true,
  },
];

export const KEYS: readonly string[] = Array.from({ length: 400 }, (_, i) => `key:${String(i)}`);
