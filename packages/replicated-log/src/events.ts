import { eventChannel } from '@quorate/runtime';
import type { NodeId } from '@quorate/transport';

/** Bytes of a peer that are no message of this log. */
export interface RefusedEvent {
  readonly node: NodeId;
  readonly from: NodeId;
  readonly error: unknown;
}

/** A node that stopped by itself. */
export interface FailedEvent {
  readonly node: NodeId;
  readonly error: Error;
}

/** What nodes of replicated logs publish, on `quorate:replicated-log:<name>`. */
export const nodeEvents = Object.freeze({
  refused: eventChannel<RefusedEvent>('replicated-log', 'refused'),
  failed: eventChannel<FailedEvent>('replicated-log', 'failed'),
});
