export type {
  AppliedCommand,
  ConsensusCore,
  CoreStatus,
  Effects,
  Envelope,
  Membership,
  MessageCodec,
  ProposalId,
  ReadId,
  ReadLevel,
  Recovered,
  RefusalReason,
  Result,
  ResultCodec,
  StateMachine,
} from './contract.js';
export { ReplicatedLogError, type ReplicatedLogErrorCode, type ReplicatedLogErrorDetails } from './errors.js';
export { type FailedEvent, nodeEvents, type RefusedEvent } from './events.js';
export { startNode } from './node.js';
export type { NodeOptions } from './options.js';
export type { CallOptions, ReplicatedLog } from './replicated-log.js';
export type { Session, SessionOptions } from './session.js';
export { witnessMachine } from './witness.js';
