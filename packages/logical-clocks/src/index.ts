export { type CausalReceiver, type CausalReceiverOptions, createCausalReceiver } from './causal-receiver.js';
export { type CausalChain, causalChain, type CausalLink, mergeEvents } from './core/causal-chain.js';
export {
  type CausalInbox,
  type CausalInboxOptions,
  type CausalOutbox,
  type CounterRange,
  createCausalInbox,
  createCausalOutbox,
  type MissingEvents,
} from './core/causal-inbox.js';
export { DottedVersionVectorSet, type Sibling } from './core/dvvs.js';
export { type CausalEvent, decodeEvent, encodeEvent, happenedBefore } from './core/event.js';
export { compareHlc, type Hlc, MAX_HLC_LOGICAL, MAX_HLC_WALL } from './core/hlc.js';
export {
  decodeHlc,
  encodeHlc,
  formatHlc,
  hlcFromBigInt,
  hlcFromBytes,
  hlcToBigInt,
  hlcToBytes,
  parseHlc,
} from './core/hlc-codec.js';
export {
  compareLamport,
  createLamport,
  type LamportClock,
  type LamportOptions,
  type LamportStamp,
} from './core/lamport.js';
export type { DrawOptions } from './core/layout.js';
export { toMermaid } from './core/mermaid.js';
export { compareNodes, type NodeId, type Order } from './core/node.js';
export { toSvg } from './core/svg.js';
export { createVectorClock, type VectorClock, type VectorClockOptions } from './core/vector-clock.js';
export { type Dot, MAX_VECTOR_ENTRIES, VersionVector } from './core/version-vector.js';
export {
  CausalBufferFullError,
  CausalityError,
  CausalReceiverClosedError,
  CounterExhaustedError,
  HlcBoundError,
  HlcClosedError,
  HlcDriftError,
  LamportJumpError,
} from './errors.js';
export { hlcPersistFailed, type HlcPersistFailed } from './events.js';
export { fileBoundStore } from './file-bound-store.js';
export { createHlc, type HlcClock, type HlcOptions } from './hlc.js';
export {
  type HlcBoundStore,
  openHlc,
  type PersistedHlcClock,
  type PersistedHlcOptions,
} from './persisted-hlc.js';
