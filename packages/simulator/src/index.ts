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
export type { TraceRecord } from './core/trace.js';
export { type DiskOptions, SimDisk, SimDiskError } from './disk.js';
export { SimulationStateError, ViolationError, type ViolationPlace } from './errors.js';
export type { NetworkFaults, NetworkOptions, SimNetwork } from './network.js';
export { type ClockOptions, SimNode, type SimProcess } from './node.js';
export { Simulation, type SimulationOptions } from './simulation.js';
export { type RunReport, runSeed, runSeeds, type Scenario } from './seeds.js';
