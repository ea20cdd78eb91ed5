export {
  checkLinearizable,
  type CheckLimits,
  type Model,
  type Operation,
  type Outcome,
  type Verdict,
} from './core/linearizability.js';
export {
  casRegisterModel,
  type LockInput,
  lockModel,
  type LockOutput,
  type LockState,
  mapModel,
  type MapInput,
  queueModel,
  type QueueInput,
  type RegisterInput,
  registerModel,
  type RegisterOutput,
  type RegisterValue,
} from './core/models.js';
export type { DelayShape } from './core/delays.js';
export type { TraceRecord } from './core/trace.js';
export {
  createSimDisk,
  type DiskCall,
  type DiskFaults,
  type DiskOptions,
  SimDisk,
  SimDiskError,
  type StandaloneDisk,
} from './disk.js';
export { SimulationStateError, ViolationError, type ViolationPlace } from './errors.js';
export type { FaultKind, FaultName, Target } from './fault-kinds.js';
export type { Fault, FaultRecord } from './faults.js';
export { History, type HistoryEvent, type OpenCall } from './history.js';
export { nemesis, type NemesisOptions } from './nemesis.js';
export type { FrameScope, NetworkFaults, NetworkOptions, SimNetwork } from './network.js';
export { type ClockOptions, SimNode, type SimProcess } from './node.js';
export { drawHistory, drawRun, type PageOptions } from './page.js';
export { type PhasesOptions, twoPhases } from './phases.js';
export {
  checkSeeds,
  describeFailure,
  replayCommand,
  type RunOptions,
  type RunReport,
  runSeed,
  runSeeds,
  type Scenario,
  ScenarioFailedError,
  type SeedRange,
  shrink,
  type ShrinkOptions,
  type Shrunk,
} from './seeds.js';
export { Simulation, type SimulationOptions } from './simulation.js';
