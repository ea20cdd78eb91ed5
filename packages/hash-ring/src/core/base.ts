import { integerOption, InvalidOptionError } from '@quorate/runtime';
import type { ByteWriter } from '@quorate/runtime/bytes';
import type { Key, PickOptions, Placement, PlacementChange, PlacementNode } from '../placement.js';
import { hashKey, type HashFunction, type HashName, hashOption } from './hash.js';
import { chooseReplicas, type Owners, ownersOf } from './replicas.js';
import { checksumOf, writeSnapshot } from './snapshot.js';

/** What every strategy's options have. */
export interface PlacementOptions {
  /**
   * Turns keys into tokens, and names into points where a strategy has points.
   * @defaultValue 'xxh32'
   */
  readonly hash?: HashName | HashFunction;
  /**
   * Seed of the hash: an unsigned integer of 32 bits. Another seed gives an unrelated placement.
   * @defaultValue 0
   */
  readonly seed?: number;
  /**
   * The epoch of the first snapshot.
   * @defaultValue 0
   */
  readonly epoch?: number;
}

/** What a placement of any strategy consists of. */
export interface PlacementState {
  /** By ascending id. */
  readonly nodes: readonly PlacementNode[];
  readonly hash: HashFunction;
  readonly seed: number;
  readonly epoch: number;
}

/** Checks the options that all strategies share. */
export function resolveOptions(options: PlacementOptions): Omit<PlacementState, 'nodes'> {
  return {
    hash: hashOption('hash', options.hash ?? 'xxh32'),
    seed: integerOption('seed', options.seed ?? 0, { max: 0xffffffff }),
    epoch: integerOption('epoch', options.epoch ?? 0),
  };
}

/**
 * The base of every strategy, also of one of your own: give it `walk`, `with` and `writeParameters`, and the rest
 * of {@link Placement} follows.
 */
export abstract class TokenPlacement implements Placement {
  abstract readonly strategy: string;
  readonly epoch: number;
  readonly nodes: readonly PlacementNode[];
  readonly tokenSpace: string;
  readonly hash: HashFunction;
  readonly seed: number;
  #byId: ReadonlyMap<string, PlacementNode> | undefined;
  #owners: Owners | undefined;
  #checksum: string | undefined;

  protected constructor({ nodes, hash, seed, epoch }: PlacementState) {
    this.nodes = Object.freeze(nodes);
    this.hash = hash;
    this.seed = seed;
    this.epoch = epoch;
    this.tokenSpace = `${hash.name}:${String(seed)}`;
  }

  /** See {@link Placement.walk}: a walk that is not ended must come by every node that can own keys. */
  abstract walk(token: number, visit: (node: PlacementNode) => boolean): void;

  /** Writes, for snapshots and the checksum, whatever besides the members decides where keys lie. */
  protected abstract writeParameters(writer: ByteWriter): void;

  abstract with(change: PlacementChange): Placement;

  get checksum(): string {
    return (this.#checksum ??= checksumOf(this.#write(0)));
  }

  get(key: Key): string | undefined {
    let owner: string | undefined;
    this.walk(this.token(key), ({ id }) => {
      owner = id;
      return true;
    });
    return owner;
  }

  pick(key: Key, n: number, options?: PickOptions): string[] {
    return this.pickToken(this.token(key), n, options);
  }

  pickToken(token: number, n: number, options?: PickOptions): string[] {
    if (token >>> 0 !== token) {
      throw new InvalidOptionError('token', token, 'an unsigned integer of 32 bits');
    }
    this.#owners ??= ownersOf(this.nodes);
    return chooseReplicas((visit) => this.walk(token, visit), this.#owners, n, options);
  }

  node(id: string): PlacementNode | undefined {
    this.#byId ??= new Map(this.nodes.map((node) => [node.id, node]));
    return this.#byId.get(id);
  }

  token(key: Key): number {
    return hashKey(this.hash, this.seed, key);
  }

  toBytes(): Uint8Array {
    return this.#write(this.epoch);
  }

  /** The state of the snapshot that follows this one. */
  protected next(nodes: readonly PlacementNode[]): PlacementState {
    return { nodes, hash: this.hash, seed: this.seed, epoch: this.epoch + 1 };
  }

  #write(epoch: number): Uint8Array {
    const { strategy, hash, seed, nodes } = this;
    return writeSnapshot(strategy, { hash, seed, nodes, epoch }, (writer) => this.writeParameters(writer));
  }
}
