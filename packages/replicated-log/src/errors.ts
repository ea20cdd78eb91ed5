import { QuorateError } from '@quorate/runtime';
import type { NodeId } from '@quorate/transport';
import type { RefusalReason } from './contract.js';

/** Codes of {@link ReplicatedLogError}: the reasons of a core, and those of the node around it. */
export type ReplicatedLogErrorCode =
  | 'NOT_LEADER'
  | 'QUEUE_FULL'
  | 'TOO_LARGE'
  | 'TRANSFERRING'
  | 'CONFIG_PENDING'
  | 'CONFIG_INVALID'
  | 'SUPERSEDED'
  | 'UNKNOWN_OUTCOME'
  | 'CLOSED'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'STORAGE_FAILED'
  | 'STATE_MACHINE_FAILED'
  | 'MESSAGE_TOO_LARGE'
  | 'INVALID_SNAPSHOT'
  | 'NO_STATE'
  | 'SESSION_EXPIRED';

/** What a {@link ReplicatedLogError} carries besides its code and message. */
export interface ReplicatedLogErrorDetails {
  readonly definite: boolean;
  readonly leader?: NodeId | undefined;
  readonly cause?: unknown;
}

/** A proposal, a read or a change of membership that did not succeed, or a node that stopped. */
export class ReplicatedLogError extends QuorateError {
  static override readonly brand: string = '@quorate/replicated-log#ReplicatedLogError';

  declare readonly code: ReplicatedLogErrorCode;
  /** True: it did not happen and never will. False: it may have happened, or still may. */
  readonly definite: boolean;
  /** Who leads, where that is known. */
  readonly leader: NodeId | undefined;

  constructor(code: ReplicatedLogErrorCode, message: string, details: ReplicatedLogErrorDetails) {
    super(code, message, 'cause' in details ? { cause: details.cause } : {});
    this.definite = details.definite;
    this.leader = details.leader;
  }
}

const MESSAGES: Readonly<Record<RefusalReason, string>> = {
  'not-leader': 'no leader is known',
  'queue-full': 'too much waits to be committed; try again later',
  'too-large': 'the command is above the limit of the core',
  transferring: 'leadership is being handed over; try again',
  'config-pending': 'a change of membership is under way',
  'config-invalid': 'the membership cannot be',
  superseded: 'another entry was committed in its place',
  'unknown-outcome': 'whether it was committed is not known',
  closed: 'the node is stopped',
};

/** The error for a core's refusal. */
export function refusal(reason: RefusalReason, leader?: NodeId, detail?: string): ReplicatedLogError {
  const code = reason.replaceAll('-', '_').toUpperCase() as ReplicatedLogErrorCode;
  const message = detail === undefined ? MESSAGES[reason] : `${MESSAGES[reason]}: ${detail}`;
  return new ReplicatedLogError(code, message, { definite: reason !== 'unknown-outcome', leader });
}
