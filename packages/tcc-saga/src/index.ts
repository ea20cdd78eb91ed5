export {
  barrier,
  type BarrierCall,
  type BarrierResult,
  type CancelBarrierResult,
  pruneBarrier,
  type PruneBarrierOptions,
} from './barrier.js';
export {
  type BeginOptions,
  type BeginResult,
  type Coordinator,
  type CoordinatorOptions,
  createCoordinator,
  type TccInstance,
  type WaitOptions,
} from './coordinator.js';
export type { BranchRecord, CancelReason, TccOp, TccStatus } from './core/tcc.js';
export {
  defineTcc,
  type InputOf,
  type OutputsOf,
  type TccBranch,
  type TccContext,
  type TccDefinition,
  type TccOptions,
  type TccOutcome,
} from './definition.js';
export {
  BranchRefused,
  CoordinatorClosedError,
  DefinitionMismatchError,
  LeaseLostError,
  SagaConflictError,
  SagaNotFoundError,
  SuspendedError,
} from './errors.js';
export {
  type AttemptFailedEvent,
  type CoordinatorErrorEvent,
  type LeaseLostEvent,
  type StepEvent,
  type StepPoint,
  type StuckEvent,
  tccSagaEvents,
} from './events.js';
export { barrierMigrations, tccSagaMigrations } from './migrations.js';
