import {
  buildPoints,
  changeMembers,
  type DecodeOptions,
  type Key,
  md5,
  md5Words,
  type NodeSpec,
  type PlacementChange,
  type PlacementNode,
  type PlacementOptions,
  type PlacementState,
  PlacementTooLargeError,
  pointEnds,
  type Points,
  type RangedPlacement,
  readSnapshot,
  resolveNodes,
  resolveOptions,
  slotAt,
  TokenPlacement,
  walkSlots,
} from '@quorate/hash-ring';

/** Options of {@link createKetama}. The hash is MD5 without a seed: that is what makes it ketama. */
export type KetamaOptions = Pick<PlacementOptions, 'epoch'>;

/** Digests per server of average weight; each digest gives four points. */
const DIGESTS_PER_SERVER = 40;
const MAX_NODES = 25_000;

const encoder = new TextEncoder();

/**
 * Ketama as R. Jones' libketama computes it, to the last point: the same keys on the same servers as the
 * memcached clients that are built on it or follow it.
 *
 * The number of points of a server depends on its share of the total weight, rounded down after arithmetic in
 * 32-bit floats, as in libketama. So a change of one server's weight, and sometimes a new server, shifts a few
 * points of the others: where nothing dictates ketama, the ring moves less.
 *
 * Servers are sorted by id before points are laid, and two points of one value go by id; libketama leaves their
 * order to qsort. Ids that libketama would cut off (22 bytes and longer) are used whole.
 */
export class Ketama extends TokenPlacement implements RangedPlacement {
  readonly strategy = 'ketama';
  readonly #points: Points;

  /** Use {@link createKetama} or {@link decodeKetama}. @internal */
  constructor(state: PlacementState) {
    super(state);
    if (state.nodes.length > MAX_NODES) {
      throw new PlacementTooLargeError(
        `${String(state.nodes.length)} servers; ${String(MAX_NODES)} are the most`,
      );
    }
    this.#points = buildPoints(
      tokensOf(state.nodes),
      state.nodes.map(({ id }) => id),
    );
  }

  /** How many points the circle has; libketama's `numpoints`. */
  get points(): number {
    return this.#points.count;
  }

  override get(key: Key): string | undefined {
    return this.#points.count === 0 ? undefined : this.nodes[slotAt(this.#points, this.token(key))]?.id;
  }

  rangeEnds(): Uint32Array {
    return pointEnds(this.#points);
  }

  override with(change: PlacementChange): Ketama {
    const changes = changeMembers(this.nodes, change, 'any');
    return changes === undefined ? this : new Ketama(this.next(changes.nodes));
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    walkSlots(this.#points, token, (slot) => {
      const node = this.nodes[slot];
      return node !== undefined && visit(node);
    });
  }

  protected override writeParameters(): void {
    // Members decide everything.
  }
}

/**
 * A ketama continuum of these servers. `id` is the server's address as the other clients spell it, such as
 * `10.0.1.1:11211`, and `weight` its memory, in any unit.
 */
export function createKetama(nodes: Iterable<string | NodeSpec> = [], options: KetamaOptions = {}): Ketama {
  const { epoch } = resolveOptions(options);
  return new Ketama({ nodes: resolveNodes(nodes, 'any'), hash: md5, seed: 0, epoch });
}

/** The placement that {@link Ketama.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeKetama(bytes: Uint8Array, options: DecodeOptions = {}): Ketama {
  return new Ketama(readSnapshot(bytes, 'ketama', options, () => undefined).state);
}

function tokensOf(nodes: readonly PlacementNode[]): Uint32Array[] {
  const servers = nodes.filter(({ weight }) => weight > 0).length;
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  return nodes.map(({ id, weight }) => {
    // `float pct = (float)memory / (float)total; floorf(pct * 40.0 * (float)servers)`: the product is in doubles,
    // and floorf rounds it to a float first.
    const share = weight === 0 ? 0 : Math.fround(Math.fround(weight) / Math.fround(total));
    const digests = Math.floor(Math.fround(share * DIGESTS_PER_SERVER * servers));
    const tokens = new Uint32Array(4 * digests);
    for (let i = 0; i < digests; i++) tokens.set(md5Words(encoder.encode(`${id}-${String(i)}`)), 4 * i);
    return tokens;
  });
}
