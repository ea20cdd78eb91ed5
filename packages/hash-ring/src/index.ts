export { balance, type Balance, balanceOf, type BalanceOptions, type NodeBalance } from './balance.js';
export { type PlacementOptions, type PlacementState, resolveOptions, TokenPlacement } from './core/base.js';
export { fnv1a } from './core/fnv1a.js';
export { type HashFunction, hashKey, type HashName, hashOption, mix32 } from './core/hash.js';
export { md5, md5Words } from './core/md5.js';
export { changeMembers, type MemberChange, resolveNodes, type Weights } from './core/members.js';
export { murmur3 } from './core/murmur3.js';
export { buildPoints, pointEnds, type Points, slotAt, walkSlots } from './core/points.js';
export { type DecodeOptions, readSnapshot } from './core/snapshot.js';
export { xxh32 } from './core/xxh32.js';
export {
  DuplicateNodeError,
  IncompatiblePlacementsError,
  PlacementTooLargeError,
  UnknownNodeError,
} from './errors.js';
export { cacheHotKeys, type HotKeyOptions } from './hot-keys.js';
export {
  createMembership,
  type ListenerFailedEvent,
  listenerFailedEvents,
  Membership,
  type MembershipChange,
  type MembershipEvent,
  membershipEvents,
  type MembershipOptions,
  type NodeRefusedEvent,
  nodeRefusedEvents,
  type PeerSource,
} from './membership.js';
export {
  type CheckpointStore,
  migrate,
  type MigrateOptions,
  MigrationError,
  type MigrationProgress,
  type MigrationReport,
  type MoveContext,
  type Mover,
} from './migrate.js';
export {
  type Key,
  type NodeSpec,
  type PickOptions,
  type Placement,
  type PlacementChange,
  type PlacementNode,
  type RangedPlacement,
  type ReplicaOptions,
  type TokenRange,
  TOKENS,
} from './placement.js';
export {
  inRange,
  type Move,
  type MovementPlan,
  ownedRanges,
  plan,
  type PlanOptions,
  type Release,
} from './plan.js';
export { createRing, decodeRing, Ring, type RingOptions } from './ring.js';
export { renderSvg, type SvgOptions } from './svg.js';
