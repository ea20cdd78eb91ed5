import {
  changeMembers,
  type DecodeOptions,
  type HashFunction,
  type Key,
  mix32,
  type NodeSpec,
  type PlacementChange,
  type PlacementNode,
  type PlacementOptions,
  type PlacementState,
  readSnapshot,
  resolveNodes,
  resolveOptions,
  TokenPlacement,
} from '@quorate/hash-ring';

/** Options of {@link createRendezvous}. */
export type RendezvousOptions = PlacementOptions;

/**
 * Highest random weight (D. Thaler and C. Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996), with
 * weights after J. Resch ("New Hashing Algorithms for Data Storage", SDC 2015): every node draws a score for the
 * token, and the highest has the key.
 *
 * Balance follows the weights without virtual nodes, and every change moves the least possible, for each place of
 * the preference list. `get` takes time in proportion to the number of nodes.
 */
export class Rendezvous extends TokenPlacement {
  readonly strategy = 'rendezvous';
  /** The nodes that can own keys, by ascending id, so that the first of equal scores has the lowest id. */
  readonly #owners: readonly PlacementNode[];
  readonly #seeds: Uint32Array;
  /** Undefined while all owners weigh the same: then the greatest hash has the greatest score. */
  readonly #weights: Float64Array | undefined;

  /** Use {@link createRendezvous} or {@link decodeRendezvous}. @internal */
  constructor(state: PlacementState) {
    super(state);
    this.#owners = state.nodes.filter(({ weight }) => weight > 0);
    this.#seeds = Uint32Array.from(this.#owners, ({ id }) => nodeSeed(state.hash, state.seed, id));
    const first = this.#owners[0]?.weight;
    this.#weights = this.#owners.every(({ weight }) => weight === first)
      ? undefined
      : Float64Array.from(this.#owners, ({ weight }) => weight);
  }

  override get(key: Key): string | undefined {
    const token = this.token(key);
    const seeds = this.#seeds;
    const weights = this.#weights;
    let best = -1;
    let owner = -1;
    for (let i = 0; i < seeds.length; i++) {
      const hash = draw(token, seeds[i] ?? 0);
      const score = weights === undefined ? hash : scoreOf(hash, weights[i] ?? 0);
      if (score > best) {
        best = score;
        owner = i;
      }
    }
    return this.#owners[owner]?.id;
  }

  override with(change: PlacementChange): Rendezvous {
    const changes = changeMembers(this.nodes, change, 'any');
    return changes === undefined ? this : new Rendezvous(this.next(changes.nodes));
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    const scored = this.#owners.map((node, i) => {
      const hash = draw(token, this.#seeds[i] ?? 0);
      return { node, score: this.#weights === undefined ? hash : scoreOf(hash, node.weight) };
    });
    // The sort is stable and the owners come by id.
    scored.sort((a, b) => b.score - a.score);
    for (const { node } of scored) if (visit(node)) return;
  }

  protected override writeParameters(): void {
    // Members decide everything.
  }
}

/** Rendezvous over these nodes. */
export function createRendezvous(
  nodes: Iterable<string | NodeSpec> = [],
  options: RendezvousOptions = {},
): Rendezvous {
  return new Rendezvous({ ...resolveOptions(options), nodes: resolveNodes(nodes, 'any') });
}

/** The placement that {@link Rendezvous.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeRendezvous(bytes: Uint8Array, options: DecodeOptions = {}): Rendezvous {
  return new Rendezvous(readSnapshot(bytes, 'rendezvous', options, () => undefined).state);
}

/** Mixed once more, since a weak hash gives similar names similar seeds. */
function nodeSeed(hash: HashFunction, seed: number, id: string): number {
  return mix32(hash.string(id, seed) ^ 0x9e3779b9);
}

function draw(token: number, seed: number): number {
  return mix32(Math.imul(token ^ seed, 0x9e3779b1) + seed);
}

/** -weight / ln(u) for u uniform in (0, 1): the highest of such scores falls on a node in proportion to its weight. */
function scoreOf(hash: number, weight: number): number {
  return -weight / Math.log((hash + 0.5) / 2 ** 32);
}
