import { InvalidOptionError, integerOption } from '@quorate/runtime';
import type { ByteWriter } from '@quorate/runtime/bytes';
import {
  changeMembers,
  type DecodeOptions,
  type Key,
  mix32,
  type NodeSpec,
  type PlacementChange,
  type PlacementNode,
  type PlacementOptions,
  type PlacementState,
  PlacementTooLargeError,
  type RangedPlacement,
  readSnapshot,
  resolveNodes,
  resolveOptions,
  TokenPlacement,
  TOKENS,
} from '@quorate/hash-ring';

/** Options of {@link createMaglev}. */
export interface MaglevOptions extends PlacementOptions {
  /**
   * Slots of the lookup table: a prime number, at least a hundred times the number of nodes for shares within
   * 1 %. A slot takes 4 bytes.
   * @defaultValue 65_537
   */
  readonly tableSize?: number;
}

const DEFAULT_TABLE_SIZE = 65_537;
const MAX_TABLE_SIZE = 2 ** 24;

/**
 * Maglev hashing (D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
 * section 3.4): nodes take turns in claiming slots of a table, each in an order of its own.
 *
 * Balance is the best of all and `get` is one look into the table. A change rebuilds it and also moves a few slots
 * between nodes that did not change; `plan` tells how many. Further replicas are drawn from other slots.
 *
 * Slots are intervals of tokens, so movements can be planned. With weights a node's turns are in proportion.
 */
export class Maglev extends TokenPlacement implements RangedPlacement {
  readonly strategy = 'maglev';
  readonly tableSize: number;
  /** The index in `nodes` of each slot's owner. */
  readonly #table: Uint32Array;
  readonly #empty: boolean;

  /** Use {@link createMaglev} or {@link decodeMaglev}. @internal */
  constructor(state: PlacementState, tableSize: number) {
    super(state);
    this.tableSize = checkTableSize(tableSize);
    if (state.nodes.length > tableSize) {
      throw new PlacementTooLargeError(
        `${String(state.nodes.length)} nodes in a table of ${String(tableSize)} slots; raise tableSize`,
      );
    }
    this.#table = populate(state, tableSize);
    this.#empty = !state.nodes.some(({ weight }) => weight > 0);
  }

  override get(key: Key): string | undefined {
    return this.#empty ? undefined : this.nodes[this.#table[this.#slotOf(this.token(key))] ?? 0]?.id;
  }

  rangeEnds(): Uint32Array {
    return Uint32Array.from({ length: this.tableSize }, (_, slot) => {
      // The quotient of a large table is rounded, so that this may be one token off.
      const end = Math.ceil(((slot + 1) * TOKENS) / this.tableSize) - 1;
      if (this.#slotOf(end) > slot) return end - 1;
      return end < TOKENS - 1 && this.#slotOf(end + 1) === slot ? end + 1 : end;
    });
  }

  override with(change: PlacementChange): Maglev {
    const changes = changeMembers(this.nodes, change, 'any');
    return changes === undefined ? this : new Maglev(this.next(changes.nodes), this.tableSize);
  }

  override walk(token: number, visit: (node: PlacementNode) => boolean): void {
    if (this.#empty) return;
    const first = this.#slotOf(token);
    // Neighbouring slots are no independent draws, since nodes claim slots in regular steps; other slots are.
    for (let draw = 0; draw < 4 * this.nodes.length; draw++) {
      const drawn = draw === 0 ? first : this.#slotOf(mix32(first + Math.imul(draw, 0x9e3779b9)));
      const node = this.nodes[this.#table[drawn] ?? 0];
      if (node !== undefined && visit(node)) return;
    }
    // That found every node with near certainty; this finds those that have a slot at all.
    for (const slot of this.#table) {
      const node = this.nodes[slot];
      if (node !== undefined && visit(node)) return;
    }
  }

  protected override writeParameters(writer: ByteWriter): void {
    writer.u32(this.tableSize);
  }

  /** floor(token * size / 2^32), in two halves since the product has up to 56 bits. */
  #slotOf(token: number): number {
    const high = (token >>> 16) * this.tableSize;
    const low = (token & 0xffff) * this.tableSize;
    return Math.floor((high + Math.floor(low / 0x10000)) / 0x10000);
  }
}

/** Maglev hashing over these nodes. */
export function createMaglev(nodes: Iterable<string | NodeSpec> = [], options: MaglevOptions = {}): Maglev {
  return new Maglev(
    { ...resolveOptions(options), nodes: resolveNodes(nodes, 'any') },
    options.tableSize ?? DEFAULT_TABLE_SIZE,
  );
}

/** The placement that {@link Maglev.toBytes} wrote. Throws `MALFORMED_BYTES` for anything else. */
export function decodeMaglev(bytes: Uint8Array, options: DecodeOptions = {}): Maglev {
  const { state, parameters } = readSnapshot(bytes, 'maglev', options, (reader) => reader.u32());
  return new Maglev(state, parameters);
}

function populate({ nodes, hash, seed }: PlacementState, size: number): Uint32Array {
  const FREE = 0xffffffff;
  const table = new Uint32Array(size).fill(FREE);
  const heaviest = nodes.reduce((most, { weight }) => Math.max(most, weight), 0);
  if (heaviest === 0) return table.fill(0);
  const claims = nodes.map(({ id, weight }) => {
    const name = hash.string(id, seed);
    return {
      slot: mix32(name ^ 0x9e3779b9) % size,
      skip: (mix32(name ^ 0x85ebca6b) % (size - 1)) + 1,
      turnsPerRound: weight / heaviest,
      turns: 0,
    };
  });
  for (let claimed = 0; ;) {
    for (const [index, claim] of claims.entries()) {
      claim.turns += claim.turnsPerRound;
      if (claim.turns < 1) continue;
      claim.turns -= 1;
      // The size is prime, so a walk by any skip comes by every slot.
      while (table[claim.slot] !== FREE) claim.slot = (claim.slot + claim.skip) % size;
      table[claim.slot] = index;
      if (++claimed === size) return table;
    }
  }
}

function checkTableSize(size: number): number {
  integerOption('tableSize', size, { min: 2, max: MAX_TABLE_SIZE });
  for (let divisor = 2; divisor * divisor <= size; divisor++) {
    if (size % divisor === 0)
      throw new InvalidOptionError('tableSize', size, 'a prime number, such as 65537');
  }
  return size;
}
