export { abortable, type Deadline, deadline, type LinkedSignal, linkSignals, sleep } from './abort.js';
export {
  type Backoff,
  backoff,
  backoffDelayMs,
  type BackoffOptions,
  retry,
  type RetryOptions,
} from './backoff.js';
export {
  DeadlineError,
  describeValue,
  InvalidOptionError,
  QuorateError,
  type QuorateErrorOptions,
} from './errors.js';
export { type EventChannel, eventChannel } from './events.js';
export {
  choiceOption,
  functionOption,
  identifierOption,
  integerOption,
  isIdentifier,
  MAX_IDENTIFIER_BYTES,
  type NumberBounds,
  numberOption,
} from './options.js';
export { randomId, seededRandom } from './random.js';
export type { Runtime, Timer, TimerOptions } from './runtime.js';
export { systemRuntime } from './system.js';
