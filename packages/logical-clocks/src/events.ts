import { eventChannel, type EventChannel } from '@quorate/runtime';
import type { NodeId } from './core/node.js';

/** A bound that could not be saved. The clock goes on below the old one and tries again. */
export interface HlcPersistFailed {
  readonly node: NodeId;
  /** The bound that is saved still, in milliseconds since the epoch. */
  readonly boundMs: number;
  /** What the store threw. */
  readonly error: unknown;
}

/** `quorate:logical-clocks:persist-failed`. */
export const hlcPersistFailed: EventChannel<HlcPersistFailed> = eventChannel(
  'logical-clocks',
  'persist-failed',
);
