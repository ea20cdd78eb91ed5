import { describeValue, QuorateError } from '@quorate/runtime';

/** Two nodes of one id. Nothing was changed. Code `DUPLICATE_NODE`. */
export class DuplicateNodeError extends QuorateError {
  static override readonly brand: string = '@quorate/hash-ring#DuplicateNodeError';

  /** The id that was given twice. */
  readonly node: string;

  constructor(node: string) {
    super(
      'DUPLICATE_NODE',
      `${describeValue(node)} is a member already; give each node an id of its own, or change its weight with reweight`,
    );
    this.node = node;
  }
}

/** A change names a node that is not a member. Nothing was changed. Code `UNKNOWN_NODE`. */
export class UnknownNodeError extends QuorateError {
  static override readonly brand: string = '@quorate/hash-ring#UnknownNodeError';

  /** The id that is not a member's. */
  readonly node: string;

  constructor(node: string) {
    super('UNKNOWN_NODE', `${describeValue(node)} is not a member; see nodes for those that are`);
    this.node = node;
  }
}

/** More points, slots or nodes than the placement may hold. Nothing was allocated. Code `PLACEMENT_TOO_LARGE`. */
export class PlacementTooLargeError extends QuorateError {
  static override readonly brand: string = '@quorate/hash-ring#PlacementTooLargeError';

  constructor(message: string) {
    super('PLACEMENT_TOO_LARGE', message);
  }
}

/** Two placements that cannot be compared range by range. Code `INCOMPATIBLE_PLACEMENTS`. */
export class IncompatiblePlacementsError extends QuorateError {
  static override readonly brand: string = '@quorate/hash-ring#IncompatiblePlacementsError';

  constructor(message: string) {
    super('INCOMPATIBLE_PLACEMENTS', message);
  }
}
